"""Methods that learn from noisy labels, one file each; `losses` is usable without the harness."""
