"""Large arrays in the cache folder that are made block by block, and that a kill at any moment doesn't spoil.

A folder holds `manifest.json` (what it is of), one file of numbers for each part, and a journal with a line for each
block that is written: its place and its checksum. What the journal doesn't name isn't there. Read `BlockFiles.complete`
first. No torch; NumPy only where numbers are read or made, since every command imports this module.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from filelock import FileLock, Timeout

from bench.system.cache import CACHE
from bench.system.errors import UsageError
from bench.system.files import nearest_existing, write_atomically
from bench.system.text import format_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float16]"
Make: TypeAlias = "Callable[[Block], Array]"
"""The numbers of a block (stop - start, V, D)."""

MANIFEST, JOURNAL, LOCK = "manifest.json", "journal.jsonl", "lock"
SECONDS_BETWEEN_LOOKS = 2.0
"""A process that waits for another one's blocks looks at them so often."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class Block:
    """The samples from `start` to `stop` of one part."""

    part: str
    start: int
    stop: int


class BlockFiles:
    """The arrays float16 (N, V, D) of a folder by part; `shapes` are theirs, `question` says what they are of.

    `block` is the number of samples that are made at a time. Processes that ask for the same at once take turns.
    """

    def __init__(
        self, folder: Path, question: Mapping[str, Any], shapes: Mapping[str, tuple[int, int, int]], block: int
    ) -> None:
        self.folder, self.shapes, self.block = folder, dict(shapes), block
        self.question = json.loads(json.dumps(question))

    @property
    def nbytes(self) -> int:
        """Bytes that all parts take."""
        return sum(2 * samples * views * length for samples, views, length in self.shapes.values())

    @cached_property
    def blocks(self) -> list[Block]:
        """All blocks, part by part."""
        return [
            Block(part, start, min(start + self.block, samples))
            for part, (samples, _, _) in self.shapes.items()
            for start in range(0, samples, self.block)
        ]

    def path(self, part: str) -> Path:
        """The file of a part: its numbers, sample by sample, and nothing else."""
        return self.folder / f"{part}.f16"

    def written(self) -> dict[Block, int]:
        """The blocks that the journal names, with their checksums.

        Raises UsageError where the folder is of something else.
        """
        self._check_manifest()
        known, found = set(self.blocks), {}
        with suppress(OSError):
            for line in (self.folder / JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, TypeError, KeyError):  # the last line of a process that was killed
                    entry = json.loads(line)
                    block = Block(entry["part"], entry["start"], entry["stop"])
                    if block in known:
                        found[block] = int(entry["crc32"])
        sizes = {part: self._size(part) for part in self.shapes}
        return {block: crc for block, crc in found.items() if self._range(block)[1] <= sizes[block.part]}

    def damaged(self) -> list[Block]:
        """The blocks that the journal names and that no longer are what it says."""
        return [block for block, crc in self.written().items() if zlib.crc32(self._read(block)) != crc]

    def complete(self, make: Make, report: Callable[[int], None]) -> None:
        """Make and write the blocks that aren't there; `report(samples)` is called with the number that are.

        Raises UsageError where there is no room, or the folder can't be written.
        """
        if len(self.written()) == len(self.blocks):
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock(report):
                self._write_missing(make, report)
        except OSError as error:
            if error.errno in FULL:
                raise self._no_room() from error
            raise UsageError(
                f"features can't be kept in {self.folder} ({error.strerror or error}): mend that, or set {CACHE} to "
                "another folder"
            ) from error

    def forget(self, blocks: list[Block]) -> None:
        """Take blocks out of the journal, so that they are made again."""
        gone = set(blocks)
        with self._lock(lambda samples: None):
            lines = [self._line(block, crc) for block, crc in self.written().items() if block not in gone]
            write_atomically(self.folder / JOURNAL, "".join(lines).encode())

    def open(self) -> dict[str, Array]:
        """The arrays, memory-mapped, not to be written. They have to be complete."""
        import numpy as np

        return {
            part: np.memmap(self.path(part), np.float16, "r", shape=shape)
            if min(shape)
            else np.empty(shape, np.float16)
            for part, shape in self.shapes.items()
        }

    def count(self, blocks: Mapping[Block, int]) -> int:
        """The samples of some blocks."""
        return sum(block.stop - block.start for block in blocks)

    def _write_missing(self, make: Make, report: Callable[[int], None]) -> None:
        import numpy as np

        written = self.written()  # again, since another process may have written while this one waited
        missing = [block for block in self.blocks if block not in written]
        if not missing:
            return
        there = sum(self._size(part) for part in self.shapes)
        if shutil.disk_usage(nearest_existing(self.folder)).free < self.nbytes - there:
            raise self._no_room()
        if not (self.folder / MANIFEST).exists():
            write_atomically(self.folder / MANIFEST, json.dumps(self.question, indent=1).encode())
        done = self.count(written)
        report(done)
        # a new line first: the last one may have been cut off by a kill
        journal = os.open(self.folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(journal, b"\n")
            for block in missing:
                data = np.ascontiguousarray(make(block), dtype=np.float16).tobytes()
                self._write(block, data)
                os.write(journal, self._line(block, zlib.crc32(data)).encode())
                done += block.stop - block.start
                report(done)
        finally:
            os.close(journal)

    def _write(self, block: Block, data: bytes) -> None:
        """Write a block at its place; not through a memory map, where a full disk would kill the process."""
        start, stop = self._range(block)
        if len(data) != stop - start:
            raise ValueError(f"{block} has {len(data)} bytes instead of {stop - start}")
        handle = os.open(self.path(block.part), os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                written = os.pwrite(handle, rest, stop - len(rest))
                rest = rest[written:]
        finally:
            os.close(handle)

    def _read(self, block: Block) -> bytes:
        start, stop = self._range(block)
        with self.path(block.part).open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def _range(self, block: Block) -> tuple[int, int]:
        """Where a block's bytes begin and end in its file."""
        _, views, length = self.shapes[block.part]
        return 2 * views * length * block.start, 2 * views * length * block.stop

    def _size(self, part: str) -> int:
        with suppress(OSError):
            return self.path(part).stat().st_size
        return 0

    def _line(self, block: Block, crc: int) -> str:
        return json.dumps({"part": block.part, "start": block.start, "stop": block.stop, "crc32": crc}) + "\n"

    def _check_manifest(self) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            try:
                found = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            except (ValueError, OSError) as error:
                if isinstance(error, FileNotFoundError | NotADirectoryError):
                    raise
                found = None
            if found != self.question:
                differing = [
                    key for key in self.question if not isinstance(found, dict) or found.get(key) != self.question[key]
                ]
                raise UsageError(
                    f"the features in {self.folder} are of something else ({', '.join(differing) or 'more'} differ): "
                    "delete this folder, which only holds what can be made again"
                )

    def _no_room(self) -> UsageError:
        free = shutil.disk_usage(nearest_existing(self.folder)).free
        return UsageError(
            f"features take {format_bytes(self.nbytes)}, and {format_bytes(free)} are free in {self.folder}: make "
            f"room, set {CACHE} to a folder with more, or type fewer --feature-views or some --feature-components"
        )

    @contextmanager
    def _lock(self, report: Callable[[int], None]) -> Iterator[None]:
        """Alone in the folder; while another process is at it, report what that one has written."""
        lock = FileLock(self.folder / LOCK)
        while True:
            try:
                lock.acquire(timeout=SECONDS_BETWEEN_LOOKS)
                break
            except Timeout:
                report(self.count(self.written()))
        try:
            yield
        finally:
            lock.release()
