"""The training core: one loop, one precision policy, one augmentation layer for every method."""
