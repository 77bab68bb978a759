"""The schema of records: their JSON, the check of what is read, and migrations from older schemas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.spec import canonical_json
from bench.system.text import digest

SCHEMA = 1
"""Version of the records that this release writes."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""Functions that bring a record of schema n to schema n + 1, by n. A record's `run_id` stays the same."""

RECORD_KEYS = ("run_id", "spec", "curves", "measures", "provenance")
FAILURE_KEYS = ("run_id", "spec", "reason")
PARTIAL_KEYS = ("run_id", "spec", "curves", "total_epochs")


class CorruptRecord(ValueError):  # noqa: N818 - a state of a file
    """A file that is no record: broken JSON, keys missing, or an id that isn't its spec's."""


class UnreadableSchema(ValueError):  # noqa: N818 - a state of a file
    """A sound record of a schema that this release doesn't know."""


def to_json_value(value: Any) -> Any:
    """`value` as JSON can hold it: NaN and infinity become None, NumPy values and arrays numbers and lists."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(item) for item in value]
    if hasattr(value, "tolist"):
        return to_json_value(value.tolist())
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a record can't hold {value!r} ({type(value).__name__})")


def encode_record(record: Mapping[str, Any]) -> bytes:
    """A record as one line of UTF-8 JSON."""
    text = json.dumps(to_json_value(record), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def decode_record(data: bytes, keys: tuple[str, ...] = RECORD_KEYS, run_id: str | None = None) -> dict[str, Any]:
    """The record in `data`, checked and brought to today's schema.

    `keys` must be present; `run_id` is the id that is expected (None: any). Raises CorruptRecord or UnreadableSchema
    with the reason in one line.
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
    spec_id = digest(canonical_json(record["spec"])) if isinstance(record.get("spec"), dict) else None
    if spec_id is None or record.get("run_id") != spec_id:
        raise CorruptRecord(f"run_id {record.get('run_id')!r} isn't its spec's, {spec_id}")
    if run_id is not None and run_id != spec_id:
        raise CorruptRecord(f"it belongs to run {spec_id}")
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
