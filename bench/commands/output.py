"""The way out: results to standard output, notes to standard error."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 120


def write(text: str) -> None:
    """Write a result to standard output, ending in one newline."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def write_json(value: Any) -> None:
    """Write a result as one JSON document; NaN and infinity become null."""
    write(json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False))


def note(text: str) -> None:
    """Tell the user something that isn't the result."""
    sys.stderr.write(text.rstrip("\n") + "\n")


def console() -> Console:
    """A rich console on standard output: as wide as the terminal, plain text where it isn't one."""
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
