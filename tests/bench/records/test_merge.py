"""Merging: nothing lost, nothing overwritten, and the same store in whatever order it is done."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.execution.worker import load_file
from bench.records.compact import compact_record, write_jsonl
from bench.records.merge import (
    MergeSource,
    MergeTally,
    is_part_of,
    merge_sources,
    open_merge_sources,
    record_differences,
)
from bench.records.schema import SCHEMA, encode_record
from bench.records.store import Store
from bench.spec import RunSpec
from bench.system.errors import UsageError

Record = dict[str, Any]
fake = load_file(Path(__file__).parents[1] / "fake_records.py")
RUNS = fake.several("ce", [0.1, 0.2, 0.3])
SHORT = [compact_record(record) for record in RUNS]


def elsewhere(record: Record) -> Record:
    """The same run by another machine."""
    return record | {"provenance": record["provenance"] | {"host": "elsewhere", "device": "another processor"}}


def changed(record: Record, **measures: Any) -> Record:
    """A record that says something else."""
    other = copy.deepcopy(record)
    other["measures"] |= measures
    return other


def fill(folder: Path, records: Sequence[Record]) -> str:
    for record in records:
        Store(folder).write_record(record)
    return str(folder)


def fill_file(path: Path, records: Sequence[Record]) -> str:
    write_jsonl(path, records)
    return str(path)


def join(out: Path, *names: str, dry_run: bool = False) -> list[MergeTally]:
    return merge_sources([MergeSource(name) for name in names], Store(out), dry_run)


def content(out: Path) -> dict[str, Any]:
    """What a store says, its provenance aside."""
    return {
        record["run_id"]: {name: value for name, value in record.items() if name != "provenance"}
        for record in Store(out).records()
    }


def test_every_record_of_every_source_is_there_once(tmp_path: Path) -> None:
    first, second = fill(tmp_path / "a", RUNS[:2]), fill(tmp_path / "b", RUNS[1:])
    tallies = join(tmp_path / "out", first, second)
    assert [(tally.new, tally.same, tally.complete) for tally in tallies] == [(2, 0, True), (1, 1, True)]
    assert list(Store(tmp_path / "out").records()) == sorted(RUNS, key=lambda record: record["run_id"])
    assert content(tmp_path / "a").keys() == {record["run_id"] for record in RUNS[:2]}


versions = st.sampled_from([lambda number: RUNS[number], lambda number: elsewhere(RUNS[number]), SHORT.__getitem__])
stores = st.lists(st.dictionaries(st.integers(0, 2), versions, max_size=3), min_size=1, max_size=4)


@settings(max_examples=25)  # each writes some twenty files, and waits for the disk
@given(stores, st.randoms(use_true_random=False))
def test_merging_is_idempotent_and_knows_no_order(found: list[dict[int, Any]], chance: Any) -> None:
    with TemporaryDirectory() as folder:
        names = [
            fill_file(Path(folder) / f"{number}.jsonl", [version(run) for run, version in runs.items()])
            for number, runs in enumerate(found)
        ]
        join(Path(folder) / "out", *names)
        there = content(Path(folder) / "out")
        full = {number for runs in found for number, version in runs.items() if version(number) != SHORT[number]}
        short = {number for runs in found for number in runs} - full
        assert there.keys() == {RUNS[number]["run_id"] for number in full | short}
        for number in full:
            assert there[RUNS[number]["run_id"]]["curves"] == RUNS[number]["curves"]
        again = join(Path(folder) / "out", *names)
        assert all(tally.complete and tally.new == tally.fuller == 0 for tally in again)
        assert content(Path(folder) / "out") == there
        join(Path(folder) / "other", *chance.sample(names, len(names)))
        assert content(Path(folder) / "other") == there


@given(st.integers(0, 2), st.sampled_from(["test_accuracy", "memorised", "realised_rate"]), st.floats(0, 1))
def test_a_changed_measure_is_no_part(number: int, name: str, value: float) -> None:
    record = RUNS[number]
    other = changed(record, **{name: value})
    same = other["measures"] == record["measures"]
    assert is_part_of(other, record) == is_part_of(record, other) == same
    assert [each.path for each in record_differences(record, other)] == ([] if same else [f"measures.{name}"])


def test_a_short_record_is_part_of_its_whole_and_of_no_other() -> None:
    for whole, short in zip(RUNS, SHORT, strict=True):
        assert is_part_of(short, whole) and not is_part_of(whole, short)
        assert is_part_of(compact_record(elsewhere(whole)), whole)
        assert not is_part_of(short, changed(whole, test_accuracy=0.9))
        assert is_part_of(short, short)
    assert not is_part_of(SHORT[0], RUNS[1])
    moved = copy.deepcopy(RUNS[0])
    moved["curves"]["test_accuracy"] = moved["curves"]["test_accuracy"][::-1]
    assert not is_part_of(SHORT[0], moved)


def test_a_record_that_measured_less_is_part_of_one_that_measured_more(tmp_path: Path) -> None:
    older = changed(RUNS[0])
    del older["measures"]["worst_class_accuracy"], older["curves"]["learnt"]
    assert is_part_of(older, RUNS[0]) and not is_part_of(RUNS[0], older)
    assert [each.path for each in record_differences(RUNS[0], older)] == [
        "curves.learnt",
        "measures.worst_class_accuracy",
    ]
    (tally,) = join(Path(fill(tmp_path / "out", [older])), fill(tmp_path / "a", RUNS[:1]))
    assert (tally.new, tally.fuller, tally.same) == (0, 1, 0)
    assert Store(tmp_path / "out").read(RUNS[0]["run_id"]) == RUNS[0]


def test_a_contradiction_is_reported_and_the_store_keeps_what_it_has(tmp_path: Path) -> None:
    other = changed(RUNS[0], test_accuracy=0.9)
    other["curves"]["test_accuracy"][3] = 0.123
    tallies = join(tmp_path / "out", fill(tmp_path / "a", RUNS[:2]), fill(tmp_path / "b", [other, RUNS[2]]))
    assert [tally.complete for tally in tallies] == [True, False] and tallies[1].new == 1
    (conflict,) = tallies[1].conflicts
    assert {each.path: (each.kept, each.refused) for each in conflict.differences} == {
        "curves.test_accuracy[3]": ((RUNS[0]["curves"]["test_accuracy"][3],), (0.123,)),
        "measures.test_accuracy": ((0.1,), (0.9,)),
    }
    assert Store(tmp_path / "out").read(RUNS[0]["run_id"]) == RUNS[0]


def test_a_failure_is_copied_where_there_is_no_record(tmp_path: Path) -> None:
    failed, finished, both = (RunSpec.model_validate(record["spec"]) for record in RUNS)
    a, b, out = Store(tmp_path / "a"), Store(tmp_path / "b"), Store(tmp_path / "out")
    for spec in (failed, finished, both):
        a.write_failure(spec, "of a")
    b.write_record(RUNS[1])
    b.write_failure(both, "of b")
    for names in (("a", "b"), ("b", "a")):
        join(out.root, *(str(tmp_path / name) for name in names))
        assert out.finished() == {finished.run_id} and out.failed() == {failed.run_id, both.run_id}
    reasons = {failure["run_id"]: failure["reason"] for failure in out.failures()}
    assert reasons == {failed.run_id: "of a", both.run_id: "of a"}


def test_checkpoints_stay_behind_and_one_of_a_finished_run_goes(tmp_path: Path) -> None:
    a, out = Store(tmp_path / "a"), Store(tmp_path / "out")
    a.write_record(RUNS[0])
    for store, record in ((a, RUNS[1]), (out, RUNS[0])):
        store.folder(record["run_id"]).mkdir(parents=True)
        store.checkpoint_path(record["run_id"]).write_bytes(b"state")
    join(out.root, str(a.root))
    assert [path.name for path in sorted(out.root.glob("*/*"))] == ["record.json"]
    assert a.checkpoint_path(RUNS[1]["run_id"]).exists()


def test_old_schemas_are_migrated_and_unknown_ones_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, schema in enumerate([SCHEMA, SCHEMA + 1, SCHEMA + 2]):
        folder = tmp_path / "a" / RUNS[number]["run_id"]
        folder.mkdir(parents=True)
        (folder / "record.json").write_bytes(encode_record(RUNS[number] | {"schema": schema}))
    monkeypatch.setattr("bench.records.schema.SCHEMA", SCHEMA + 1)
    monkeypatch.setattr("bench.records.schema.SCHEMA", SCHEMA + 1)
    monkeypatch.setattr("bench.records.schema.MIGRATIONS", {SCHEMA: lambda record: record | {"migrated": True}})
    (tally,) = join(tmp_path / "out", str(tmp_path / "a"))
    assert tally.new == 2 and not tally.complete and "newer" in str(tally.unreadable[0])
    there = {record["run_id"]: record for record in Store(tmp_path / "out").records()}
    assert there[RUNS[0]["run_id"]]["migrated"] and there[RUNS[0]["run_id"]]["schema"] == SCHEMA + 1


def test_corrupt_records_of_a_source_are_reported_and_left_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "a", RUNS)
    broken = tmp_path / "a" / RUNS[0]["run_id"] / "record.json"
    broken.write_bytes(broken.read_bytes()[:99])
    before = sorted(path for path in (tmp_path / "a").rglob("*"))
    (tally,) = join(tmp_path / "out", str(tmp_path / "a"))
    assert tally.new == 2 and not tally.complete and "broken JSON" in str(tally.unreadable[0])
    assert sorted(path for path in (tmp_path / "a").rglob("*")) == before


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    names = fill(tmp_path / "a", RUNS[:2]), fill(tmp_path / "b", [changed(RUNS[0], test_accuracy=0.9), RUNS[1]])
    Store(tmp_path / "a").write_failure(RunSpec.model_validate(RUNS[2]["spec"]), "as told")
    dry = join(tmp_path / "out", *names, dry_run=True)
    assert not (tmp_path / "out").exists()
    assert join(tmp_path / "out", *names) == dry
    assert (dry[0].new, dry[0].failures, dry[1].same, len(dry[1].conflicts)) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("names", "match"),
    [(["nowhere"], "there is no such folder"), (["empty"], "nothing to merge"), (["out"], "nothing to merge")],
)
def test_what_is_no_source_is_refused(names: list[str], match: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "out", RUNS)
    with pytest.raises(UsageError, match=match):
        open_merge_sources([str(tmp_path / name) for name in names], tmp_path / "out", lambda text: None)


def test_the_store_itself_among_its_sources_is_left_out(tmp_path: Path) -> None:
    notes: list[str] = []
    names = [fill(tmp_path / "out", RUNS[:1]), fill(tmp_path / "a", RUNS[1:]), str(tmp_path / "a/../a")]
    (source,) = open_merge_sources(names, tmp_path / "out", notes.append)
    assert source.name == names[1] and "is the store itself" in notes[0]


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    home = str(Path(__file__).resolve().parents[3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "bench", "merge", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_command_as_typed(tmp_path: Path) -> None:
    fill(tmp_path / "machine-1", RUNS[:2])
    fill(tmp_path / "machine-2", [changed(elsewhere(RUNS[1]), test_accuracy=0.9), RUNS[2]])
    fill_file(tmp_path / "old.jsonl", SHORT)
    done = typed(tmp_path, "machine-1", "old.jsonl", "--out", "all")
    assert done.returncode == 0 and "3 records and 0 failures copied to all" in done.stdout
    assert "python -m bench report --out all" in done.stderr
    done = typed(tmp_path, "machine-2", "--out", "all")
    assert done.returncode == 1 and "1 records" in done.stdout
    assert f"conflict: {RUNS[1]['run_id']} (ce, digits, sym 0.4, seed 1): all is kept" in done.stdout
    assert "  measures.test_accuracy: 0.2 kept, 0.9 in machine-2" in done.stdout
    assert "refused: revision 0123456789, torch 2.11.0, another processor, 1 threads, elsewhere" in done.stdout
    done = typed(tmp_path, "machine-1", "machine-2", "--out", "all", "--format", "json", "--dry-run")
    found = json.loads(done.stdout)
    assert done.returncode == 1 and found["dry_run"]
    assert [(each["same"], each["conflicts"]) for each in found["sources"]] == [(2, 0), (1, 1)]
    (conflict,) = found["conflicts"]
    assert conflict["differences"] == [{"path": "measures.test_accuracy", "kept": 0.2, "refused": 0.9}]


def test_mistakes_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "a", RUNS[:1])
    (tmp_path / "half.jsonl").write_bytes(encode_record(SHORT[0]) + encode_record(SHORT[1])[:80])
    (tmp_path / "file").write_text("")
    wrong = {
        "merge": "merge what? Type, for instance",
        "merge nowhere --out all": "nowhere: there is no such folder",
        "merge a half.jsonl --out all": "half.jsonl, line 2: broken JSON",
        "merge a --out file": "--out file",
    }
    for line, message in wrong.items():
        assert main(line.split()) == 2, line
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.startswith("error: ")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "half.jsonl", "file"}


def test_one_run_of_many_conflicts_is_named_with_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "a", fake.several("ce", [0.1] * 12))
    fill(tmp_path / "b", [fake.make("ce", seed, 0.7, {"memorised": 0.5}) for seed in range(12)])
    assert main(["merge", "b", "--out", "a"]) == 1
    out = capsys.readouterr().out
    assert out.count("conflict: ") == 10 and "... and 2 more conflicts" in out
    assert "... and 1 more\n" in out
