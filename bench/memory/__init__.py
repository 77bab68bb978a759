"""How much memory a run takes, and how many runs fit at a time."""
