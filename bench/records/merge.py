"""Joins stores of several machines into one; what contradicts is reported, never overwritten.

Records and failures are copied; checkpoints stay where they are, since a run goes on with the threads it began with.
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
"""What of a record isn't a function of its spec: where and when it was made, and what its short form lacks."""


@dataclass(frozen=True)
class RecordDifference:
    """One place where two records differ: its path, and what each holds there, as one-item tuples; (): nothing."""

    path: str
    kept: tuple[Any, ...]
    refused: tuple[Any, ...]


@dataclass(frozen=True)
class MergeConflict:
    """Two records of one run that can't both be right; the one of the store is kept."""

    source: str
    kept: Record
    refused: Record
    differences: tuple[RecordDifference, ...]


@dataclass
class MergeTally:
    """What became of one source's records and failures.

    `new` weren't in the store, `same` were (or more of them was), `fuller` took the place of a part of themselves, such
    as the short form that is committed; `failures` are those copied.
    """

    source: str
    new: int = 0
    same: int = 0
    fuller: int = 0
    failures: int = 0
    conflicts: list[MergeConflict] = field(default_factory=list)
    unreadable: list[UnreadableFile] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether everything in the source is in the store now."""
        return not self.conflicts and not self.unreadable


class MergeSource:
    """A store's folder or a file of records. Raises UsageError where it is neither; reads a file at once."""

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
        """Its records, one at a time."""
        return iter(self._records) if self._store is None else self._store.records()

    def failures(self) -> Iterator[Record]:
        """Failures of runs that have no record in it."""
        return iter(()) if self._store is None else self._store.failures()


def merge_sources(sources: Sequence[MergeSource], store: Store, dry_run: bool = False) -> list[MergeTally]:
    """Copy what `sources` hold and `store` lacks; what became of each, in their order. Writes nothing with `dry_run`.

    Every record appears whole or not at all; one merge at a time writes to a store. The result doesn't depend on the
    order of sources, but for whose provenance is kept, and which of two contradicting records.
    """
    from filelock import FileLock

    if not dry_run:
        store.prepare()
    with nullcontext() if dry_run else FileLock(store.root / LOCK):
        target = _Target(store, dry_run)
        return [_take(source, target) for source in sources]


class _Target:
    """The store that is written to, or with `dry_run` what it would hold."""

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
        if not self.store.is_claimed(run_id):
            self.store.discard_checkpoint(run_id)

    def put_failure(self, failure: Record) -> None:
        if self.dry_run:
            self._failures.add(failure["run_id"])
        else:
            self.store.copy_failure(failure)


def _take(source: MergeSource, target: _Target) -> MergeTally:
    tally = MergeTally(source.name)
    for record in source.records():
        here = target.record(record["run_id"])
        if here is None:
            target.put(record)
            tally.new += 1
        elif is_part_of(record, here):
            tally.same += 1
        elif is_part_of(here, record):
            target.put(record)
            tally.fuller += 1
        else:
            tally.conflicts.append(MergeConflict(source.name, here, record, tuple(record_differences(here, record))))
    for failure in source.failures():
        if target.record(failure["run_id"]) is None and not target.has_failure(failure["run_id"]):
            target.put_failure(failure)
            tally.failures += 1
    tally.unreadable = list(source.problems)
    return tally


def is_part_of(record: Record, of: Record) -> bool:
    """Whether all that `record` says, its provenance aside, `of` says too, perhaps with more digits.

    True of a record and itself, of the short form that `compact_record` makes, and of a record by a
    release that measured less.
    """
    if record["spec"] != of["spec"]:
        return False
    rest = record.keys() - NOT_CONTENT - {"schema", "spec", "curves", "measures"}
    if any(name not in of or record[name] != of[name] for name in rest):
        return False
    if not _says(of["measures"], record["measures"], MEASURE_DIGITS):
        return False
    places: dict[tuple[int, int], list[int] | None] = {}
    for name, values in record["curves"].items():
        whole = of["curves"].get(name)
        if whole is None:
            return False
        if isinstance(values, list) and isinstance(whole, list) and len(values) < len(whole):
            sizes = (len(values), len(whole))
            if sizes not in places:
                places[sizes] = _places(record["curves"], of["curves"], *sizes)
            kept = places[sizes]
            if kept is None:
                return False
            whole = [whole[place] for place in kept]
        if not _says(whole, values, CURVE_DIGITS):
            return False
    return True


def _places(short: Record, whole: Record, most: int, length: int) -> list[int] | None:
    """Which of a whole curve's `length` values a thinned one of `most` keeps, by the epochs that both name."""
    for over in ("epoch", "measured_epoch"):
        named, every = short.get(over), whole.get(over)
        if named is not None and every is not None and (len(named), len(every)) == (most, length):
            place = {epoch: number for number, epoch in enumerate(every)}
            if all(epoch in place for epoch in named):
                return [place[epoch] for epoch in named]
    return None


def _says(whole: Any, part: Any, digits: int) -> bool:
    """Whether `part` repeats what `whole` says, to all digits or to so many."""
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return all(name in whole and _says(whole[name], value, digits) for name, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) == len(whole) and all(map(_says, whole, part, [digits] * len(part)))
    return bool(part == whole or part == round_significant(whole, digits))


def record_differences(kept: Record, refused: Record) -> Iterator[RecordDifference]:
    """Every place outside provenance where two records differ, in the order of the first."""
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
        for place, (left, right) in enumerate(zip(kept[0], refused[0], strict=True)):
            yield from _differences(f"{path}[{place}]", (left,), (right,))
    elif kept != refused:
        yield RecordDifference(path, kept, refused)


def _are_lists_of_one_length(left: Any, right: Any) -> bool:
    return isinstance(left, list) and isinstance(right, list) and len(left) == len(right)


def open_merge_sources(names: Iterable[str], out: Path, note: Callable[[str], None]) -> list[MergeSource]:
    """The sources by these names, each once and without the store itself. Raises UsageError where one is none."""
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
