"""Carry out a list of RunSpecs: study, executors, events, display."""
