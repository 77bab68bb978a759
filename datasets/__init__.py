"""Data sets and label noise: NumPy arrays in, NumPy arrays out; no torch."""
