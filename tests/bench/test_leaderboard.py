"""Boards of synthetic records: what ranks, what doesn't, and what stands under a table."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import leaderboard
from bench.errors import UsageError
from bench.leaderboard import Report, Row, Table
from bench.leaderboard.files import file_names
from bench.leaderboard.settings import setting_of
from bench.spec import RunSpec
from bench.store import write_jsonl

Record = dict[str, Any]
BASE: dict[str, Any] = {"noise": "sym", "rate": 0.4, "model": "cnn-small", "epochs": 2, "batch_size": 64}
CHANGES: dict[str, Any] = {
    "identity": 2,
    "protocol": "paper",
    "data_sha256": "other",
    "train_size": 100,
    "imbalance": 0.1,
    "image_size": 16,
    "noise": "asym",
    "rate": 0.2,
    "draw": "multinomial",
    "noise_sha256": "f" * 64,
    "model": "cnn4",
    "weights_sha256": "e" * 64,
    "augmentation": "crop4+flip",
    "strong_augmentation": "crop4",
    "epochs": 3,
    "batch_size": 32,
    "optimizer": "adam",
    "momentum": 0.8,
    "nesterov": True,
    "schedule": "constant",
    "gradient_clip": None,
    "hold_out": 0.2,
    "precision": "bf16",
    "world_size": 2,
}


def make(method: str, seed: int, accuracy: float | None, measures: dict[str, Any] | None = None, **spec: Any) -> Record:
    """A record as a run writes it; `measures` replaces what it measured, the rest its spec."""
    fields = {"data_set": "digits", "data_sha256": "d" * 64, "learning_rate": 0.05, **BASE, **spec}
    whole = RunSpec(method=method, **{"seed": seed, "split_seed": seed, "noise_seed": seed, **fields})
    name = f"{method} {sorted(whole.parameters.items())} {seed} {accuracy}"
    return {
        "schema": 1,
        "run_id": whole.run_id,
        "spec": whole.model_dump(mode="json"),
        "curves": {"epoch": [1, 2], "train_loss": [1.0, float(len(name))], "test_accuracy": [0.1, name]},
        "measures": {
            "test_accuracy": accuracy,
            "best_test_accuracy": None if accuracy is None else min(1.0, accuracy + 0.1),
            "holdout_test_accuracy": None if accuracy is None else min(1.0, accuracy + 0.05),
            "last10_test_accuracy": accuracy,
            "worst_class_accuracy": 0.25,
            "memorised": 0.125,
            "learnt": 0.75,
            "corrected": None,
            "selector": {"source": "loss", "auroc": 0.875, "average_precision": 0.5, "precision": None, "recall": None},
            "networks": 1,
            "units_per_sample_epoch": 3.0,
            "labels_sha256": f"{whole.noise_seed:064x}",
            "realised_rate": 0.4,
            "noise_caption": "0.4 in all 10 classes, 0.40 overall",
            "samples": {"train": 1260, "holdout": 140, "test": 397},
            "classes": 10,
            "assumes": [],
            "control": False,
            **(measures or {}),
        },
        "provenance": {"seconds": {"train": 1.5, "total": 2.0}, "device": "cpu", "threads": 1},
    }


def several(method: str, accuracies: Sequence[float | None], **spec: Any) -> list[Record]:
    return [make(method, seed, accuracy, **spec) for seed, accuracy in enumerate(accuracies)]


def only_table(report: Report) -> Table:
    (board,) = report.boards
    (table,) = board.tables
    return table


def by_label(table: Table) -> dict[str, Row]:
    return {row.label: row for row in table.rows}


def failure(record: Record, reason: str = "the loss isn't finite", epoch: int | None = 2) -> Record:
    return {"schema": 1, "run_id": record["run_id"], "spec": record["spec"], "reason": reason, "epoch": epoch}


FIVE = (0.80, 0.82, 0.84, 0.86, 0.88)
LOWER = tuple(value - 0.1 - 0.001 * place for place, value in enumerate(FIVE))


def small_board() -> list[Record]:
    """A leader, a row that can't be told from it, a clearly worse one, a control, and one that was told more."""
    return [
        *several("gce", FIVE, parameters={"q": 0.7}),
        *several("sce", [value + (0.01 if n % 2 else -0.011) for n, value in enumerate(FIVE)]),
        *several("ce", LOWER),
        *several("ce-ema", [value - 0.02 for value in LOWER], measures={"control": True}),
        *several("forward", [value + 0.05 for value in FIVE], privileges=("transition_matrix",)),
    ]


# Ranks ---------------------------------------------------------------------------------------------------------------


def test_the_small_board_reads_as_it_should(tmp_path: Path) -> None:
    (path,) = leaderboard.write(leaderboard.build(small_board()), tmp_path)
    assert path.name == "digits.md"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in path.read_text().splitlines()
        if re.match(r"\|\s+(\d|–|ce|forward)", line)
    ]
    assert [row[:4] for row in rows[:5]] == [
        ["1", "**gce [q=0.7]**", "**84.0 ± 3.2**", "[80.1, 87.9]"],
        ["2", "**sce**", "**83.7 ± 3.4**", "[79.6, 87.9]"],
        ["–", "ce @ noisy hold-out epoch (control)", "78.8 ± 3.0", "[75.1, 82.5]"],
        ["3", "ce", "73.8 ± 3.0", "[70.1, 77.5]"],
        ["4", "ce-ema (control)", "71.8 ± 3.0", "[68.1, 75.5]"],
    ]
    assert rows[5][:3] == ["forward", "89.0 ± 3.2", "[85.1, 92.9]"]
    gce = rows[0]
    # n, to leader, best on test, gap, memorised, learnt, worst class, AUROC, nets / units, seconds, told, assumes
    assert gce[4:] == ["5", "leader", "94.0", "10.0", "12.5", "75.0", "25.0", "87.5", "1 / 3", "2.0", "–", "–"]
    assert rows[5][-2:] == ["transition matrix", "–"]
    text = path.read_text()
    assert "**2 rows may be the best**, of 4 ranked ones over 5 replicates" in text
    assert "## sym 0.4 · shared-lr" in text
    assert "nominal rate 0.4, realised rate 0.4" in text
    assert "Labels (SHA-256, by noise seed): 0 `000000000000`, 1 `000000000000`" in text
    assert text.count("## How to read this") == 1


@given(st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_the_order_of_records_changes_nothing(shuffler: random.Random) -> None:
    records = small_board()
    expected = leaderboard.build(records)
    shuffler.shuffle(records)
    found = leaderboard.build([*records, records[0]])
    assert leaderboard.as_markdown(found) == leaderboard.as_markdown(expected)
    assert leaderboard.as_json(found) == leaderboard.as_json(expected)


def test_equal_means_share_a_rank() -> None:
    table = only_table(leaderboard.build([*several("a", FIVE), *several("b", FIVE[::-1]), *several("c", LOWER)]))
    assert {label: row.rank for label, row in by_label(table).items()} == {"a": 1, "b": 1, "c": 3}
    assert "1=" in leaderboard.as_markdown(leaderboard.build([*several("a", FIVE), *several("b", FIVE[::-1])]))


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.booleans(), st.integers(0, 9)), min_size=1))
@settings(max_examples=30)
def test_only_plain_rows_have_a_rank(methods: dict[str, tuple[bool, int]]) -> None:
    records = [
        record
        for name, (told, tenths) in methods.items()
        for record in several(name, [tenths / 10] * 5, privileges=("noise_rate",) if told else ())
    ]
    rows = only_table(leaderboard.build(records)).rows
    assert {row.label for row in rows if row.rank is not None} == {
        name for name, (told, _) in methods.items() if not told
    }
    assert not any(row.may_be_best for row in rows if row.needs)
    ranked = [row.accuracy.mean for row in rows if row.rank is not None and row.accuracy]
    assert ranked == sorted(ranked, reverse=True)


def test_fewer_than_five_replicates_are_never_bold() -> None:
    report = leaderboard.build([*several("a", FIVE[:4]), *several("b", LOWER[:4])])
    assert only_table(report).best_set is None
    text = leaderboard.as_markdown(report)
    assert "Fewer than 5 replicates: no bold" in text
    assert not re.search(r"\|\s*\*\*", text)


@pytest.mark.parametrize(("select", "shift"), [("last", 0), ("last10", 0), ("holdout", 0.05), ("best-test", 0.1)])
def test_each_rule_takes_its_own_accuracy(select: str, shift: float) -> None:
    report = leaderboard.build(several("gce", FIVE), select=select)
    (row,) = only_table(report).rows
    assert row.accuracy is not None and row.accuracy.mean == pytest.approx(0.84 + shift)
    assert row.gap == pytest.approx(0.1 - shift)
    assert ("oracle:" in leaderboard.as_markdown(report)) == (select == "best-test")
    assert leaderboard.as_json(report)["select"] == select


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="holdout"):
        leaderboard.build([], select="hold-out")


def test_the_early_stopped_control_is_read_off_ce_and_has_no_rank() -> None:
    rows = by_label(only_table(leaderboard.build(small_board())))
    control = rows["ce @ noisy hold-out epoch"]
    assert control.control and control.derived and control.rank is None
    assert control.accuracy is not None and control.accuracy.mean == pytest.approx(rows["ce"].accuracy.mean + 0.05)
    assert control.means["memorised"] is None
    without = several("ce", LOWER, measures={"holdout_test_accuracy": None})
    assert list(by_label(only_table(leaderboard.build(without)))) == ["ce"]


# Settings ------------------------------------------------------------------------------------------------------------


def test_every_field_of_a_setting_is_changed_below() -> None:
    assert set(CHANGES) | {"data_set"} == set(setting_of(make("ce", 0, 0.5)))


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_settings_never_share_a_table_and_headings_say_what_differs(field: str) -> None:
    report = leaderboard.build([*several("a", FIVE), *several("a", LOWER, **{field: CHANGES[field]})])
    (board,) = report.boards
    one, other = board.tables
    assert [len(table.rows) for table in board.tables] == [1, 1]
    assert one.heading != other.heading
    assert all(row.rank == 1 for table in board.tables for row in table.rows)


def test_a_heading_names_only_noise_protocol_and_what_differs() -> None:
    (board,) = leaderboard.build([*several("a", FIVE), *several("a", FIVE, epochs=3)]).boards
    headings = [table.heading for table in board.tables]
    assert headings == ["sym 0.4 · shared-lr · 2 epochs", "sym 0.4 · shared-lr · 3 epochs"]


def test_data_sets_have_files_of_their_own(tmp_path: Path) -> None:
    names = ["digits", "table:a b.csv", "table:a/b.csv", "synthetic[classes=100]", "../up"]
    report = leaderboard.build([record for name in names for record in several("ce", FIVE, data_set=name)])
    paths = leaderboard.write(report, tmp_path)
    assert len({path.name.lower() for path in paths}) == len(names)
    assert {path.parent for path in paths} == {tmp_path}
    assert all(re.fullmatch(r"[\w.=+-]+\.md", path.name) for path in paths)


@given(st.lists(st.text(max_size=200), unique=True, max_size=5))
def test_file_names_are_safe_and_tell_data_sets_apart(names: list[str]) -> None:
    found = file_names(names)
    assert len({name.lower() for name in found.values()}) == len(names)
    for name in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*\.md", name) and len(name) < 120


# What isn't compared -------------------------------------------------------------------------------------------------


def test_a_row_with_fewer_replicates_stands_apart_with_its_reason() -> None:
    report = leaderboard.build([*several("a", LOWER), *several("b", FIVE[:4])])
    b = by_label(only_table(report))["b"]
    assert (b.standing, b.rank, len(b.accuracies)) == ("apart", None, 4)
    assert b.reason == "4 of 5 replicates: 4 not run yet"
    assert only_table(report).leader == "a"
    assert "### Not compared" in leaderboard.as_markdown(report)


def test_as_many_replicates_of_other_seeds_are_not_the_same_ones() -> None:
    others = [make("b", seed + 5, value) for seed, value in enumerate(FIVE)]
    assert by_label(only_table(leaderboard.build([*several("a", LOWER), *others])))["b"].standing == "apart"


def test_a_failed_replicate_makes_a_row_incomplete() -> None:
    b = several("b", FIVE)
    table = only_table(leaderboard.build([*several("a", LOWER), *b[:4]], failures=[failure(b[4])]))
    assert by_label(table)["b"].reason == "4 of 5 replicates: 4 failed at epoch 2 (the loss isn't finite)"


def test_a_method_that_always_failed_is_on_the_board_and_a_finished_run_outweighs_its_failure() -> None:
    a, b = several("a", LOWER), several("b", FIVE)
    rows = by_label(only_table(leaderboard.build(a, failures=[failure(each) for each in [*b, *a]])))
    assert rows["a"].rank == 1
    assert rows["b"].accuracy is None and "0 of 5" in rows["b"].reason and "2 more failed" in rows["b"].reason
    assert leaderboard.as_text(leaderboard.build([], failures=[failure(b[0])])).count("No complete row yet") == 1


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_an_accuracy_that_is_no_number_is_no_replicate(missing: float | None) -> None:
    table = only_table(leaderboard.build([*several("a", LOWER), *several("b", [*FIVE[:4], missing])]))
    b = by_label(table)["b"]
    assert b.standing == "apart" and "without a finite accuracy" in b.reason
    json.dumps(leaderboard.as_json(leaderboard.build(several("b", [missing]))), allow_nan=False)


def test_missing_measures_are_dashes_and_nulls() -> None:
    gone = dict.fromkeys(
        ["best_test_accuracy", "memorised", "learnt", "selector", "worst_class_accuracy", "networks", "samples"]
    )
    records = several("a", FIVE, measures=gone | {"units_per_sample_epoch": None, "noise_caption": None})
    report = leaderboard.build(records)
    row = leaderboard.as_json(report)["settings"][0]["rows"][0]
    assert [row[name] for name in ("best_test", "gap", "memorised", "selector")] == [None] * 4
    assert "None" not in leaderboard.as_markdown(report)


def test_rows_that_learnt_from_other_labels_are_not_compared() -> None:
    odd = several("c", FIVE)
    odd[3]["measures"]["labels_sha256"] = "f" * 64
    table = only_table(leaderboard.build([*several("a", LOWER), *several("b", LOWER), *odd]))
    assert by_label(table)["c"].reason == "learnt from other noisy labels than the rest at replicate 3"


def test_two_versions_of_a_method_are_two_rows_and_only_the_newest_ranks() -> None:
    table = only_table(leaderboard.build([*several("a", FIVE), *several("a", LOWER, method_version=2)]))
    rows = by_label(table)
    assert rows["a (v 1)"].standing == "apart" and "version 2" in rows["a (v 1)"].reason
    assert rows["a (v 2)"].rank == 1


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"parameters": {"q": 0.5}}, "a [q=0.5]"),
        ({"learning_rate": 0.1}, "a (lr 0.1)"),
        ({"weight_decay": 0.01}, "a (weight decay 0.01)"),
        ({"privileges": ("noise_kind",)}, "a (told noise_kind)"),
    ],
)
def test_what_the_protocol_lets_a_method_choose_makes_rows_of_one_table(change: dict[str, Any], label: str) -> None:
    table = only_table(leaderboard.build([*several("a", FIVE), *several("a", LOWER, **change)]))
    assert len(table.rows) == 2
    assert label in by_label(table)


def test_left_out_methods_stand_under_their_own_setting() -> None:
    records = [*several("a", FIVE), *several("a", FIVE, rate=0.2)]
    setting = RunSpec(**records[0]["spec"]).setting_id
    left = [{"method": "x", "reason": "it needs a | pipe", "setting_id": setting}]
    report = leaderboard.build(records, left_out=left * 2)
    assert [entry["left_out"] for entry in leaderboard.as_json(report)["settings"]] == [
        [],
        [{"method": "x", "reason": "it needs a | pipe"}],
    ]
    assert leaderboard.as_markdown(report, {setting}).count("x: it needs a \\| pipe") == 1


# Notes under a table -------------------------------------------------------------------------------------------------


def test_identical_runs_are_called_one_method() -> None:
    twins = several("b", FIVE)
    others = several("a", FIVE)
    assert only_table(leaderboard.build([*others, *twins])).same == [], "no measure tells"
    for record in [*others, *twins]:
        record["measures"]["negative_log_likelihood"] = 1.23456
    assert only_table(leaderboard.build([*others, *twins])).same == [
        "a and b gave identical runs: here they are one method."
    ]
    twins[0]["measures"]["negative_log_likelihood"] = 1.23457
    assert only_table(leaderboard.build([*others, *twins])).same == []


def test_methods_that_say_so_are_called_the_same() -> None:
    records = several("nce+agce", FIVE, measures={"same_as": ["agce"]})
    assert only_table(leaderboard.build(records)).same == [
        "nce+agce is the same method as agce by its parameters here."
    ]


def test_caveats_name_what_a_reader_must_know() -> None:
    records = several("anl", FIVE, measures={"assumes": ["balanced_classes"]}, imbalance=0.1)
    records[0]["provenance"] |= {"device": "cuda", "git_dirty": True}
    text = " ".join(only_table(leaderboard.build(records, select="holdout")).caveats)
    assert "anl assumes that they are balanced" in text
    assert "140 held-out noisy labels a replicate, 700 in all, fewer than 2,000" in text
    assert "397 images: one of them is 0.25 points" in text
    assert "Seconds come from cpu with 1 threads and cuda with 1 threads" in text
    assert "1 of 5 runs come from a working tree with uncommitted changes" in text


# Commands ------------------------------------------------------------------------------------------------------------


def options(command: str) -> dict[str, str]:
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "bench", "run"]
    return dict(zip(words[4::2], words[5::2], strict=True))


def test_a_made_command_names_what_makes_the_setting() -> None:
    records = [*several("gce", FIVE, parameters={"q": 0.7}, imbalance=0.1), *several("ce", LOWER, imbalance=0.1)]
    found = options(only_table(leaderboard.build(records)).command)
    assert (
        found.items()
        >= {
            "--methods": "ce,gce[q=0.7]",
            "--dataset": "digits",
            "--noise": "sym",
            "--rate": "0.4",
            "--seeds": "5",
            "--epochs": "2",
            "--model": "cnn-small",
            "--imbalance": "0.1",
            "--lr": "0.05",
        }.items()
    )
    assert "--hold-out" not in found and "--noise-seed" not in found


def test_rows_and_seeds_that_one_request_can_not_ask_for_get_lines_of_their_own() -> None:
    records = [*several("ce", FIVE), *several("anl", FIVE, weight_decay=0.001), make("ce", 7, 0.5, noise_seed=0)]
    commands = [options(line) for line in only_table(leaderboard.build(records)).command.splitlines()]
    assert [(each["--methods"], each["--seeds"], each.get("--noise-seed")) for each in commands] == [
        ("ce", "5", None),
        ("ce", "7:8", "0"),
        ("anl", "5", None),
        ("anl", "7:8", "0"),
    ]


@pytest.mark.parametrize(
    ("methods", "covers"),
    [
        ("all", True),
        ("ce,gce", True),
        ("ce,g*", True),
        ("ce", False),
        ("ce,gce --seeds 3", False),
        ("all --noise-seed 0", False),
    ],
)
def test_a_typed_command_is_shown_where_it_asks_for_every_row(methods: str, covers: bool) -> None:
    records = [*several("ce", FIVE), *several("gce", FIVE)]
    typed = f"python -m bench run --methods {methods} --dataset digits"
    setting = RunSpec(**records[0]["spec"]).setting_id
    table = only_table(leaderboard.build(records, commands={setting: typed}))
    assert (table.command == typed) is covers


def test_a_made_command_keeps_the_paths_that_were_typed() -> None:
    records = several("ce", FIVE, data_set="table:index.csv", noise="matrix:t.csv", rate=None, noise_sha256="a")
    setting = RunSpec(**records[0]["spec"]).setting_id
    typed = "python -m bench run --methods gce --dataset table:photos/index.csv --noise matrix:deep/t.csv --plugin p.py"
    found = options(only_table(leaderboard.build(records, commands={setting: typed})).command)
    assert (found["--methods"], found["--dataset"]) == ("ce", "table:photos/index.csv")
    assert (found["--noise"], found["--plugin"]) == ("matrix:deep/t.csv", "p.py")
    assert "--rate" not in found


# Forms ---------------------------------------------------------------------------------------------------------------


def test_json_has_the_documented_keys_and_survives_a_round_trip() -> None:
    found = leaderboard.as_json(leaderboard.build(small_board()))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"schema", "select", "settings"}
    (setting,) = found["settings"]
    assert set(setting) >= {
        "dataset", "noise", "rate", "model", "epochs", "protocol", "labels_sha256", "command", "rows", "left_out",
    }  # fmt: skip
    keys = {
        "method", "parameters", "needs", "assumes", "n", "mean", "std", "best_test", "gap", "memorised", "seconds",
        "selector",
    }  # fmt: skip
    assert all(set(row) >= keys for row in setting["rows"])
    assert setting["labels_sha256"] == [f"{seed:064x}" for seed in range(5)]
    first = setting["rows"][0]
    assert (first["method"], first["parameters"], first["rank"]) == ("gce", {"q": 0.7}, 1)
    assert 0 <= first["mean"] <= 1 and first["mean"] == pytest.approx(0.84)
    assert first["selector"]["auroc"] == 0.875 and first["selector"]["precision"] is None


def test_csv_has_a_line_for_each_row() -> None:
    report = leaderboard.build([*small_board(), *several("ce", FIVE, rate=0.2)])
    lines = list(csv.DictReader(io.StringIO(leaderboard.as_csv(report))))
    assert len(lines) == sum(len(table.rows) for board in report.boards for table in board.tables)
    by_method = {line["method"]: line for line in lines if line["rate"] == "0.4"}
    assert json.loads(by_method["gce"]["parameters"]) == {"q": 0.7}
    assert by_method["forward"]["rank"] == "" and by_method["forward"]["needs"] == "transition_matrix"
    assert float(by_method["gce"]["low"]) < 0.84 < float(by_method["gce"]["high"])
    assert leaderboard.as_csv(leaderboard.build([])) == ""


def test_only_the_settings_that_were_asked_for_are_printed() -> None:
    records = [*several("ce", FIVE), *several("ce", FIVE, rate=0.2)]
    report, asked = leaderboard.build(records), {RunSpec(**records[0]["spec"]).setting_id}
    assert len(leaderboard.as_json(report, asked)["settings"]) == 1
    for text in (leaderboard.as_markdown(report, asked), leaderboard.as_text(report, asked)):
        assert "sym 0.4" in text and "sym 0.2" not in text


@pytest.mark.parametrize("width", [70, 90, 120, 200])
def test_a_terminal_table_fits_its_width(width: int) -> None:
    text = leaderboard.as_text(leaderboard.build(small_board()), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert re.search(r"1\s+\* gce\s+84.0 ± 3.2", text)
    assert ("to leader" in text) is (width >= 120)


def test_every_line_of_a_markdown_table_has_the_same_cells() -> None:
    records = [*several("a|b", FIVE), *several("a<b>\n_c_", LOWER)]
    lines = [line for line in leaderboard.as_markdown(leaderboard.build(records)).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1


# Files ---------------------------------------------------------------------------------------------------------------


def test_a_board_that_can_not_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = leaderboard.build(small_board())
    (path,) = leaderboard.write(report, tmp_path)
    before = path.read_bytes()

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UsageError, match="No space left"):
        leaderboard.write(leaderboard.build(several("ce", FIVE)), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_published_boards_come_from_their_records(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "records" / "digits.jsonl", small_board())
    (path,) = leaderboard.write_published(tmp_path)
    (expected,) = leaderboard.write(leaderboard.build(small_board()), tmp_path / "again")
    assert path == tmp_path / "digits.md" and path.read_bytes() == expected.read_bytes()
    with pytest.raises(UsageError, match="no records"):
        leaderboard.write_published(tmp_path / "nowhere")


def test_committed_boards_are_what_their_records_give(tmp_path: Path) -> None:
    """Nobody edits a published number by hand."""
    published = Path(__file__).resolve().parents[2] / "leaderboards" / "published"
    boards = sorted(published.glob("*.md"))
    assert bool(boards) <= bool(list((published / "records").glob("*.jsonl"))), "boards without records"
    if boards:
        (tmp_path / "records").symlink_to(published / "records")
        written = {path.name: path.read_bytes() for path in leaderboard.write_published(tmp_path)}
        assert {path.name: path.read_bytes() for path in boards if path.name != "README.md"} == written


def test_a_report_imports_nothing_heavy() -> None:
    code = (
        "import json, sys; from bench import leaderboard as l; r = l.build(json.load(sys.stdin)); "
        "l.as_json(r), l.as_csv(r), l.as_markdown(r), l.as_text(r); "
        "print({'torch', 'torchvision', 'timm', 'sklearn', 'pandas', 'scipy.stats'} & set(sys.modules))"
    )
    root, records = Path(__file__).resolve().parents[2], json.dumps(small_board())
    done = subprocess.run(
        [sys.executable, "-c", code], input=records, cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout.strip()) == ("", "set()")
