"""One Optuna study for each method and noise."""
