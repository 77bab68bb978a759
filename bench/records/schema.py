"""The schema of records: their JSON, the check of what is read, and migrations from older schemas.

Read `decode_record` first. What a record holds, `bench.records.content` says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
import pydantic_core
from pydantic import BaseModel

from bench.records.content import SPEC_FIELDS, FailureContent, PartialContent, RecordContent, first_mistake
from bench.records.seal import KEY, hash_of, is_sealed, seal, seal_holds
from bench.spec import canonical_json
from bench.system.text import digest, list_first

SCHEMA = 1
"""Version of the records that this release writes."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: dict[int, Migration] = {}
"""Functions that bring a record of schema n to schema n + 1, by n. A record's `run_id` stays the same."""

Kind = Literal["record", "failure", "partial"]
CONTENTS: Mapping[Kind, type[BaseModel]] = {
    "record": RecordContent,
    "failure": FailureContent,
    "partial": PartialContent,
}
OTHER_CONTENT = "its sha256 isn't that of its content: some of it has changed since it was written"


class CorruptRecord(ValueError):  # noqa: N818 - a state of a file
    """A file that is no record: broken JSON, keys missing, values of another type, or another content's hash or id."""


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
    """A record as one line of UTF-8 JSON, which ends in the SHA-256 of the rest."""
    return seal(encode_content(record))


def encode_content(record: Mapping[str, Any]) -> bytes:
    """A record as one line of UTF-8 JSON, without its hash."""
    text = json.dumps(to_json_value(record), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def decode_record(data: bytes, kind: Kind = "record", run_id: str | None = None) -> dict[str, Any]:
    """The record in `data`, checked and brought to today's schema, without its hash.

    `run_id` is the id that is expected (None: any). Raises CorruptRecord or UnreadableSchema with the reason in one
    line. Records without a hash, as earlier releases wrote them, are checked for all else.
    """
    if is_sealed(data) and not seal_holds(data):
        raise CorruptRecord(OTHER_CONTENT)
    record = _parse(data)
    stated = record.pop(KEY, None)
    if isinstance(provenance := record.get("provenance"), dict):
        provenance.pop(KEY, None)
    if stated is not None and not is_sealed(data) and hash_of(encode_content(record)) != stated:
        raise CorruptRecord(OTHER_CONTENT)  # another program has written it anew, and may have kept the content
    _check_id(record, run_id)
    record = _migrate(record)
    try:
        # Only checked: what is read stays as it was written, keys in their order too.
        CONTENTS[kind].model_validate(record)
    except pydantic.ValidationError as error:
        raise CorruptRecord(first_mistake(error, record)) from None
    return record


def decode_whole_record(data: bytes, kind: Kind = "record", run_id: str | None = None) -> dict[str, Any]:
    """`decode_record` for whoever uses the spec: it holds every field that a spec is written with."""
    record = decode_record(data, kind, run_id)
    if missing := [f"spec.{name}" for name in SPEC_FIELDS if name not in record["spec"]]:
        raise CorruptRecord(f"no {list_first(missing)}")
    return record


def _parse(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, of a schema that isn't newer than this release's."""
    try:
        record = pydantic_core.from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise CorruptRecord(f"broken JSON: {error}") from None
    if not isinstance(record, dict):
        raise CorruptRecord(f"a JSON {type(record).__name__} instead of an object")
    schema = record.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise CorruptRecord(f"schema {str(schema)[:80]!r} is no version")
    if schema > SCHEMA:
        named = f"{schema}" if schema < 10**6 else "of seven digits or more"
        raise UnreadableSchema(f"schema {named} is newer than this release's {SCHEMA}; update lnl-bench to read it")
    return record


def _check_id(record: Mapping[str, Any], run_id: str | None) -> None:
    """Raise CorruptRecord where the id isn't that of the spec, or is another than `run_id`."""
    # Compared with the spec as it is written, not as RunSpec would fill it in: a release that adds a field to
    # RunSpec must not find every older record corrupt.
    spec_id = digest(canonical_json(record["spec"])) if isinstance(record.get("spec"), dict) else None
    if spec_id is None or record.get("run_id") != spec_id:
        raise CorruptRecord(f"run_id {str(record.get('run_id'))[:80]!r} isn't its spec's, {spec_id}")
    if run_id is not None and run_id != spec_id:
        raise CorruptRecord(f"it belongs to run {spec_id}")


def _migrate(record: dict[str, Any]) -> dict[str, Any]:
    """A record of an earlier schema brought to today's."""
    schema = record["schema"]
    while schema < SCHEMA:
        if schema not in MIGRATIONS:
            raise UnreadableSchema(f"schema {schema} is older than any that this release can read")
        record = MIGRATIONS[schema](record)
        schema += 1
        record["schema"] = schema
    return record
