"""`python -m bench`, and the command `lnl-bench`."""

from __future__ import annotations

import sys


def main() -> None:
    """Carry out the command line and end the process with its code."""
    from bench.cli.main import main as command_line

    sys.exit(command_line())


if __name__ == "__main__":
    main()
