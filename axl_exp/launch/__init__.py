"""The launch command: from a name to a trained model in a run directory."""
