"""The label-noise benchmark's harness: from one command to a leaderboard."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"


def _find_siblings() -> None:
    """Make sure that `datasets` and `methods` are ours, if need be by putting their folder first on the path.

    Hugging Face publishes a package with the import name `datasets` too, and a project may have a folder of that name.
    Where such a package is imported already, every later error would be a riddle, so it is answered here.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("datasets", "methods"):
        if _origin(name) == home / name:
            continue
        if name not in sys.modules:
            sys.path.insert(0, str(home))
            importlib.invalidate_caches()
        if (origin := _origin(name)) != home / name:
            raise ImportError(
                f"`import {name}` finds {origin or 'nothing'}, not the label-noise benchmark's own package in "
                f"{home / name}: another package of that name is imported already. Import bench before it, or type "
                f"lnl-bench, which has a process of its own."
            )


def _origin(name: str) -> Path | None:
    """The folder of the package that an import of this name finds."""
    found = find_spec(name)
    return Path(found.origin).resolve().parent if found is not None and found.origin else None


_find_siblings()
