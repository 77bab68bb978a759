"""Atomic writes, so that files exist whole or not at all, and names that every file system takes.

`write_atomically` is for bytes, `open_atomically` for writers that want a file; both write beside the target and
rename.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.system.text import digest

TEMPORARY = ".*.tmp"
"""Glob pattern of files that a killed writer may leave; never read, removed by the next owner of the folder."""

MOST_LETTERS = 100

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

    The file is whole and in place by now. If the power fails before the rename reaches the disk, the run is done again.
    So an error is no failure here, and some file systems have no fsync of folders at all.
    """
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def set_file_aside(path: Path) -> Path:
    """Rename a file that can't be used, such as `checkpoint.pt` to `checkpoint.corrupt-1.pt`; returns its new path."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.corrupt-{number}{path.suffix}")).exists():
        number += 1
    return path.rename(aside)


def read_regular_file(path: Path) -> bytes:
    """The whole file. Raises OSError where it can't be read, or is a pipe or a device, which may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it isn't a regular file", str(path))
    return path.read_bytes()


def file_hash(path: str | Path) -> str | None:
    """SHA-256 (hex) of a file's bytes, None where it can't be read."""
    with suppress(OSError):
        return hashlib.sha256(read_regular_file(Path(path))).hexdigest()
    return None


def nearest_existing(path: Path) -> Path:
    """`path` itself, or the nearest of its parents that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def safe_file_stem(name: str) -> str:
    """`name` with letters that every file system takes: a file's name without its ending."""
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", name).strip("-.")


def file_names(data_sets: Iterable[str]) -> dict[str, str]:
    """The name of each data set's board file; names that would collide get a hash."""
    stems = {name: safe_file_stem(name)[:MOST_LETTERS] or "board" for name in data_sets}
    # Without case, since some file systems don't tell it apart.
    names_of_stem: dict[str, list[str]] = {}
    for name, stem in stems.items():
        names_of_stem.setdefault(stem.casefold(), []).append(name)
    return {
        name: (stem if names_of_stem[stem.casefold()] == [name] else f"{stem}-{digest(name)[:6]}") + ".md"
        for name, stem in stems.items()
    }
