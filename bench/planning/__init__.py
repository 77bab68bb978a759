"""Typed options and the facts of data, noise and machine -> the list of RunSpecs."""
