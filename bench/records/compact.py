"""`report --export`: records in the short form that is committed, one file a data set, a line a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.records.schema import CorruptRecord, UnreadableSchema, decode_record, encode_record, to_json_value
from bench.spec import CHOSEN_BY_METHOD, SEEDS, canonical_json
from bench.system.errors import UsageError
from bench.system.files import write_atomically

CURVE_DIGITS, MEASURE_DIGITS = 4, 6
"""Significant digits of committed records."""
MOST_BYTES = 3000
"""The longest line of a committed file of records."""


def round_significant(value: Any, digits: int) -> Any:
    """Every float in `value` to so many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: round_significant(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [round_significant(item, digits) for item in value]
    return value


PROVENANCE_KEPT = (
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "parameters",
    "device",
    "threads",
    "versions",
    "git_revision",
    "git_dirty",
)
MEASURED = frozenset({"measured_epoch", "memorised", "corrected", "learnt"})
"""Curves over `measured_epoch`, beside the selector's (`selector_auroc` and so on); the others are over `epoch`."""

LEAST_NEEDED: tuple[tuple[str, str | int], ...] = (
    ("curves", "selector_precision"),
    ("curves", "selector_recall"),
    ("curves", "selector_average_precision"),
    ("curves", "phase"),
    ("curves", "clean_holdout_accuracy"),
    ("provenance", "versions"),
    ("curves", "train_loss"),
    ("curves", "learnt"),
    ("curves", "corrected"),
    ("measured_epoch", 10),
    ("epoch", 20),
    ("curves", "selector_damaged"),
    ("curves", "noisy_holdout_accuracy"),
    ("curves", "selector_corrected"),
    ("measured_epoch", 5),
    ("epoch", 10),
    ("curves", "selector_auroc"),
    ("curves", "memorised"),
    ("curves", "measured_epoch"),
    ("curves", "test_accuracy"),
    ("curves", "epoch"),
    ("measures", "effective"),
    ("measures", "network_test_accuracies"),
)
"""What `compact` leaves out of a record that is too long, least needed first; no table needs any of it but the last.

A number thins the curves over `epoch` or `measured_epoch` to so many values.
"""


def compact_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it is committed: at most MOST_BYTES bytes of JSON.

    Curves to CURVE_DIGITS significant digits, measures to MEASURE_DIGITS, no predictions; of the provenance what
    boards show. What a longer record loses on top is named in its `left_out`. Raises ValueError if that isn't enough.
    """
    record = to_json_value(record)
    small: dict[str, Any] = {key: record[key] for key in ("schema", "run_id", "spec")}
    small["curves"] = round_significant(record["curves"], CURVE_DIGITS)
    small["measures"] = {
        key: round_significant(value, MEASURE_DIGITS)
        for key, value in record["measures"].items()
        if key != "test_predictions"
    }
    kept = {key: record["provenance"][key] for key in PROVENANCE_KEPT if key in record["provenance"]}
    small["provenance"] = round_significant(kept, 4)
    left_out: list[str] = list(record.get("left_out", ()))
    if left_out:
        small["left_out"] = left_out
    for step in LEAST_NEEDED:
        if len(encode_record(small)) <= MOST_BYTES:
            return small
        part, what = step
        if isinstance(what, int):
            left_out += _thin(small["curves"], part, what)
        elif what in small[part]:
            del small[part][what]
            left_out.append(f"{part}.{what}")
        # names of curves would take the room that leaving them out made
        small["left_out"] = left_out if small["curves"] else ["curves", *_beyond_curves(left_out)]
    if len(encode_record(small)) > MOST_BYTES:
        raise ValueError(f"run {record['run_id']} can't be brought under {MOST_BYTES} bytes")
    return small


def _beyond_curves(left_out: Iterable[str]) -> list[str]:
    """What of a record was left out besides its curves."""
    return [text for text in left_out if not text.startswith("curves")]


def _thin(curves: dict[str, Any], over: str, most: int) -> list[str]:
    """Keep about `most` evenly spread values, the last among them, of every curve over `epoch` or `measured_epoch`."""
    epochs = curves.get(over, ())
    every = math.ceil(len(epochs) / most) if epochs else 1
    if every == 1:
        return []
    first = (len(epochs) - 1) % every
    for key, values in curves.items():
        measured = key in MEASURED or key.startswith("selector_")
        if isinstance(values, list) and len(values) == len(epochs) and measured == (over == "measured_epoch"):
            curves[key] = values[first::every]
    return [f"curves over {over} but every {every}. value"]


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one record a line, atomically."""
    write_atomically(path, b"".join(encode_record(record) for record in records))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a file, each run once (its first line).

    Raises UsageError with file and line of what isn't a record: a board from half a file would be wrong unseen.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"can't read the records {path}: {error.strerror}") from None
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = decode_record(line)
        except (CorruptRecord, UnreadableSchema) as error:
            raise UsageError(f"{path}, line {number}: {error}\nRemove or mend the line.") from None
        found.setdefault(record["run_id"], record)
    return list(found.values())


Record = Mapping[str, Any]


def export_records(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write `records` to `folder`/<data set>.jsonl, each as `compact_record` has it; returns the files.

    What a file holds already stays, but for runs that are exported anew. Lines are sorted by what they say, so the
    same records give the same bytes in whatever order they come. Raises UsageError where a file can't be written or
    holds something that is no record; the file is left as it was then.
    """
    new: dict[str, dict[str, Record]] = {}
    for record in records:
        new.setdefault(records_file_name(str(record["spec"]["data_set"])), {})[record["run_id"]] = compact_record(
            record
        )
    written = []
    for name, runs in sorted(new.items()):
        path = folder / name
        kept = {record["run_id"]: record for record in read_jsonl(path)} if path.exists() else {}
        try:
            write_jsonl(path, sorted((kept | runs).values(), key=_order))
        except OSError as error:
            raise UsageError(
                f"can't write the records {path}: {error.strerror}. Make room or give another --export"
            ) from None
        written.append(path)
    return written


def records_file_name(data_set: str) -> str:
    """The file of a data set's records. Data sets whose names come out alike share one, which does no harm."""
    from bench.system.files import file_names

    return file_names([data_set])[data_set].removesuffix(".md") + ".jsonl"


def _order(record: Record) -> tuple[Any, ...]:
    """Noise, rate, the rest of the setting, then the row, then the replicate."""
    spec = record["spec"]
    setting = {name: value for name, value in spec.items() if name not in CHOSEN_BY_METHOD | SEEDS}
    row = {name: spec.get(name) for name in sorted(CHOSEN_BY_METHOD)}
    rate = -1.0 if spec.get("rate") is None else float(spec["rate"])
    seeds = [spec.get(name, 0) for name in ("noise_seed", "split_seed", "seed")]
    return (spec["noise"], rate, canonical_json(setting), spec["method"], canonical_json(row), seeds, record["run_id"])
