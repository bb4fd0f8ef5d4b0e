"""The compile level of a dry run: the trainer's own step, given to the compiler of the hardware."""
