"""A run's checkpoint: tensors, numbers and text in one file beside its record; no pickle is ever loaded.

Only this module knows what the file looks like. Its name, and its removal together with what a killed writer leaves,
are `bench.records.store`'s, so that stores are tidied without torch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol, cast

import torch

from bench.system.files import open_atomically
from bench.training.distributed import SINGLE_PROCESS, ProcessGroup

FORMAT = 3
"""Raised whenever what is saved changes; a checkpoint of another format is as good as none."""


class Part(Protocol):
    """A part of a run that a later process continues; its state is tensors, numbers and text in dicts and lists."""

    def state(self) -> Any:
        """The part's present state."""

    def load_state(self, state: Any) -> None:
        """Continue from what `state` returned, in this process or another."""


class Checkpoint:
    """The file at `path` that holds the state of a run's parts; written by the main process, read by all of them."""

    def __init__(self, path: Path, group: ProcessGroup = SINGLE_PROCESS) -> None:
        self._path = path
        self._group = group
        self._saved_at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since it was saved, or since this object was made."""
        return time.monotonic() - self._saved_at

    def save(self, parts: Mapping[str, Part]) -> None:
        """Write the state of `parts` under their names, so that the file is the old one or the new one, never half.

        It isn't flushed to the disk's platters: a checkpoint that is lost with the power costs time, not results.
        """
        if not self._group.is_main:
            return
        state = {name: part.state() for name, part in parts.items()}
        with open_atomically(self._path, fsync=False) as file:
            # torch.save only writes and flushes
            torch.save({"format": FORMAT, "threads": torch.get_num_threads(), **state}, cast(IO[bytes], file))
        self._saved_at = time.monotonic()

    def load(self, parts: Mapping[str, Part]) -> bool:
        """Continue `parts` from the file; False, and nothing is changed, where there is none that can be read.

        The number of threads becomes that of the saved run, since sums depend on it in their last bit.
        """
        # only the main process reads, so that all continue from the same epoch even if the file changes meanwhile
        state = self._group.broadcast_object(self._read() if self._group.is_main else None)
        if state is None:
            return False
        torch.set_num_threads(state["threads"])
        for name, part in parts.items():
            part.load_state(state[name])
        return True

    def _read(self) -> dict[str, Any] | None:
        try:
            state = torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception:  # there is none, or it was torn by a crash of the machine: the run begins anew
            return None
        return state if isinstance(state, dict) and state.get("format") == FORMAT else None
