"""The store: a folder for each run, with files that are written whole or not at all. Needs no torch.

OUT/<run id>/record.json       the result; appears by one atomic rename
OUT/<run id>/failure.json      the reason why there is none; the run is tried again next time
OUT/<run id>/partial.json      the curves of a run that was put aside; removed when the record is there
OUT/<run id>/checkpoint.pt     the state to continue from; likewise
OUT/<run id>/claim.json        the process that works on the run

Read `Store.write_record` and `Store.read` first, then `Store.claim`, which keeps two processes off one run, and
`Store._set_aside` for files that can't be used. A run is finished when its record exists, and the other files only
matter until then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records.claims import LEASE_SECONDS, Claim, describe_holder, is_being_written, is_expired_claim, take_claim
from bench.records.schema import (
    SCHEMA,
    CorruptRecord,
    Kind,
    UnreadableSchema,
    decode_record,
    decode_whole_record,
    encode_record,
)
from bench.spec import RunSpec
from bench.system.errors import UsageError
from bench.system.files import TEMPORARY, nearest_existing, read_regular_file, set_file_aside, write_atomically

RECORD = "record.json"
FAILURE = "failure.json"
PARTIAL = "partial.json"
CHECKPOINT = "checkpoint.pt"
CLAIM = "claim.json"
FILES: Mapping[Kind, str] = {"record": RECORD, "failure": FAILURE, "partial": PARTIAL}

LEFT_OVER = (TEMPORARY, f"{CHECKPOINT}.*.tmp")
"""Glob patterns of what a killed writer leaves in a run's folder; checkpoints once had names of the second form."""

_RUN_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class UnreadableFile:
    """A file that can't be used, where it is now, and the reason."""

    run_id: str
    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Store:
    """The records under one folder, which may be missing until the first is written.

    A file that can't be read is never dropped in silence: it is appended to `problems` (once) and passed to
    `on_problem`. Corrupt files are renamed to `record.corrupt-<n>.json`, so that their runs count as missing; without
    `set_aside` they stay, for folders that belong to somebody else. Any number of processes may use one folder at once.
    """

    def __init__(
        self,
        root: Path,
        on_problem: Callable[[UnreadableFile], None] = lambda problem: None,
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
        """The path of a run's checkpoint; `bench.training.checkpoint` writes and reads the file."""
        return self.folder(run_id) / CHECKPOINT

    def record_path(self, run_id: str) -> Path:
        """The path of a run's record, which may not exist."""
        return self.folder(run_id) / RECORD

    def failure_path(self, run_id: str) -> Path:
        """The path of a run's failure, which may not exist."""
        return self.folder(run_id) / FAILURE

    def discard_checkpoint(self, run_id: str) -> None:
        """Remove a run's checkpoint and the curves that belong to it, as far as possible: they do no harm."""
        for path in (self.checkpoint_path(run_id), self.folder(run_id) / PARTIAL):
            with suppress(OSError):
                path.unlink()

    def check_writable(self) -> None:
        """Raise UsageError if records can't be written to the folder. Writes nothing and makes no folder."""
        existing = nearest_existing(self.root)
        if not existing.is_dir():
            raise UsageError(f"the output folder {self.root} can't be made: {existing} is a file. Give another --out.")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UsageError(
                f"the output folder {self.root} can't be written: {existing} is read-only for this user. "
                "Give another --out, or change its permissions."
            )

    def prepare(self) -> None:
        """Make the folder and write a file to it as a trial; raise UsageError if that fails (a full disk, say)."""
        self.check_writable()
        probe = self.root / f".probe-{os.getpid()}.tmp"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"?")
        except OSError as error:
            reason = f"the output folder {self.root} can't be written: {error.strerror}"
            raise UsageError(f"{reason}. Give another --out, or make room.") from None
        finally:
            with suppress(OSError):
                probe.unlink()

    # Writing ---------------------------------------------------------------------------------------------------

    def write_record(self, record: Mapping[str, Any]) -> Path:
        """Write a run's record, and remove its failure. NaN and infinity become null; `schema` is filled in.

        Raises OSError where it can't be written (nothing is changed then) and ValueError where `run_id` isn't
        the id of `spec`.
        """
        data = encode_record({"schema": SCHEMA} | dict(record))
        run_id = decode_record(data)["run_id"]
        path = self.record_path(run_id)
        write_atomically(path, data)
        with suppress(OSError):
            self.failure_path(run_id).unlink()
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
        details = {"reason": reason, "epoch": epoch, "traceback": traceback, "provenance": dict(provenance or {})}
        return self.copy_failure(_header(spec) | details)

    def copy_failure(self, failure: Mapping[str, Any]) -> Path:
        """Write a failure that `read_failure` of this or another store has returned."""
        path = self.failure_path(failure["run_id"])
        write_atomically(path, encode_record(failure))
        return path

    def write_partial(self, spec: RunSpec, curves: Mapping[str, Any], total_epochs: int) -> Path:
        """Write the curves of a run that is put aside, beside its checkpoint; `total_epochs`: those of the full run."""
        path = self.folder(spec.run_id) / PARTIAL
        write_atomically(path, encode_record(_header(spec) | {"curves": curves, "total_epochs": total_epochs}))
        return path

    # Reading ---------------------------------------------------------------------------------------------------

    def has(self, run_id: str) -> bool:
        """Whether a run has a record. The file isn't opened: a corrupt one shows when it is read."""
        return self.record_path(run_id).exists()

    def has_failed(self, run_id: str) -> bool:
        """Whether a run has a failure and no record."""
        return self.failure_path(run_id).exists() and not self.has(run_id)

    def run_ids(self) -> list[str]:
        """Every run that has a folder in the store, finished or not, sorted."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if _RUN_ID.fullmatch(entry.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def finished(self, run_ids: Iterable[str] | None = None) -> set[str]:
        """Those of `run_ids` (None: all of the store) that have a record."""
        return {run_id for run_id in self._present(run_ids) if self.has(run_id)}

    def failed(self, run_ids: Iterable[str] | None = None) -> set[str]:
        """Those of `run_ids` (None: all of the store) that have a failure and no record."""
        return {run_id for run_id in self._present(run_ids) if self.has_failed(run_id)}

    def _present(self, run_ids: Iterable[str] | None) -> set[str]:
        """Those of `run_ids` (None: all) that have a folder: one listing, since a question for each run is slow."""
        present = set(self.run_ids())
        return present if run_ids is None else present.intersection(run_ids)

    def read(self, run_id: str) -> dict[str, Any] | None:
        """A run's record in today's schema; None if there is none, or none that can be read (see `problems`)."""
        return self._read(run_id, "record")

    def read_failure(self, run_id: str) -> dict[str, Any] | None:
        """A run's failure; None if there is none, or none that can be read."""
        return self._read(run_id, "failure")

    def read_partial(self, run_id: str) -> dict[str, Any] | None:
        """The curves of a run that was put aside; None if there are none, or none that can be read."""
        return self._read(run_id, "partial")

    def records(self, run_ids: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """The records of `run_ids` in that order (None: all, by id), without the runs that have none."""
        for run_id in self.run_ids() if run_ids is None else run_ids:
            if (record := self.read(run_id)) is not None:
                yield record

    def failures(self, run_ids: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
        """The failures of `run_ids` (None: all, by id) that have no record."""
        for run_id in self.run_ids() if run_ids is None else run_ids:
            if not self.has(run_id) and (failure := self.read_failure(run_id)) is not None:
                yield failure

    def _read(self, run_id: str, kind: Kind) -> dict[str, Any] | None:
        path = self.folder(run_id) / FILES[kind]
        try:
            data = read_regular_file(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._report(UnreadableFile(run_id, path, f"can't be read: {error.strerror}"))
            return None
        try:
            return decode_whole_record(data, kind, run_id)
        except (UnreadableSchema, CorruptRecord) as error:
            if self.set_aside and isinstance(error, CorruptRecord):
                self._set_aside(run_id, path, data, str(error))
            else:
                self._report(UnreadableFile(run_id, path, str(error)))
        return None

    def _set_aside(self, run_id: str, path: Path, data: bytes, reason: str) -> None:
        """Rename a corrupt file, which held `data`, so that its run counts as missing, and report it."""
        try:
            aside = set_file_aside(path)
            # Another process may have written a sound file between the reading and the renaming: that one goes back.
            if aside.read_bytes() != data:
                aside.rename(path)
                return
        except FileNotFoundError:
            return  # another process was faster, and reports the file
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
        """This process's claim on a run, to be used in a `with`; None while another process holds one.

        A claim whose owner is dead, or silent for longer than the lease, is taken over, and what it left is removed.
        """
        claim = take_claim(self.folder(run_id) / CLAIM, self.lease)
        if claim is not None:
            for pattern in LEFT_OVER:
                for path in self.folder(run_id).glob(pattern):
                    if not is_being_written(path):  # by a `merge`, which needs no claim
                        path.unlink(missing_ok=True)
        return claim

    def tidy(self, run_id: str) -> None:
        """Remove the checkpoint and claim of a process that was killed right after its record, as far as possible."""
        # The claim is given up last, after the checkpoint: without a claim there is nothing to remove.
        if not (self.folder(run_id) / CLAIM).exists():
            return
        with suppress(OSError):
            if (claim := self.claim(run_id)) is not None:
                self.discard_checkpoint(run_id)
                claim.release()

    def is_claimed(self, run_id: str) -> bool:
        """Whether a living process works on a run."""
        return not is_expired_claim(self.folder(run_id) / CLAIM, self.lease)

    def claim_holder(self, run_id: str) -> str:
        """Who works on a run, in words; empty where nobody does."""
        return describe_holder(self.folder(run_id) / CLAIM)


def _header(spec: RunSpec) -> dict[str, Any]:
    """The keys that every file of a run begins with."""
    return {"schema": SCHEMA, "run_id": spec.run_id, "spec": spec.model_dump(mode="json")}
