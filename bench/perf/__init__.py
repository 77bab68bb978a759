"""Time the training core."""
