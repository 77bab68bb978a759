"""Boards as files: one Markdown file for each data set, each there whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bench.atomic import write_atomically
from bench.errors import UsageError
from bench.leaderboard.markdown import board_file
from bench.leaderboard.model import Report
from bench.spec import digest

MOST_LETTERS = 100


def write(report: Report, folder: Path) -> list[Path]:
    """Write a file for each data set; raises UsageError where that fails, with the files that were there unharmed."""
    names = file_names(board.data_set for board in report.boards)
    written = []
    for board in report.boards:
        path = Path(folder) / names[board.data_set]
        try:
            write_atomically(path, board_file(board, report.rule).encode())
        except OSError as error:
            raise UsageError(
                f"can't write the leaderboard {path}: {error.strerror}. The records are safe; make room or give "
                "another --boards, then: python -m bench report"
            ) from None
        written.append(path)
    return written


def file_names(data_sets: Iterable[str]) -> dict[str, str]:
    """A file name for each data set: letters that every file system takes; a hash tells apart what would collide."""
    safe = {name: _safe(name) for name in data_sets}
    taken: dict[str, list[str]] = {}
    for name, made in safe.items():
        taken.setdefault(made.casefold(), []).append(name)
    return {
        name: (made if taken[made.casefold()] == [name] else f"{made}-{digest(name)[:6]}") + ".md"
        for name, made in safe.items()
    }


def _safe(name: str) -> str:
    made = re.sub(r"[^A-Za-z0-9._=+-]+", "-", name).strip("-.")
    return made[:MOST_LETTERS] or "board"
