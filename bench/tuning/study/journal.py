"""The journal of studies in the output folder: Optuna's file of a JSON line for each change, made safe against damage.

`open_journal` opens it. Optuna appends to whatever the file ends in, and trusts every line; here a last line that a
killed process left unfinished is cut off before the next is written, and any other damage is said as such.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from bench.system.errors import UsageError

BLOCK = 1 << 16
MOST_REASON = 200


def open_journal(path: Path, out: Path) -> JournalStorage:
    """The journal at `path`, made where it is missing. Raises UsageError where it is damaged, and OSError."""
    return StudyJournal(JournalFile(path), path, out)


class JournalFile(JournalFileBackend):
    """The file. Before it is appended to, an unfinished last line goes, under the lock of all that append."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._append_lock = JournalFileSymlinkLock(str(path))
        super().__init__(str(path), self._append_lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append a line for each of `logs`; they are on the disk when this returns."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._append_lock.acquire()
        try:
            with self._path.open("r+b") as file:
                file.seek(_end_of_whole_lines(file))
                file.truncate()
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        finally:
            self._append_lock.release()


def _end_of_whole_lines(file: BinaryIO) -> int:
    """The position behind the last newline."""
    position = file.seek(0, os.SEEK_END)
    while position:
        start = max(0, position - BLOCK)
        file.seek(start)
        newline = file.read(position - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0


class StudyJournal(JournalStorage):
    """Optuna's storage over that file. Any call raises UsageError where the journal turns out to be damaged."""

    def __init__(self, file: JournalFile, path: Path, out: Path) -> None:
        self._path, self._out = path, out
        super().__init__(file)

    def _sync_with_backend(self) -> None:
        try:
            super()._sync_with_backend()
        except (OSError, UpdateFinishedTrialError, DuplicatedStudyError):
            raise  # the disk's word, and the answers to a change of this process
        except Exception as error:  # Optuna stumbles over whatever a line holds
            raise damaged_journal(self._path, self._out, error) from None


def damaged_journal(path: Path, out: Path, error: Exception) -> UsageError:
    """The error of a journal that can't be read."""
    reason = " ".join(str(error).split())[:MOST_REASON] or type(error).__name__
    return UsageError(
        f"{path} is damaged: {reason}. Move it aside: what was trained stays in {out}, and costs nothing again"
    )
