"""The rules of the house that no linter knows: `python -m tools.check`."""
