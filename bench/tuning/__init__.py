"""Choosing what methods train with, by accuracy on held-out labels; never by the test set."""
