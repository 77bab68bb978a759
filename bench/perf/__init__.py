"""What this machine makes of the training core: steps, their overhead, evaluation and augmentation, timed."""
