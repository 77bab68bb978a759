"""`python -m lnl_bench`, and the command `lnl-bench`."""

from __future__ import annotations

from lnl_bench import add_to_path


def main() -> None:
    """Carry out the command line and end the process with its code."""
    add_to_path()
    from bench.__main__ import main as command_line

    command_line()


if __name__ == "__main__":
    main()
