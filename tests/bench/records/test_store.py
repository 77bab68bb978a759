"""The store loses nothing that was finished, and says what it can't read."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.execution.worker import load_file
from bench.records import schema
from bench.records.content import MeasureContent
from bench.records.schema import SCHEMA
from bench.records.store import Store
from bench.system.errors import UsageError
from bench.system.files import write_atomically

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_runners.py")


def files(root: Path) -> list[str]:
    """Every file under `root`, relative, sorted."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store, spec = Store(tmp_path / "runs"), fake.spec_for(q=0.7, flag=True, word="a")
    record = fake.record_of(spec)
    assert not store.has(spec.run_id) and store.read(spec.run_id) is None
    path = store.write_record(record)
    assert path == tmp_path / "runs" / spec.run_id / "record.json"
    assert store.has(spec.run_id)
    assert store.read(spec.run_id) == record
    assert list(store.records()) == [record]
    assert files(store.root) == [f"{spec.run_id}/record.json"]


def test_what_is_not_a_number_becomes_null_and_numpy_plain(tmp_path: Path) -> None:
    store, record = Store(tmp_path), fake.record_of(fake.spec_for())
    record["measures"] = {
        "a": float("nan"),
        "b": np.float32("inf"),
        "c": np.arange(2),
        "d": (np.int64(3), np.bool_(True)),
    }
    text = store.write_record(record).read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert store.read(record["run_id"])["measures"] == {"a": None, "b": None, "c": [0, 1], "d": [3, True]}


def test_a_record_of_another_spec_is_refused(tmp_path: Path) -> None:
    record = fake.record_of(fake.spec_for()) | {"run_id": "0" * 16}
    with pytest.raises(ValueError, match="isn't its spec's"):
        Store(tmp_path).write_record(record)
    assert files(tmp_path) == []


def test_a_failure_is_no_result_and_goes_with_the_first(tmp_path: Path) -> None:
    store, spec = Store(tmp_path), fake.spec_for()
    store.write_failure(spec, "the loss is nan", epoch=3, traceback="Traceback ...", provenance={"host": "here"})
    assert not store.has(spec.run_id) and store.has_failed(spec.run_id)
    (failure,) = store.failures()
    assert (failure["reason"], failure["epoch"], failure["run_id"]) == ("the loss is nan", 3, spec.run_id)
    assert store.finished() == set() and store.failed() == {spec.run_id} and list(store.records()) == []
    store.write_record(fake.record_of(spec))
    assert list(store.failures()) == [] and store.failed() == set()
    assert files(tmp_path) == [f"{spec.run_id}/record.json"]


BROKEN: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "cut off": lambda record: json.dumps(record).encode()[:-9],
    "empty": lambda record: b"",
    "zeros": lambda record: bytes(100),
    "not UTF-8": lambda record: b"\xff\xfe\x00",
    "deep": lambda record: b"[" * 100_000,
    "a list": lambda record: b"[]",
    "no schema": lambda record: json.dumps({k: v for k, v in record.items() if k != "schema"}).encode(),
    "no measures": lambda record: json.dumps({k: v for k, v in record.items() if k != "measures"}).encode(),
    "no spec": lambda record: json.dumps({k: v for k, v in record.items() if k != "spec"}).encode(),
    "a wrong id": lambda record: json.dumps(record | {"run_id": "0" * 16}).encode(),
    "a changed spec": lambda record: json.dumps(record | {"spec": record["spec"] | {"epochs": 99}}).encode(),
    "another run's": lambda record: json.dumps(fake.record_of(fake.spec_for(seed=7))).encode(),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_corrupt_record_is_set_aside_and_reported(how: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    store, good, bad = Store(tmp_path, seen.append), fake.spec_for(1), fake.spec_for(2)
    store.write_record(fake.record_of(good))
    path = store.write_record(fake.record_of(bad))
    data = BROKEN[how](fake.record_of(bad))
    path.write_bytes(data)
    assert [record["run_id"] for record in store.records()] == [good.run_id]
    aside = path.with_name("record.corrupt-1.json")
    assert aside.read_bytes() == data and not path.exists()
    assert [problem.path for problem in store.problems] == [aside] and seen == store.problems
    assert not store.has(bad.run_id)
    path.write_bytes(data)
    assert store.read(bad.run_id) is None
    assert path.with_name("record.corrupt-2.json").exists() and aside.exists()


def test_a_record_of_a_later_release_is_reported_and_left(tmp_path: Path) -> None:
    store, spec = Store(tmp_path), fake.spec_for()
    path = store.write_record(fake.record_of(spec))
    path.write_text(json.dumps(fake.record_of(spec) | {"schema": SCHEMA + 1, "measures": "of another kind"}))
    before = path.read_bytes()
    assert list(store.records()) == [] and list(store.records()) == []
    assert path.read_bytes() == before and store.has(spec.run_id)
    assert len(store.problems) == 1 and "update lnl-bench" in str(store.problems[0])


def test_a_record_older_than_any_migration_is_reported_and_left(tmp_path: Path) -> None:
    store, spec = Store(tmp_path), fake.spec_for()
    path = store.write_record(fake.record_of(spec))
    path.write_text(json.dumps(fake.record_of(spec) | {"schema": -1}))
    assert store.read(spec.run_id) is None and path.exists()
    assert "older" in str(store.problems[0])


def rename_accuracy(record: dict[str, Any]) -> dict[str, Any]:
    measures = {f"{key}_of_old": value for key, value in record["measures"].items()}
    return record | {"measures": measures}


def test_an_old_record_is_migrated_when_read_and_not_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spec = Store(tmp_path), fake.spec_for()
    path = store.write_record(fake.record_of(spec))
    before = path.read_bytes()
    monkeypatch.setattr(schema, "SCHEMA", SCHEMA + 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {SCHEMA: rename_accuracy, SCHEMA + 1: lambda record: record | {"new": 1}})
    record = store.read(spec.run_id)
    assert record["schema"] == SCHEMA + 2 and record["new"] == 1
    assert record["measures"]["test_accuracy_of_old"] == 0.5
    assert path.read_bytes() == before and store.problems == []


def test_every_schema_ever_written_can_be_read() -> None:
    """A record as the first release wrote it; it stays here when the schema moves on."""
    old = {
        "schema": 1,
        "run_id": "f832b6ec101882c0",
        "spec": {"method": "ce", "epochs": 2, "rate": 0.4, "parameters": {"q": 1.0}},
        "curves": {"epoch": [1, 2], "test_accuracy": [0.25, None]},
        "measures": {"test_accuracy": 0.25},
        "provenance": {"seconds": {"train": 1.5}},
    }
    record = schema.decode_record(json.dumps(old).encode())
    assert record["schema"] == schema.SCHEMA
    assert record["measures"]["test_accuracy"] == 0.25


def failing_call(monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> list[int]:
    """Let the `at`-th call of os.<name> raise ENOSPC; returns a list that grows with the calls."""
    calls: list[int] = []
    real = getattr(os, name)

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(len(calls))
        if len(calls) - 1 == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, call)
    return calls


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace", "close"])
def test_a_full_disk_at_any_call_loses_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, done, spec = Store(tmp_path), fake.spec_for(1), fake.spec_for(2)
    store.write_record(fake.record_of(done))
    store.write_failure(spec, "earlier")
    path, tried = store.folder(spec.run_id) / "record.json", 0
    for at in range(20):
        with monkeypatch.context() as patch:
            calls = failing_call(patch, name, at)
            try:
                store.write_record(fake.record_of(spec))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                assert not path.exists() and store.has_failed(spec.run_id)
                assert files(store.folder(spec.run_id)) == ["failure.json"]
            else:
                assert store.read(spec.run_id) == fake.record_of(spec)
        assert store.read(done.run_id) == fake.record_of(done)
        assert store.problems == []
        if len(calls) <= at:
            break
        tried += 1
        path.unlink(missing_ok=True)
        store.write_failure(spec, "earlier")
    assert tried >= 1, f"os.{name} was never called"


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        failing_call(patch, name, 0)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and files(tmp_path) == ["file"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data)[:7]))
    write_atomically(tmp_path / "file", b"x" * 100)
    assert (tmp_path / "file").read_bytes() == b"x" * 100


LIMITED = """
import json, resource, sys
from pathlib import Path
from bench.execution.worker import load_file
from bench.records.store import Store
fake = load_file(Path(sys.argv[1]))
store = Store(Path(sys.argv[2]))
store.write_record(fake.record_of(fake.spec_for(1)))
big = fake.record_of(fake.spec_for(2), {"long": "x" * 100_000})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.write_record(big)
except OSError as error:
    sys.exit(f"refused: {error.errno}")
"""


def test_a_file_size_limit_loses_nothing(tmp_path: Path) -> None:
    helper = Path(__file__).parents[1] / "fake_runners.py"
    done = subprocess.run([sys.executable, "-c", LIMITED, helper, tmp_path], capture_output=True, text=True)
    assert done.stderr.strip() == f"refused: {errno.EFBIG}", done.stderr
    store = Store(tmp_path)
    assert [record["run_id"] for record in store.records()] == [fake.spec_for(1).run_id]
    assert files(tmp_path) == [f"{fake.spec_for(1).run_id}/record.json"] and store.problems == []


def test_a_read_only_folder_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The superuser may write anywhere, so the system's answer is put in its mouth.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="read-only") as refused:
        Store(tmp_path / "a" / "b").prepare()
    assert "--out" in str(refused.value) and len(str(refused.value).splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_only_fails_when_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_call(monkeypatch, "mkdir", 0)
    with pytest.raises(UsageError, match="No space left"):
        Store(tmp_path / "runs").prepare()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    for root in (tmp_path / "runs", tmp_path / "runs" / "deeper"):
        with pytest.raises(UsageError, match="is a file"):
            Store(root).check_writable()


def test_a_missing_folder_holds_nothing_and_stays_missing(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.check_writable()
    assert list(store.records()) == [] and list(store.failures()) == [] and store.finished(["0" * 16]) == set()
    assert list(tmp_path.iterdir()) == []


def test_strangers_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "record.json").write_text("{}")
    (tmp_path / "0123456789abcdef").write_text("a file with a run's name")
    store = Store(tmp_path)
    assert list(store.records()) == [] and store.problems == [] and store.finished() == set()


# names that are known have types of their own, and Hypothesis finds such names in the code
UNKNOWN_NAMES = st.text(max_size=5).filter(lambda name: name not in MeasureContent.model_fields)


@given(st.dictionaries(UNKNOWN_NAMES, st.floats() | st.none() | st.booleans() | st.text(max_size=3), max_size=5))
def test_whatever_is_measured_can_be_written_and_read(measures: dict[str, Any]) -> None:
    record = fake.record_of(fake.spec_for()) | {"measures": measures}
    back = schema.decode_record(schema.encode_record(record))
    assert set(back["measures"]) == set(measures)
    assert schema.encode_record(back) == schema.encode_record(record)


def test_the_store_needs_no_torch() -> None:
    code = (
        "import sys, bench.records.store, bench.execution.study;"
        "print(sorted({'torch', 'pandas', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_checkpoint_that_cannot_be_removed_is_no_failure(tmp_path: Path) -> None:
    store, spec = Store(tmp_path), fake.spec_for()
    store.write_record(fake.record_of(spec))
    (store.checkpoint_path(spec.run_id) / "inside").mkdir(parents=True)
    store.discard_checkpoint(spec.run_id)
    assert store.has(spec.run_id) and not store.has_failed(spec.run_id)
