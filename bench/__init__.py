"""The label-noise benchmark's harness: from one command to a leaderboard."""

from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"


def _check_siblings() -> None:
    """Make sure that `datasets` and `methods` are ours.

    Hugging Face publishes a package with the import name `datasets` too. Where it wins, every later error would
    be a riddle, so the riddle is answered here.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("datasets", "methods"):
        found = find_spec(name)
        origin = Path(found.origin).resolve() if found is not None and found.origin else None
        if origin is None or origin.parent != home / name:
            raise ImportError(
                f"`import {name}` finds {origin or 'nothing'}, not the label-noise benchmark's own package in "
                f"{home / name}. Another package of that name (Hugging Face's `datasets`, perhaps) comes first on "
                f"the import path. Install lnl-bench in an environment of its own, or run `python -m bench` from "
                f"its checkout."
            )


_check_siblings()
