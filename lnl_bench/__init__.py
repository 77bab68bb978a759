"""The label-noise benchmark as it is installed: the one name that its wheel adds to an environment.

The packages `bench`, `methods` and `datasets` are folders of the checkout. Others use these names too (Hugging Face's
`datasets` is one), so a wheel carries ours in a folder that is on no import path. The command `lnl-bench` and
`python -m lnl_bench` put it first on the path of their own processes; `add_to_path` does so for a program that wants to
import them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

_CARRIED = Path(__file__).resolve().parent / "_packages"
HOME = _CARRIED if _CARRIED.is_dir() else _CARRIED.parents[1]
"""The folder that holds the three packages: in a wheel one of its own, else the checkout."""


def add_to_path() -> None:
    """Make `import bench`, `import methods` and `import datasets` find ours in this process from now on."""
    home = str(HOME)
    if sys.path[:1] != [home]:
        sys.path.insert(0, home)
        importlib.invalidate_caches()
