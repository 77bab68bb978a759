"""Label noise: one file per noise, found by its file; transition matrices; exact draws from them. NumPy only."""

from datasets.noise.drawing import corrupt, given
from datasets.noise.interface import DrawnImages, ImageSource, Noise, NoiseFacts, NoisyLabels, label_hash

__all__ = ["DrawnImages", "ImageSource", "Noise", "NoiseFacts", "NoisyLabels", "corrupt", "given", "label_hash"]
