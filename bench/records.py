"""What a record is: its schema and older ones, its check, its short form for git, and the table of many."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.atomic import write_atomically
from bench.errors import UsageError
from bench.spec import ADDED_LATER, CHOSEN_BY_METHOD, SEEDS, canonical_json, digest

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
"""Version of the records that this release writes."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""How a record of schema n becomes one of schema n + 1, by n. A record's `run_id` stays what it was."""

RECORD_KEYS = ("run_id", "spec", "curves", "measures", "provenance")
FAILURE_KEYS = ("run_id", "spec", "reason")
PARTIAL_KEYS = ("run_id", "spec", "curves", "total_epochs")

CURVE_DIGITS, MEASURE_DIGITS = 4, 6
"""Significant digits of committed records."""
MOST_BYTES = 3000
"""The longest line of a committed file of records."""


class CorruptRecord(ValueError):  # noqa: N818 - a state of a file
    """A file that is no record: broken JSON, keys missing, or an id that isn't its spec's."""


class UnreadableSchema(ValueError):  # noqa: N818 - a state of a file
    """A sound record of a schema that this release doesn't know."""


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: NaN and infinity become None, NumPy values and arrays numbers and lists."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a record can't hold {value!r} ({type(value).__name__})")


def encode(record: Mapping[str, Any]) -> bytes:
    """One line of UTF-8 JSON."""
    text = json.dumps(plain(record), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def decode(data: bytes, keys: tuple[str, ...] = RECORD_KEYS, run_id: str | None = None) -> dict[str, Any]:
    """The record in `data`, checked and brought to today's schema.

    `run_id` is the id that it should have; None takes its own. Raises CorruptRecord or UnreadableSchema with one
    line that says why.
    """
    try:
        record: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(f"broken JSON: {error}") from None
    if not isinstance(record, dict):
        raise CorruptRecord(f"a JSON {type(record).__name__} instead of an object")
    schema = record.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise CorruptRecord(f"schema {schema!r} is no version")
    if schema > SCHEMA:
        raise UnreadableSchema(f"schema {schema} is newer than this release's {SCHEMA}; update lnl-bench to read it")
    # Compared with the spec as it is written, not as RunSpec would fill it in: a release that adds a field to
    # RunSpec must not find every older record corrupt.
    own = digest(canonical_json(record["spec"])) if isinstance(record.get("spec"), dict) else None
    if own is None or record.get("run_id") != own:
        raise CorruptRecord(f"run_id {record.get('run_id')!r} isn't its spec's, {own}")
    if run_id is not None and run_id != own:
        raise CorruptRecord(f"it belongs to run {own}")
    while schema < SCHEMA:
        if schema not in MIGRATIONS:
            raise UnreadableSchema(f"schema {schema} is older than any that this release can read")
        record = MIGRATIONS[schema](record)
        schema += 1
        record["schema"] = schema
    missing = [key for key in keys if key not in record]
    if missing:
        raise CorruptRecord(f"no {', '.join(missing)}")
    return dict(record)


def significant(value: Any, digits: int) -> Any:
    """Every float in `value` to so many significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: significant(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [significant(item, digits) for item in value]
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


def compact(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as it is committed: at most MOST_BYTES bytes of JSON.

    Curves to CURVE_DIGITS significant digits, measures to MEASURE_DIGITS, no predictions; of the provenance what
    boards show. What a longer record loses on top is named in its `left_out`. Raises ValueError if that isn't enough.
    """
    record = plain(record)
    small: dict[str, Any] = {key: record[key] for key in ("schema", "run_id", "spec")}
    small["curves"] = significant(record["curves"], CURVE_DIGITS)
    small["measures"] = {
        key: significant(value, MEASURE_DIGITS)
        for key, value in record["measures"].items()
        if key != "test_predictions"
    }
    kept = {key: record["provenance"][key] for key in PROVENANCE_KEPT if key in record["provenance"]}
    small["provenance"] = significant(kept, 4)
    left_out: list[str] = list(record.get("left_out", ()))
    if left_out:
        small["left_out"] = left_out
    for step in LEAST_NEEDED:
        if len(encode(small)) <= MOST_BYTES:
            return small
        part, what = step
        if isinstance(what, int):
            left_out += _thin(small["curves"], part, what)
        elif what in small[part]:
            del small[part][what]
            left_out.append(f"{part}.{what}")
        # names of curves would take the room that leaving them out made
        small["left_out"] = left_out if small["curves"] else ["curves", *_beyond_curves(left_out)]
    if len(encode(small)) > MOST_BYTES:
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
    write_atomically(path, b"".join(encode(record) for record in records))


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
            record = decode(line)
        except (CorruptRecord, UnreadableSchema) as error:
            raise UsageError(f"{path}, line {number}: {error}\nRemove or mend the line.") from None
        found.setdefault(record["run_id"], record)
    return list(found.values())


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    spec, measures, provenance = record["spec"], record["measures"], record["provenance"]
    setting = {key: value for key, value in spec.items() if key not in CHOSEN_BY_METHOD | SEEDS}
    row: dict[str, Any] = {"run_id": record["run_id"], "setting_id": digest(canonical_json(setting))}
    row |= ADDED_LATER | spec
    row["parameters"] = canonical_json(spec.get("parameters", {}))
    row["privileges"] = ",".join(spec.get("privileges", ()))
    for key, value in measures.items():
        if key == "selector":
            row |= {f"selector_{part}": item for part, item in (value or {}).items()}
        else:
            row[key] = value
    seconds = provenance.get("seconds")
    row |= {f"seconds_{part}": item for part, item in (seconds or {}).items()}
    return row


def frame(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """One row a record: id, setting, the spec's fields, measures, seconds (as `seconds_train` ...); no curves.

    `parameters` is canonical JSON and `privileges` comma-separated text, so that both can be grouped by; the
    selector's measures are columns such as `selector_auroc`.
    """
    import pandas

    return pandas.DataFrame([_row(record) for record in records])
