"""Runs on a Ray cluster: this machine alone, one machine with several GPUs, or many machines.

Start with `ray_backend`, which uses the others; docstrings call the process in which the command was typed the driver.
Nothing in this package imports Ray before a cluster is asked for.
"""
