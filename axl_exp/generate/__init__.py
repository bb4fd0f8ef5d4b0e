"""The command that lets a trained model go on with a text."""
