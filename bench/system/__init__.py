"""Errors, files, cache, console, hardware and processes: what knows nothing of runs."""
