"""Training: the pure step and its state, checkpoints, evaluation, and the SpmdTrainer over them."""
