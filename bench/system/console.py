"""Output of commands: results to standard output, notes to standard error; and the check of an output folder."""

from __future__ import annotations

import io
import json
import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.system.code_version import MODULE
from bench.system.errors import UsageError
from bench.system.files import nearest_existing

if TYPE_CHECKING:
    from rich.console import RenderableType


WIDTH_WITHOUT_TERMINAL = 120


def write_text(text: str) -> None:
    """Write a result to standard output, ending in one newline."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def write_json(value: Any) -> None:
    """Write a result as one JSON document; NaN and infinity become null."""
    plain = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    write_text(json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=plain))


def print_note(text: str) -> None:
    """Write a line for the user that isn't the result to standard error."""
    sys.stderr.write(name_module(text).rstrip("\n") + "\n")


def name_module(text: str) -> str:
    """A message with its commands as they are typed here: with an installed wheel it is `python -m lnl_bench`."""
    return text if MODULE == "bench" else text.replace("-m bench", f"-m {MODULE}")


def write_page(page: RenderableType) -> None:
    """Write a page to standard output: as wide as the terminal, or as plain text if it isn't one."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(page)
        return
    plain = Console(file=io.StringIO(), width=WIDTH_WITHOUT_TERMINAL, highlight=False)
    with plain.capture() as captured:
        plain.print(page)
    write_text("\n".join(line.rstrip() for line in captured.get().splitlines()))


def check_folder(option: str, folder: Path) -> None:
    """Raise UsageError if `folder`, typed with `option`, can't be made or written. Leaves nothing behind.

    A folder is made as a trial beside the first missing one: permissions alone say little about a read-only file
    system, and nothing about the superuser.
    """
    place = nearest_existing(folder)
    what = f"{option} {folder}"
    if not place.is_dir():
        raise UsageError(f"{what}: {place} is a file, and a folder is needed. Give another {option}")
    try:
        Path(tempfile.mkdtemp(prefix=".probe-", dir=place)).rmdir()
    except OSError as error:
        raise UsageError(
            f"{what} can't be written: {error.strerror} in {place}. Give another {option}, or mend that"
        ) from None


def _finite(value: Any) -> Any:
    """`value` with None in the place of NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
