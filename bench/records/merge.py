"""Merges stores of several machines into one; contradicting records are reported, never overwritten.

Read `merge_sources` first, then `is_part_of`, which decides whether two records of a run agree. Records and failures
are copied; checkpoints are not, since a run must go on with the number of threads that it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.records.compact import CURVE_DIGITS, MEASURE_DIGITS, read_jsonl, round_significant
from bench.records.store import Store, UnreadableFile
from bench.system.errors import UsageError

Record = Mapping[str, Any]

LOCK = ".merge.lock"
NOT_CONTENT = frozenset({"provenance", "left_out"})
"""Keys of a record that aren't a function of its spec: its origin, and what its short form lacks."""


@dataclass(frozen=True)
class RecordDifference:
    """One place where two records differ: its path, and the value of each as a one-item tuple, () without a value."""

    path: str
    kept: tuple[Any, ...]
    refused: tuple[Any, ...]


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
            self._store, self._records = None, read_jsonl(self.path)
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


def is_part_of(record: Record, fuller: Record) -> bool:
    """Whether `fuller` holds all that `record` holds, its provenance aside, perhaps with more digits.

    True of a record and itself, of the short form that `compact_record` makes, and of a record by a release that
    measured less.
    """
    if record["spec"] != fuller["spec"]:
        return False
    others = record.keys() - NOT_CONTENT - {"schema", "spec", "curves", "measures"}
    if any(name not in fuller or record[name] != fuller[name] for name in others):
        return False
    if not _repeats(fuller["measures"], record["measures"], MEASURE_DIGITS):
        return False
    for name, values in record["curves"].items():
        full = fuller["curves"].get(name)
        if full is None:
            return False
        if isinstance(values, list) and isinstance(full, list) and len(values) < len(full):
            kept = _kept_positions(record["curves"], fuller["curves"], len(values), len(full))
            if kept is None:
                return False
            full = [full[position] for position in kept]
        if not _repeats(full, values, CURVE_DIGITS):
            return False
    return True


def _kept_positions(thinned: Record, full: Record, few: int, many: int) -> list[int] | None:
    """The positions of a full curve's `many` values that its thinned form of `few` keeps, by the epochs of both.

    None if no list of epochs has these lengths, or the thinned one names other epochs.
    """
    for over in ("epoch", "measured_epoch"):
        epochs, full_epochs = thinned.get(over), full.get(over)
        if epochs is not None and full_epochs is not None and (len(epochs), len(full_epochs)) == (few, many):
            positions = {epoch: position for position, epoch in enumerate(full_epochs)}
            if all(epoch in positions for epoch in epochs):
                return [positions[epoch] for epoch in epochs]
    return None


def _repeats(full: Any, part: Any, digits: int) -> bool:
    """Whether `part` repeats what `full` holds, to all digits or rounded to `digits`."""
    if isinstance(part, Mapping) and isinstance(full, Mapping):
        return all(name in full and _repeats(full[name], value, digits) for name, value in part.items())
    if isinstance(part, list) and isinstance(full, list):
        return len(part) == len(full) and all(map(_repeats, full, part, [digits] * len(part)))
    return bool(part == full or part == round_significant(full, digits))


def record_differences(kept: Record, refused: Record) -> Iterator[RecordDifference]:
    """Every place outside provenance where two records differ, in the order of `kept`."""
    names = [name for name in dict.fromkeys([*kept, *refused]) if name not in NOT_CONTENT]
    for name in names:
        yield from _differences(name, _item(kept, name), _item(refused, name))


def _item(values: Record, name: str) -> tuple[Any, ...]:
    return (values[name],) if name in values else ()


def _differences(path: str, kept: tuple[Any, ...], refused: tuple[Any, ...]) -> Iterator[RecordDifference]:
    if kept and refused and isinstance(kept[0], Mapping) and isinstance(refused[0], Mapping):
        for name in dict.fromkeys([*kept[0], *refused[0]]):
            yield from _differences(f"{path}.{name}", _item(kept[0], name), _item(refused[0], name))
    elif kept and refused and _are_lists_of_one_length(kept[0], refused[0]):
        for position, (left, right) in enumerate(zip(kept[0], refused[0], strict=True)):
            yield from _differences(f"{path}[{position}]", (left,), (right,))
    elif kept != refused:
        yield RecordDifference(path, kept, refused)


def _are_lists_of_one_length(left: Any, right: Any) -> bool:
    return isinstance(left, list) and isinstance(right, list) and len(left) == len(right)


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
