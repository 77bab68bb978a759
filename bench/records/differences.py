"""Two records of one run: whether one holds all of the other, and where they contradict each other.

Read `is_part_of` first, then `distinct_records`, which finds the contradictions among many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]

CURVE_DIGITS, MEASURE_DIGITS = 4, 6
"""Significant digits of committed records."""
NOT_CONTENT = frozenset({"provenance", "left_out"})
"""Keys of a record that aren't a function of its spec: its origin, and what its short form lacks."""


@dataclass(frozen=True)
class RecordDifference:
    """One place where two records differ: its path, and the value of each as a one-item tuple, () without a value."""

    path: str
    kept: tuple[Any, ...]
    refused: tuple[Any, ...]


def distinct_records(records: Iterable[Record], refuse: Callable[[Record, Record], None]) -> list[Record]:
    """Each run once, as its fullest record has it, in the order in which runs come first.

    `refuse(kept, refused)` gets every record that contradicts the one before it.
    """
    distinct: dict[str, Record] = {}
    for record in records:
        known = distinct.setdefault(record["run_id"], record)
        if known is record or is_part_of(record, known):
            continue
        if is_part_of(known, record):
            distinct[record["run_id"]] = record
        else:
            refuse(known, record)
    return list(distinct.values())


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


def round_significant(value: Any, digits: int) -> Any:
    """`value` with every float in it rounded to `digits` significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: round_significant(item, digits) for name, item in value.items()}
    if isinstance(value, list):
        return [round_significant(item, digits) for item in value]
    return value
