"""Choose hyperparameters by held-out noisy labels."""
