"""Files that are there whole or not at all."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.system.text import digest

TEMPORARY = ".*.tmp"
"""Glob pattern of what a killed writer may leave behind; never read, removed by the next owner of the folder."""

_counter = itertools.count()


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that readers, and a machine that loses power, see the old file or the new one.

    The folder is made where it is missing. Raises OSError (a full disk, say) with `path` as it was before and no
    temporary file left.
    """
    with open_atomically(path) as file:
        file.write(data)


class OpenFile:
    """A file descriptor that `torch.save` and other writers of pieces can write to; a short write is continued."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


@contextmanager
def open_atomically(path: Path, fsync: bool = True) -> Iterator[OpenFile]:
    """A new file that takes the place of `path` at the end of the `with`; see `write_atomically`.

    Without `fsync` a loss of power may take the file: enough for what can be computed again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_counter)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            yield OpenFile(handle)
            if fsync:
                # Before the rename, or a crash could leave the new name with none of its bytes.
                os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)  # noqa: PTH105 - beside os.open, os.write and os.fsync, one kind of call
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if fsync:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can.

    The file is whole and in place by now. If the power goes before the rename reaches the disk, the run is done
    again; that is no reason to call it failed, and some file systems know no fsync of folders at all.
    """
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def nearest_existing(path: Path) -> Path:
    """`path` itself, or the nearest of its parents that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def recipe_file_stem(data_set: str) -> str:
    """The name of a data set's recipe file, without its ending."""
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", data_set).strip("-.")


MOST_LETTERS = 100


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
