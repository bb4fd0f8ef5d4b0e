"""Training: the pure step, its state, checkpoints, evaluation, and the SpmdTrainer that runs them."""
