"""What developers of this repository run: `run` (environment), `check` (house rules), `bench`."""
