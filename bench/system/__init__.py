"""Errors, files, cache, console, hardware and processes; nothing in this package knows of runs."""
