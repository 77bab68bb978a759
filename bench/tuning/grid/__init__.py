"""One grid of learning rates and weight decays for all methods."""
