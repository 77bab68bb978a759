"""Merges stores of several machines into one; contradicting records are reported, never overwritten.

Read `merge_sources` first, then `bench.records.differences`, which decides whether two records of a run agree. Records
and failures are copied; checkpoints are not, since a run must go on with the number of threads that it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.records.compact import read_jsonl
from bench.records.differences import RecordDifference, is_part_of, record_differences
from bench.records.store import Store, UnreadableFile
from bench.system.errors import UsageError

Record = Mapping[str, Any]

LOCK = ".merge.lock"


@dataclass(frozen=True)
class MergeConflict:
    """Two records of one run that contradict each other; the store keeps its own."""

    source: str
    kept: Record
    refused: Record
    differences: tuple[RecordDifference, ...]


@dataclass
class MergeTally:
    """The outcome of merging one source: counts of its records and failures.

    `new` weren't in the store; `same` were there, as they are or fuller; `fuller` replaced a part of themselves, such
    as the short form that is committed. `failures` counts copied failures.
    """

    source: str
    new: int = 0
    same: int = 0
    fuller: int = 0
    failures: int = 0
    conflicts: list[MergeConflict] = field(default_factory=list)
    unreadable: list[UnreadableFile] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everything in the source is in the store now."""
        return not self.conflicts and not self.unreadable


class MergeSource:
    """A store's folder, or a file of records, which is read at once. Raises UsageError for anything else."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path(name)
        self.problems: list[UnreadableFile] = []
        if self.path.is_dir():
            self._store: Store | None = Store(self.path, on_problem=self.problems.append, set_aside=False)
            self.empty = not self._store.run_ids()
        elif self.path.suffix == ".jsonl" or self.path.is_file():
            refused: list[Record] = []
            self._store, self._records = None, read_jsonl(self.path, lambda kept, other: refused.append(other))
            # After the others, so that each meets the record of its run that is kept, and is reported as a conflict.
            self._records += refused
            self.empty = not self._records
        else:
            raise UsageError(f"{name}: there is no such folder. Name folders that `run --out` wrote, or .jsonl files")

    def records(self) -> Iterator[Record]:
        """The records, one at a time."""
        return iter(self._records) if self._store is None else self._store.records()

    def failures(self) -> Iterator[Record]:
        """The failures of runs that have no record in the source."""
        return iter(()) if self._store is None else self._store.failures()


def merge_sources(sources: Sequence[MergeSource], store: Store, dry_run: bool = False) -> list[MergeTally]:
    """Copy what `sources` hold and `store` lacks; returns a tally of each. Writes nothing with `dry_run`.

    Every record appears whole or not at all. The result doesn't depend on the order of sources, except for whose
    provenance is kept and which of two contradicting records.
    """
    from filelock import FileLock

    if not dry_run:
        store.prepare()
    # One merge at a time: two could both find a record missing, and the second would overwrite the first's unseen.
    with nullcontext() if dry_run else FileLock(store.root / LOCK):
        target = _MergeTarget(store, dry_run)
        return [_merge_source(source, target) for source in sources]


class _MergeTarget:
    """The store that is written to; with `dry_run`, the store and what would be added to it."""

    def __init__(self, store: Store, dry_run: bool) -> None:
        self.store, self.dry_run = store, dry_run
        self._records: dict[str, Record] = {}
        self._failures: set[str] = set()

    def record(self, run_id: str) -> Record | None:
        return self._records.get(run_id) or self.store.read(run_id)

    def has_failure(self, run_id: str) -> bool:
        return run_id in self._failures or self.store.has_failed(run_id)

    def put(self, record: Record) -> None:
        run_id = record["run_id"]
        if self.dry_run:
            self._records[run_id] = record
            return
        self.store.write_record(record)
        # A process that still trains the run goes on with its checkpoint, and finds the record at the end.
        if not self.store.is_claimed(run_id):
            self.store.discard_checkpoint(run_id)

    def put_failure(self, failure: Record) -> None:
        if self.dry_run:
            self._failures.add(failure["run_id"])
        else:
            self.store.copy_failure(failure)


def _merge_source(source: MergeSource, target: _MergeTarget) -> MergeTally:
    tally = MergeTally(source.name)
    for record in source.records():
        stored = target.record(record["run_id"])
        if stored is None:
            target.put(record)
            tally.new += 1
        elif is_part_of(record, stored):
            tally.same += 1
        elif is_part_of(stored, record):
            target.put(record)
            tally.fuller += 1
        else:
            differences = tuple(record_differences(stored, record))
            tally.conflicts.append(MergeConflict(source.name, stored, record, differences))
    for failure in source.failures():
        if target.record(failure["run_id"]) is None and not target.has_failure(failure["run_id"]):
            target.put_failure(failure)
            tally.failures += 1
    tally.unreadable = list(source.problems)
    return tally


def open_merge_sources(names: Iterable[str], out: Path, note: Callable[[str], None]) -> list[MergeSource]:
    """The sources of these names, each once and without the store itself. Raises UsageError if a name is no source."""
    sources: dict[Path, MergeSource] = {}
    for name in names:
        source = MergeSource(name)
        path = source.path.resolve()
        if path == out.resolve():
            note(f"note: {name} is the store itself, and left out")
        else:
            sources.setdefault(path, source)
            if source.empty:
                note(f"note: there are no runs in {name}")
    if all(source.empty for source in sources.values()):
        raise UsageError(
            f"there is nothing to merge into {out}: name the folders that `run --out` wrote on each machine, or .jsonl "
            "files of `report --export`"
        )
    return list(sources.values())
