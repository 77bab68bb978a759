"""The memory that a run takes, estimated before it starts, and the number of runs that fit at a time."""
