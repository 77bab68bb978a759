"""Records in the short form that is committed to git: one file for each data set, one line for each run.

Read `compact_record` first, then `export_records`, which is `report --export`. LEAST_NEEDED is the order in which long
records lose parts. `read_jsonl` and `write_jsonl` know the file format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.records.differences import CURVE_DIGITS, MEASURE_DIGITS, Record, distinct_records, round_significant
from bench.records.schema import (
    CorruptRecord,
    UnreadableSchema,
    decode_whole_record,
    encode_content,
    encode_record,
    to_json_value,
)
from bench.records.seal import SEAL_BYTES
from bench.spec import CHOSEN_BY_METHOD, SEEDS, canonical_json
from bench.system.errors import UsageError
from bench.system.files import file_names, read_regular_file, write_atomically
from bench.system.text import list_first

PROVENANCE_DIGITS = 4
MOST_CONTENT_BYTES = 3000
MOST_BYTES = MOST_CONTENT_BYTES + SEAL_BYTES
"""The longest line of a committed file of records, with its hash."""
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
    "labels",
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
"""Parts that a too long record loses, the least needed first: ("curves", NAME) and the like, or (EPOCHS, COUNT), which
thins the curves over EPOCHS to COUNT values. No table needs any of them but the last."""


def compact_record(record: Record) -> dict[str, Any]:
    """The record as it is committed: at most MOST_CONTENT_BYTES bytes of JSON.

    Curves, measures and provenance are rounded; predictions go, and of the provenance all that boards don't show.
    Parts that a long record loses beside these are named in its `left_out`. Raises ValueError if that isn't enough.
    """
    record = to_json_value(record)
    measures = {name: value for name, value in record["measures"].items() if name != "test_predictions"}
    provenance = {name: record["provenance"][name] for name in PROVENANCE_KEPT if name in record["provenance"]}
    compact: dict[str, Any] = {name: record[name] for name in ("schema", "run_id", "spec")}
    compact["curves"] = round_significant(record["curves"], CURVE_DIGITS)
    compact["measures"] = round_significant(measures, MEASURE_DIGITS)
    compact["provenance"] = round_significant(provenance, PROVENANCE_DIGITS)
    left_out: list[str] = list(record.get("left_out", ()))
    if left_out:
        compact["left_out"] = left_out
    for part, what in LEAST_NEEDED:
        if len(encode_content(compact)) <= MOST_CONTENT_BYTES:
            return compact
        if isinstance(what, int):
            left_out += _thin_curves(compact["curves"], part, what)
        elif what in compact[part]:
            del compact[part][what]
            left_out.append(f"{part}.{what}")
        # A record without curves says so in one word: the names of all curves would take the bytes that it gained.
        beyond_curves = [text for text in left_out if not text.startswith("curves")]
        compact["left_out"] = left_out if compact["curves"] else ["curves", *beyond_curves]
    if len(encode_content(compact)) > MOST_CONTENT_BYTES:
        raise ValueError(f"run {record['run_id']} can't be brought under {MOST_CONTENT_BYTES:,} bytes")
    return compact


def _thin_curves(curves: dict[str, Any], over: str, most: int) -> list[str]:
    """Thin every curve over `over` ("epoch" or "measured_epoch") to about `most` evenly spread values, with the last.

    Returns the entry for `left_out`; no entry where the curves are short already.
    """
    epochs = curves.get(over, ())
    stride = math.ceil(len(epochs) / most) if epochs else 1
    if stride == 1:
        return []
    first = (len(epochs) - 1) % stride
    for name, values in curves.items():
        measured = name in MEASURED or name.startswith("selector_")
        if isinstance(values, list) and len(values) == len(epochs) and measured == (over == "measured_epoch"):
            curves[name] = values[first::stride]
    return [f"curves over {over} but every {stride}. value"]


def write_jsonl(path: Path, records: Iterable[Record]) -> None:
    """Write one record a line, atomically."""
    write_atomically(path, b"".join(encode_record(record) for record in records))


def read_jsonl(path: Path, refuse: Callable[[Record, Record], None] = lambda kept, refused: None) -> list[Record]:
    """The records of a file, each run once, in the order of their first lines.

    `refuse(kept, refused)` gets every record that contradicts an earlier one of its run. Raises UsageError with file
    and line of what isn't a record: a board from half a file would be wrong unseen.
    """
    return distinct_records((record for record, _ in _read_lines(path)), refuse)


def _read_lines(path: Path) -> Iterator[tuple[Record, bytes]]:
    """The records of a file with their lines, in order."""
    try:
        lines = read_regular_file(path).split(b"\n")
    except OSError as error:
        raise UsageError(f"can't read the records {path}: {error.strerror}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = decode_whole_record(line)
        except (CorruptRecord, UnreadableSchema) as error:
            raise UsageError(f"{path}, line {number}: {error}\nRemove or mend the line.") from None
        yield record, line + b"\n"


def export_records(
    records: Iterable[Record], folder: Path, note: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Write `records` to `folder`/<data set>.jsonl, each as `compact_record` returns it; returns the files.

    Lines of runs that a file holds already stay as they are, unless they are exported anew. Lines are sorted by
    content, so the same records give the same bytes in any order. Records that are too long are left out, and `note`
    says which. Raises UsageError where a file can't be written, or holds something that is no record; the file stays as
    it was.
    """
    exported: dict[str, dict[str, Record]] = {}
    too_long = []
    for record in records:
        name = records_file_name(str(record["spec"]["data_set"]))
        try:
            exported.setdefault(name, {})[record["run_id"]] = compact_record(record)
        except ValueError:
            too_long.append(record["run_id"])
    if too_long:
        note(
            f"note: {len(too_long)} runs are left out of the export: even without curves their records are longer than "
            f"{MOST_CONTENT_BYTES:,} bytes: {list_first(too_long)}"
        )
    written = []
    for name, runs in sorted(exported.items()):
        path = folder / name
        lines = {line: record for record, line in _read_lines(path)} if path.exists() else {}
        lines = {line: record for line, record in lines.items() if record["run_id"] not in runs}
        lines |= {encode_record(record): record for record in runs.values()}
        try:
            write_atomically(
                path, b"".join(line for line, record in sorted(lines.items(), key=lambda item: _sort_key(item[1])))
            )
        except OSError as error:
            reason = f"can't write the records {path}: {error.strerror}"
            raise UsageError(f"{reason}. Make room or give another --export") from None
        written.append(path)
    return written


def records_file_name(data_set: str) -> str:
    """The name of a data set's file of records. Data sets with equal safe names share a file, which does no harm."""
    return file_names([data_set])[data_set].removesuffix(".md") + ".jsonl"


def _sort_key(record: Record) -> tuple[Any, ...]:
    """Noise, rate and the rest of the setting, then the row of the board, then the replicate."""
    spec = record["spec"]
    setting = {name: value for name, value in spec.items() if name not in CHOSEN_BY_METHOD | SEEDS}
    row = {name: spec.get(name) for name in sorted(CHOSEN_BY_METHOD)}
    rate = -1.0 if spec.get("rate") is None else float(spec["rate"])
    seeds = [spec.get(name, 0) for name in ("noise_seed", "split_seed", "seed")]
    return (spec["noise"], rate, canonical_json(setting), spec["method"], canonical_json(row), seeds, record["run_id"])
