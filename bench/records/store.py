"""The store: a folder a run, in it one file that is there whole or not at all. Needs no torch.

OUT/<run id>/record.json       the result; appears by one atomic rename
OUT/<run id>/failure.json      why there is none; tried again next time
OUT/<run id>/partial.json      the curves of a run that was put aside; removed when the record is there
OUT/<run id>/checkpoint.pt     where to go on; removed when the record is there
OUT/<run id>/claim.json        who is at it
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records import claims
from bench.records.claims import LEASE_SECONDS, Claim
from bench.records.schema import (
    FAILURE_KEYS,
    PARTIAL_KEYS,
    RECORD_KEYS,
    SCHEMA,
    CorruptRecord,
    UnreadableSchema,
    decode_record,
    encode_record,
)
from bench.spec import RunSpec
from bench.system.errors import UsageError
from bench.system.files import TEMPORARY, write_atomically

RECORD = "record.json"
FAILURE = "failure.json"
PARTIAL = "partial.json"
CHECKPOINT = "checkpoint.pt"
CLAIM = "claim.json"

LEFT_OVER = (TEMPORARY, f"{CHECKPOINT}.*.tmp")
"""Glob patterns of what a killed writer leaves in a run's folder; checkpoints once had names of the second form."""

_RUN_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class UnreadableFile:
    """A file that couldn't be used, what is wrong with it, and where it is now."""

    run_id: str
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def _ignore(problem: UnreadableFile) -> None:
    """Leave a problem to `Store.problems`."""


class Store:
    """The records under one folder, which may be missing until the first is written.

    Whatever can't be read is never dropped in silence: it is appended to `problems` (once a file) and handed to
    `on_problem`; corrupt files are renamed to `record.corrupt-<n>.json`, so that their runs count as missing.
    Any number of processes may use one folder at once. Without `set_aside` corrupt files stay as they are: the folder
    is somebody else's.
    """

    def __init__(
        self,
        root: Path,
        on_problem: Callable[[UnreadableFile], None] = _ignore,
        lease: float = LEASE_SECONDS,
        set_aside: bool = True,
    ) -> None:
        self.root = Path(root)
        self.on_problem = on_problem
        self.lease = lease
        self.set_aside = set_aside
        self.problems: list[UnreadableFile] = []

    def folder(self, run_id: str) -> Path:
        """The folder of a run, which may not exist."""
        return self.root / run_id

    def checkpoint_path(self, run_id: str) -> Path:
        """Where a run keeps its checkpoint; write it with `bench.system.files.write_atomically`."""
        return self.folder(run_id) / CHECKPOINT

    def record_path(self, run_id: str) -> Path:
        """Where a run's record is, if it has one."""
        return self.folder(run_id) / RECORD

    def failure_path(self, run_id: str) -> Path:
        """Where a run's failure is, if it has one."""
        return self.folder(run_id) / FAILURE

    def discard_checkpoint(self, run_id: str) -> None:
        """Remove a run's checkpoint and the curves that belong to it, if it has any."""
        self.checkpoint_path(run_id).unlink(missing_ok=True)
        (self.folder(run_id) / PARTIAL).unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Raise UsageError if records can't be written here. Writes nothing and makes no folder."""
        place = self.root
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise UsageError(f"the output folder {self.root} can't be made: {place} is a file. Give another --out.")
        if not os.access(place, os.W_OK | os.X_OK):
            raise UsageError(
                f"the output folder {self.root} can't be written: {place} is read-only for this user. "
                "Give another --out, or change its permissions."
            )

    def prepare(self) -> None:
        """Make the folder and try a file in it; raise UsageError where that fails (a full disk, say)."""
        self.check_writable()
        probe = self.root / f".probe-{os.getpid()}.tmp"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"?")
            probe.unlink()
        except OSError as error:
            with suppress(OSError):
                probe.unlink()
            raise UsageError(
                f"the output folder {self.root} can't be written: {error.strerror}. Give another --out, or make room."
            ) from None

    # Writing ---------------------------------------------------------------------------------------------------

    def write_record(self, record: Mapping[str, Any]) -> Path:
        """Write a run's record, and remove its failure. NaN and infinity become null; `schema` is filled in.

        Raises OSError where it can't be written (nothing is changed then) and ValueError where `run_id` isn't
        the id of `spec`.
        """
        data = encode_record({"schema": SCHEMA} | dict(record))
        run_id = decode_record(data)["run_id"]
        path = self.folder(run_id) / RECORD
        write_atomically(path, data)
        with suppress(OSError):
            path.with_name(FAILURE).unlink()
        return path

    def write_failure(
        self,
        spec: RunSpec,
        reason: str,
        epoch: int | None = None,
        traceback: str = "",
        provenance: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write why a run has no record. `reason` is one line, `epoch` counts from 1."""
        failure = {
            "schema": SCHEMA,
            "run_id": spec.run_id,
            "spec": spec.model_dump(mode="json"),
            "reason": reason,
            "epoch": epoch,
            "traceback": traceback,
            "provenance": dict(provenance or {}),
        }
        return self.copy_failure(failure)

    def copy_failure(self, failure: Mapping[str, Any]) -> Path:
        """Write a failure that `read_failure` of this or another store gave."""
        path = self.failure_path(failure["run_id"])
        write_atomically(path, encode_record(failure))
        return path

    def write_partial(self, spec: RunSpec, curves: Mapping[str, Any], total_epochs: int) -> Path:
        """Write the curves of a run that is put aside, beside its checkpoint; `total_epochs` is where it would end."""
        path = self.folder(spec.run_id) / PARTIAL
        partial = {
            "schema": SCHEMA,
            "run_id": spec.run_id,
            "spec": spec.model_dump(mode="json"),
            "curves": curves,
            "total_epochs": total_epochs,
        }
        write_atomically(path, encode_record(partial))
        return path

    # Reading ---------------------------------------------------------------------------------------------------

    def has(self, run_id: str) -> bool:
        """Whether a run has a record. It isn't opened: what it holds shows when it is read."""
        return (self.folder(run_id) / RECORD).exists()

    def has_failed(self, run_id: str) -> bool:
        """Whether a run has a failure and no record."""
        return (self.folder(run_id) / FAILURE).exists() and not self.has(run_id)

    def run_ids(self) -> list[str]:
        """Every run that has a folder here, finished or not, sorted."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if _RUN_ID.fullmatch(entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def finished(self, run_ids: Iterable[str] | None = None) -> set[str]:
        """Those of `run_ids` (None: of all here) that have a record, by one look at the folder and no file opened."""
        here = self.run_ids()
        wanted = here if run_ids is None else set(here).intersection(run_ids)
        return {run_id for run_id in wanted if self.has(run_id)}

    def failed(self, run_ids: Iterable[str] | None = None) -> set[str]:
        """Those of `run_ids` (None: of all here) that have a failure and no record."""
        here = self.run_ids()
        wanted = here if run_ids is None else set(here).intersection(run_ids)
        return {run_id for run_id in wanted if self.has_failed(run_id)}

    def read(self, run_id: str) -> dict[str, Any] | None:
        """A run's record in today's schema; None where there is none, or none that can be read (see `problems`)."""
        return self._read(run_id, RECORD, RECORD_KEYS)

    def read_failure(self, run_id: str) -> dict[str, Any] | None:
        """A run's failure; None where there is none, or none that can be read."""
        return self._read(run_id, FAILURE, FAILURE_KEYS)

    def read_partial(self, run_id: str) -> dict[str, Any] | None:
        """The curves of a run that was put aside; None where there are none, or none that can be read."""
        return self._read(run_id, PARTIAL, PARTIAL_KEYS)

    def records(self, run_ids: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """The records of `run_ids` in that order (None: all, by id), without the runs that have none."""
        for run_id in self.run_ids() if run_ids is None else run_ids:
            record = self.read(run_id)
            if record is not None:
                yield record

    def failures(self, run_ids: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """The failures of `run_ids` (None: all, by id) that have no record."""
        for run_id in self.run_ids() if run_ids is None else run_ids:
            if not self.has(run_id):
                failure = self.read_failure(run_id)
                if failure is not None:
                    yield failure

    def _read(self, run_id: str, name: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
        path = self.folder(run_id) / name
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._report(UnreadableFile(run_id, path, f"can't be read: {error.strerror}"))
            return None
        try:
            return decode_record(data, keys, run_id)
        except UnreadableSchema as error:
            self._report(UnreadableFile(run_id, path, str(error)))
        except CorruptRecord as error:
            if self.set_aside:
                self._set_aside(run_id, path, data, str(error))
            else:
                self._report(UnreadableFile(run_id, path, str(error)))
        return None

    def _set_aside(self, run_id: str, path: Path, data: bytes, reason: str) -> None:
        stem = path.stem
        number = 1
        while (aside := path.with_name(f"{stem}.corrupt-{number}.json")).exists():
            number += 1
        try:
            path.rename(aside)
            if aside.read_bytes() != data:  # somebody has written a new one since it was read
                aside.rename(path)
                return
        except FileNotFoundError:
            return  # another process was faster, and reports it
        except OSError as error:
            self._report(UnreadableFile(run_id, path, f"{reason}; it can't be set aside: {error.strerror}"))
            return
        self._report(UnreadableFile(run_id, aside, f"{reason}; set aside, the run counts as missing"))

    def _report(self, problem: UnreadableFile) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            self.on_problem(problem)

    # Claims ----------------------------------------------------------------------------------------------------

    def claim(self, run_id: str) -> Claim | None:
        """Claim a run for this process, or None while another has it; use it in a `with`.

        A claim whose owner is dead, or silent for longer than the lease, is taken over. What a killed writer left
        half-written is removed.
        """
        claim = claims.take_claim(self.folder(run_id) / CLAIM, self.lease)
        if claim is not None:
            for pattern in LEFT_OVER:
                for path in self.folder(run_id).glob(pattern):
                    path.unlink(missing_ok=True)
        return claim

    def tidy(self, run_id: str) -> None:
        """Remove what a process left that was killed between a run's record and the end of its claim, if one was.

        A claim is given up last, so without one there is nothing to remove. What can't be removed stays.
        """
        if not (self.folder(run_id) / CLAIM).exists():
            return
        with suppress(OSError):
            claim = self.claim(run_id)
            if claim is not None:
                self.discard_checkpoint(run_id)
                claim.release()

    def is_claimed(self, run_id: str) -> bool:
        """Whether a living process is at a run."""
        return not claims.is_stale_claim(self.folder(run_id) / CLAIM, self.lease)
