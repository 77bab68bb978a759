"""The stored results of runs: their schema, the store, claims, merging, and the form that is committed."""
