"""Damaged records: whatever a file holds, it is read as it was written, or set aside with a reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.records import schema
from bench.records.schema import CorruptRecord, UnreadableSchema, decode_record, decode_whole_record, encode_record
from bench.records.store import Store
from bench.spec import RunSpec, canonical_json
from bench.system.text import digest
from benchmarks.filled_store import fill
from tests.bench import fake_records

GOOD, OTHER = (fake_records.make("gce", seed, 0.5, epochs=3) for seed in range(2))
LINE = encode_record(GOOD)
STRANGE: list[Any] = [None, True, -1, 1.5, 10**400, "x", "", [], {}, {"a": 1}, [1], ["x"], [[1]], "\ud800"]
STRANGE += [float("nan"), float("inf")]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every item in nested JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key)
        yield from places(item, (*place, key))


PLACES = list(places(GOOD))


def changed(place: tuple[Any, ...], value: Any = None, drop: bool = False) -> dict[str, Any]:
    """The good record with another value at a place; its id is that of its spec, where there is one."""
    record: dict[str, Any] = copy.deepcopy(GOOD)
    inner: Any = record
    for key in place[:-1]:
        inner = inner[key]
    if drop:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    if place[0] == "spec" and "spec" in record and "NaN" not in (text := json.dumps(record["spec"], sort_keys=True)):
        record["run_id"] = digest(text if "Infinity" in text else canonical_json(record["spec"]))
    return record


@given(st.integers(0, len(LINE) * 8 - 1))
@settings(max_examples=400)
def test_no_flipped_bit_passes(bit: int) -> None:
    damaged = bytearray(LINE)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        record = decode_record(bytes(damaged))
    except (CorruptRecord, UnreadableSchema):
        return
    assert {name: record[name] for name in GOOD} == GOOD  # the name of the hash itself was hit


@given(st.sampled_from(PLACES), st.sampled_from(STRANGE), st.booleans())
@settings(max_examples=300)
def test_what_can_be_read_can_be_written_and_compared(place: tuple[Any, ...], value: Any, drop: bool) -> None:
    """No value of another type, no number that isn't finite, and no text that can't be printed comes through."""
    try:
        record = decode_whole_record(json.dumps(changed(place, value, drop)).encode())
    except (CorruptRecord, UnreadableSchema) as error:
        assert len(str(error)) < 300 and "\n" not in str(error)
        return
    assert decode_record(encode_record(record)) == record


WRONG: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "measures": (("measures",), [], "measures should be"),
    "measure": (("measures", "test_accuracy"), "0.5", r"measures\.test_accuracy should be"),
    "selector": (("measures", "selector", "auroc"), [], r"measures\.selector\.auroc should be"),
    "samples": (("measures", "samples", "test"), "many", r"measures\.samples\.test should be"),
    "curve": (("curves", "test_accuracy", 1), {}, r"curves\.test_accuracy\.1 should be"),
    "large": (("measures", "test_accuracy"), 10**400, r"measures\.test_accuracy"),
    "NaN": (("spec", "rate"), float("nan"), "broken JSON"),
    "half a letter": (("measures", "noise_caption"), "\ud800", "broken JSON"),
    "seconds": (("provenance", "seconds"), 2, r"provenance\.seconds should be"),
    "epochs": (("spec", "epochs"), "ten", r"spec\.epochs should be"),
    "further key": (("measures", "new"), float("inf"), "broken JSON"),
}


@pytest.mark.parametrize("how", WRONG)
def test_content_of_another_type_is_set_aside_by_name(how: str, tmp_path: Path) -> None:
    place, value, reason = WRONG[how]
    record = changed(place, value)
    store = Store(tmp_path)
    path = store.write_record(GOOD)
    (tmp_path / record["run_id"]).mkdir(exist_ok=True)
    path = path.rename(tmp_path / record["run_id"] / "record.json")
    path.write_text(json.dumps(record))
    assert store.read(record["run_id"]) is None and path.with_name("record.corrupt-1.json").exists()
    with pytest.raises(CorruptRecord, match=reason):
        decode_record(json.dumps(record).encode())


@pytest.mark.parametrize("name", ["method", "noise", "epochs", "data_set", "gradient_clip", "learning_rate"])
def test_a_spec_without_a_field_is_set_aside(name: str) -> None:
    with pytest.raises(CorruptRecord, match=f"no spec.{name}"):
        decode_whole_record(json.dumps(changed(("spec", name), drop=True)).encode())


def test_records_without_a_hash_are_read_and_a_kept_content_may_be_written_otherwise() -> None:
    assert decode_record(json.dumps(GOOD).encode()) == GOOD
    sealed = json.loads(LINE)
    assert decode_record(json.dumps(sealed, indent=2).encode()) == GOOD
    sealed["measures"]["test_accuracy"] = 0.9
    for text in (json.dumps(sealed), json.dumps(sealed, separators=(",", ":"))):
        with pytest.raises(CorruptRecord, match="sha256"):
            decode_record(text.encode())


@pytest.mark.parametrize(("kind", "key", "value"), [("failure", "reason", 3), ("partial", "total_epochs", 0)])
def test_failures_and_partial_curves_are_checked_too(kind: Any, key: str, value: Any) -> None:
    header = {name: GOOD[name] for name in ("schema", "run_id", "spec")}
    files: dict[str, dict[str, Any]] = {
        "failure": header | {"reason": "why", "epoch": 2},
        "partial": header | {"curves": {"epoch": [1, 2]}, "total_epochs": 3},
    }
    assert decode_record(encode_record(files[kind]), kind) == files[kind]
    with pytest.raises(CorruptRecord, match=key):
        decode_record(encode_record(files[kind] | {key: value}), kind)
    with pytest.raises(CorruptRecord, match="no curves"):
        decode_record(encode_record(header | {"total_epochs": 3}), "partial")


def test_a_record_of_another_type_stops_no_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, boards = tmp_path / "o", tmp_path / "b"
    for record in (GOOD, OTHER):
        Store(out).write_record(record)
    path = out / GOOD["run_id"] / "record.json"
    path.write_text(json.dumps(GOOD | {"measures": []}))
    assert main(["report", "--out", str(out), "--boards", str(boards)]) == 0
    assert "set aside" in capsys.readouterr().err
    path.write_text(json.dumps(GOOD | {"measures": []}))
    assert main(["show", "run", GOOD["run_id"], "--out", str(out)]) == 2
    assert "record.corrupt-2.json" in capsys.readouterr().err


def test_contradicting_lines_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = changed(("measures", "test_accuracy"), 0.99)
    lines = [encode_record(record) for record in (GOOD, wrong, OTHER, OTHER)]
    (tmp_path / "two.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "a.jsonl").write_bytes(lines[0])
    (tmp_path / "b.jsonl").write_bytes(lines[1])
    assert main(["merge", str(tmp_path / "two.jsonl"), "--out", str(tmp_path / "m")]) == 1
    assert "measures.test_accuracy: 0.5 kept, 0.99 in" in capsys.readouterr().out
    for records in ([tmp_path / "two.jsonl"], [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]):
        assert main(["report", "--boards", str(tmp_path / "x"), "--records", *map(str, records)]) == 0
        assert "1 records contradict" in (said := capsys.readouterr().err) and "0.5 and 0.99" in said


def test_an_export_leaves_out_what_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for record in (OTHER, changed(("spec", "method"), "m" * 3000)):
        Store(tmp_path / "o").write_record(record)
    options = ["--boards", str(tmp_path / "b"), "--export", str(tmp_path / "e")]
    assert main(["report", "--out", str(tmp_path / "o"), *options]) == 0
    assert "1 runs are left out of the export" in capsys.readouterr().err
    (file,) = (tmp_path / "e").iterdir()
    (line,) = file.read_bytes().splitlines()
    assert b'"sha256"' in line and schema.decode_record(line)["run_id"] == OTHER["run_id"]


def test_the_stores_of_benchmarks_can_be_read(tmp_path: Path) -> None:
    spec = RunSpec(**GOOD["spec"])
    assert [record["run_id"] for record in fill(tmp_path, [spec]).records()] == [spec.run_id]
