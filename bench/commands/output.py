"""The way out: results to standard output, notes to standard error."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

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


def write_page(page: RenderableType) -> None:
    """Write a page to standard output: as wide as the terminal, in plain text where it isn't one."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(page)
        return
    plain = Console(file=io.StringIO(), width=WIDTH_WITHOUT_TERMINAL, highlight=False)
    with plain.capture() as captured:
        plain.print(page)
    write("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
