"""A run's checkpoint: tensors, numbers and text in one file beside its record; no pickle is ever loaded.

Only this module knows what the file looks like: a file of `torch.save`, and behind it the SHA-256 of its bytes, since
`torch.load` checks nothing. A checkpoint that is damaged, or that doesn't fit its run, is set aside, and the run begins
anew: a checkpoint costs time, never results. Its name, and its removal together with what a killed writer leaves, are
`bench.records.store`'s, so that stores are tidied without torch.
"""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol, cast

import torch
from torch import Tensor

from bench.system.console import print_note
from bench.system.files import OpenFile, open_atomically, set_file_aside
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup

FORMAT = 3
"""Raised whenever what is saved changes; a checkpoint of another format is as good as none."""

SEAL = b"SHA-256:"
"""What stands before the hash, 32 bytes, at the file's end. Readers of zip files pass over it."""


class UnusableCheckpoint(Exception):  # noqa: N818 - a state of a file
    """A checkpoint that a part couldn't continue from. The parts may have changed: make them anew."""


class Part(Protocol):
    """A part of a run that a later process continues; its state is tensors, numbers and text in dicts and lists."""

    def state(self) -> Any:
        """The part's present state."""

    def load_state(self, state: Any) -> None:
        """Continue from what `state` returned, in this process or another."""


class Checkpoint:
    """The file at `path` that holds the state of a run's parts; written by the main process, read by all of them.

    `code`: hashes of the files that the run's method is made of. What another code has begun isn't continued.
    """

    def __init__(self, path: Path, group: ProcessGroup = SINGLE_PROCESS, code: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._code = dict(code or {})
        self._group = group
        self._saved_at = time.monotonic()
        self._noted = False

    @property
    def age(self) -> float:
        """Seconds since it was saved, or couldn't be, or since this object was made."""
        return time.monotonic() - self._saved_at

    def save(self, parts: Mapping[str, Part]) -> None:
        """Write the state of `parts` under their names, so that the file is the old one or the new one, never half.

        It isn't flushed to the disk's platters: a checkpoint that is lost with the power costs time, not results. For
        the same reason the run goes on where there is no room for it, and says so once.
        """
        if not self._group.is_main:
            return
        state = {name: part.state() for name, part in parts.items()} | ({"code": self._code} if self._code else {})
        try:
            with open_atomically(self._path, fsync=False) as file:
                sealed = _SealedFile(file)
                try:
                    # torch.save only writes and flushes
                    torch.save({"format": FORMAT, "threads": torch.get_num_threads(), **state}, cast(IO[bytes], sealed))
                except RuntimeError:  # torch's own, in which an error of the system is lost
                    if sealed.error is not None:
                        raise sealed.error from None
                    raise
                sealed.write_seal()
        except OSError as error:
            if not self._noted:
                self._noted = True
                print_note(
                    f"note: {self._path} can't be written: {error.strerror or error}. The run goes on without a "
                    "checkpoint; if it is interrupted, it begins anew"
                )
        self._saved_at = time.monotonic()

    def load(self, parts: Mapping[str, Part]) -> bool:
        """Continue `parts` from the file; False, and nothing is changed, where there is none that can be used.

        The number of threads becomes that of the saved run, since sums depend on it in their last bit. Raises
        UnusableCheckpoint where a part stumbles over its state. A file that can't be used is set aside, with a note.
        """
        # only the main process reads, so that all continue from the same epoch even if the file changes meanwhile
        state = self._group.broadcast_object(self._read() if self._group.is_main else None)
        if state is None:
            return False
        for name, part in parts.items():
            if (difference := layout_difference(state.get(name), part.state(), name)) is not None:
                self._set_aside(difference)
                return False
        threads = torch.get_num_threads()
        torch.set_num_threads(state["threads"])
        try:
            for name, part in parts.items():
                part.load_state(state[name])
        except Exception as error:
            torch.set_num_threads(threads)
            self._set_aside(f"{type(error).__name__}: {str(error)[:200]}")
            raise UnusableCheckpoint from error
        return True

    def _read(self) -> dict[str, Any] | None:
        try:
            if (damage := find_damage(self._path)) is not None:
                self._set_aside(damage)
                return None
            state = torch.load(self._path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:
            self._set_aside(str(error).partition("\n")[0][:200])
            return None
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            self._set_aside("it is of another format")
            return None
        threads = state.get("threads")
        if not isinstance(threads, int) or not 1 <= threads <= 1 << 16:
            self._set_aside("it doesn't say with how many threads the run began")
            return None
        begun_by = state.get("code")
        if begun_by and self._code and sorted(begun_by.values()) != sorted(self._code.values()):
            print_note(f"note: the method's code has changed since {self._path.parent.name} was begun: it begins anew")
            return None
        return state

    def _set_aside(self, reason: str) -> None:
        if not self._group.is_main:
            return
        try:
            place = f"is set aside as {set_file_aside(self._path).name}"
        except OSError as error:
            place = f"can't be set aside ({error.strerror})"
        print_note(f"note: {self._path} can't be used and {place}: {' '.join(reason.split())}. The run begins anew")


class _SealedFile:
    """Hands bytes to a file and hashes them; keeps the error of the system that `torch.save` would lose."""

    def __init__(self, file: OpenFile) -> None:
        self.error: OSError | None = None
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write all of `data`."""
        self._hash.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Nothing is held back."""

    def write_seal(self) -> None:
        """Write the hash of everything so far."""
        self._file.write(SEAL + self._hash.digest())


def find_damage(path: Path) -> str | None:
    """Why the bytes of a checkpoint aren't those that were written; None where they are.

    Files of earlier releases have no hash: there the checksums of the zip file in it tell. Raises OSError where the
    file can't be read.
    """
    size, tail = path.stat().st_size, len(SEAL) + hashlib.sha256().digest_size
    with path.open("rb") as file:
        file.seek(max(0, size - tail))
        seal = file.read()
        if seal.startswith(SEAL):
            file.seek(0)
            content, left = hashlib.sha256(), size - tail
            while left and (block := file.read(min(left, 1 << 20))):
                content.update(block)
                left -= len(block)
            return None if seal == SEAL + content.digest() else "its SHA-256 isn't that of its content"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        return f"it is cut off or damaged ({error})"
    return None if damaged is None else f"the checksum of {os.path.basename(damaged)} in it is wrong"  # noqa: PTH119


def layout_difference(saved: Any, own: Any, place: str) -> str | None:
    """Where a saved state differs in keys, types or shapes from a part's own; None where it could continue it.

    What the part has nothing of yet (None, or an empty list or dictionary) may be anything. Optimisers, which a phase
    begins with, check what they load themselves.
    """
    if isinstance(own, Tensor):
        if not isinstance(saved, Tensor) or (saved.shape, saved.dtype) != (own.shape, own.dtype):
            return f"{place} has another type or shape"
    elif isinstance(own, Mapping) and own:
        if not isinstance(saved, Mapping) or set(saved) != set(own):
            return f"{place} has other entries"
        pairs = ((name, saved[name], value) for name, value in own.items() if "optimizer" not in str(name))
        return _first_difference(pairs, place)
    elif isinstance(own, list | tuple) and own:
        if not isinstance(saved, list | tuple) or len(saved) != len(own):
            return f"{place} has another length"
        return _first_difference(((str(n), *pair) for n, pair in enumerate(zip(saved, own, strict=True))), place)
    elif own is not None and own != [] and own != {} and own != ():
        allowed = (int, float) if isinstance(own, int | float) else type(own)
        if not isinstance(saved, allowed) or isinstance(saved, bool) != isinstance(own, bool):
            return f"{place} is of another type"
    elif own is not None and not isinstance(saved, type(own)):
        return f"{place} is of another type"
    return None


def _first_difference(pairs: Any, place: str) -> str | None:
    found = (layout_difference(saved, own, f"{place}.{name}") for name, saved, own in pairs)
    return next((difference for difference in found if difference is not None), None)
