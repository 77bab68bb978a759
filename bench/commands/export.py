"""`report --export`: records in the short form that is committed, one file a data set, a line a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.records import compact, read_jsonl, write_jsonl
from bench.spec import CHOSEN_BY_METHOD, SEEDS, canonical_json

Record = Mapping[str, Any]


def export(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write `records` to `folder`/<data set>.jsonl, each as `bench.records.compact` has it; returns the files.

    What a file holds already stays, but for runs that are exported anew. Lines are sorted by what they say, so the
    same records give the same bytes in whatever order they come. Raises UsageError where a file can't be written or
    holds something that is no record; the file is left as it was then.
    """
    new: dict[str, dict[str, Record]] = {}
    for record in records:
        new.setdefault(file_name(str(record["spec"]["data_set"])), {})[record["run_id"]] = compact(record)
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


def file_name(data_set: str) -> str:
    """The file of a data set's records. Data sets whose names come out alike share one, which does no harm."""
    from bench.leaderboard.files import file_names

    return file_names([data_set])[data_set].removesuffix(".md") + ".jsonl"


def _order(record: Record) -> tuple[Any, ...]:
    """Noise, rate, the rest of the setting, then the row, then the replicate."""
    spec = record["spec"]
    setting = {name: value for name, value in spec.items() if name not in CHOSEN_BY_METHOD | SEEDS}
    row = {name: spec.get(name) for name in sorted(CHOSEN_BY_METHOD)}
    rate = -1.0 if spec.get("rate") is None else float(spec["rate"])
    seeds = [spec.get(name, 0) for name in ("noise_seed", "split_seed", "seed")]
    return (spec["noise"], rate, canonical_json(setting), spec["method"], canonical_json(row), seeds, record["run_id"])
