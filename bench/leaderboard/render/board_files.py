"""Boards as files: one Markdown file for each data set, each there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from bench.leaderboard.model import Report
from bench.leaderboard.render.markdown import board_file
from bench.system.errors import UsageError
from bench.system.files import file_names, write_atomically


def write_boards(report: Report, folder: Path) -> list[Path]:
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
