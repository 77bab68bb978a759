"""Boards of synthetic records: what ranks, and what isn't compared."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.execution.worker import load_file
from bench.leaderboard import tables
from bench.leaderboard.model import TableNotes
from bench.leaderboard.render import markdown, structured
from bench.spec import RunSpec
from bench.system.errors import UsageError

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
make = fake.make
several = fake.several
only_table = fake.only_table
by_label = fake.by_label
failure = fake.failure
small_board = fake.small_board
FIVE = fake.FIVE
LOWER = fake.LOWER

# Ranks ---------------------------------------------------------------------------------------------------------------


def test_the_small_board_reads_as_it_should(tmp_path: Path) -> None:
    (path,) = markdown.write_boards(tables.build_report(small_board()), tmp_path)
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
    # n, to leader, best on test, gap, memorised, learnt, worst class, single nets, effort, seconds, told, assumes
    assert gce[4:] == ["5", "leader", "94.0", "10.0", "12.5", "75.0", "25.0", "–", "1 / 1 / 3", "2.0", "–", "–"]
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
    expected = tables.build_report(records)
    shuffler.shuffle(records)
    report = tables.build_report([*records, records[0]])
    assert markdown.report_as_markdown(report) == markdown.report_as_markdown(expected)
    assert structured.report_as_json(report) == structured.report_as_json(expected)


def test_equal_means_share_a_rank() -> None:
    table = only_table(tables.build_report([*several("a", FIVE), *several("b", FIVE[::-1]), *several("c", LOWER)]))
    assert {label: row.rank for label, row in by_label(table).items()} == {"a": 1, "b": 1, "c": 3}
    assert "1=" in markdown.report_as_markdown(tables.build_report([*several("a", FIVE), *several("b", FIVE[::-1])]))


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.booleans(), st.integers(0, 9)), min_size=1))
@settings(max_examples=30)
def test_only_plain_rows_have_a_rank(methods: dict[str, tuple[bool, int]]) -> None:
    records = [
        record
        for name, (privileged, tenths) in methods.items()
        for record in several(name, [tenths / 10] * 5, privileges=("noise_rate",) if privileged else ())
    ]
    rows = only_table(tables.build_report(records)).rows
    assert {row.label for row in rows if row.rank is not None} == {
        name for name, (privileged, _) in methods.items() if not privileged
    }
    assert not any(row.may_be_best for row in rows if row.needs)
    ranked = [row.accuracy.mean for row in rows if row.rank is not None and row.accuracy]
    assert ranked == sorted(ranked, reverse=True)


def test_fewer_than_five_replicates_are_never_bold() -> None:
    report = tables.build_report([*several("a", FIVE[:4]), *several("b", LOWER[:4])])
    assert only_table(report).best_set is None
    text = markdown.report_as_markdown(report)
    assert "Fewer than 5 replicates: no bold" in text
    assert not re.search(r"\|\s*\*\*", text)


@pytest.mark.parametrize(("select", "shift"), [("last", 0), ("last10", 0), ("holdout", 0.05), ("best-test", 0.1)])
def test_each_rule_takes_its_own_accuracy(select: str, shift: float) -> None:
    report = tables.build_report(several("gce", FIVE), select=select)
    (row,) = only_table(report).rows
    assert row.accuracy is not None and row.accuracy.mean == pytest.approx(0.84 + shift)
    assert row.gap == pytest.approx(0.1 - shift)
    assert ("oracle:" in markdown.report_as_markdown(report)) == (select == "best-test")
    assert structured.report_as_json(report)["select"] == select


def test_an_unknown_rule_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="holdout"):
        tables.build_report([], select="hold-out")


def test_the_early_stopped_control_is_read_off_ce_and_has_no_rank() -> None:
    rows = by_label(only_table(tables.build_report(small_board())))
    control = rows["ce @ noisy hold-out epoch"]
    assert control.control and control.derived and control.rank is None
    assert control.accuracy is not None and control.accuracy.mean == pytest.approx(rows["ce"].accuracy.mean + 0.05)
    assert control.means["memorised"] is None
    without = several("ce", LOWER, measures={"holdout_test_accuracy": None})
    assert list(by_label(only_table(tables.build_report(without)))) == ["ce"]


# What isn't compared -------------------------------------------------------------------------------------------------


def test_a_row_with_fewer_replicates_stands_apart_with_its_reason() -> None:
    report = tables.build_report([*several("a", LOWER), *several("b", FIVE[:4])])
    b = by_label(only_table(report))["b"]
    assert (b.status, b.rank, len(b.accuracies)) == ("excluded", None, 4)
    assert b.reason == "4 of 5 replicates: 4 not run yet"
    assert only_table(report).leader == "a"
    assert "### Not compared" in markdown.report_as_markdown(report)


def test_as_many_replicates_of_other_seeds_are_not_the_same_ones() -> None:
    others = [make("b", seed + 5, value) for seed, value in enumerate(FIVE)]
    assert by_label(only_table(tables.build_report([*several("a", LOWER), *others])))["b"].status == "excluded"


def test_a_failed_replicate_makes_a_row_incomplete() -> None:
    b = several("b", FIVE)
    table = only_table(tables.build_report([*several("a", LOWER), *b[:4]], failures=[failure(b[4])]))
    assert by_label(table)["b"].reason == "4 of 5 replicates: replicate 4 failed at epoch 2 (the loss isn't finite)"


def test_a_method_that_always_failed_is_on_the_board_and_a_finished_run_outweighs_its_failure() -> None:
    a, b = several("a", LOWER), several("b", FIVE)
    rows = by_label(only_table(tables.build_report(a, failures=[failure(record) for record in [*b, *a]])))
    assert rows["a"].rank == 1
    assert rows["b"].accuracy is None and "0 of 5" in rows["b"].reason and "2 more failed" in rows["b"].reason
    assert fake.report_as_text(tables.build_report([], failures=[failure(b[0])])).count("No complete row yet") == 1


@pytest.mark.parametrize("missing", [None, float("nan"), float("inf")])
def test_an_accuracy_that_is_no_number_is_no_replicate(missing: float | None) -> None:
    table = only_table(tables.build_report([*several("a", LOWER), *several("b", [*FIVE[:4], missing])]))
    b = by_label(table)["b"]
    assert b.status == "excluded" and "without a finite accuracy" in b.reason
    json.dumps(structured.report_as_json(tables.build_report(several("b", [missing]))), allow_nan=False)


def test_missing_measures_are_dashes_and_nulls() -> None:
    gone = dict.fromkeys(
        ["best_test_accuracy", "memorised", "learnt", "selector", "worst_class_accuracy", "networks", "samples"]
    )
    records = several("a", FIVE, measures=gone | {"units_per_sample_epoch": None, "noise_caption": None})
    report = tables.build_report(records)
    row = structured.report_as_json(report)["settings"][0]["rows"][0]
    assert [row[name] for name in ("best_test", "gap", "memorised", "selector")] == [None] * 4
    assert "None" not in markdown.report_as_markdown(report)


def test_rows_that_learnt_from_other_labels_are_not_compared() -> None:
    odd = several("c", FIVE)
    odd[3]["measures"]["labels_sha256"] = "f" * 64
    table = only_table(tables.build_report([*several("a", LOWER), *several("b", LOWER), *odd]))
    assert by_label(table)["c"].reason == "learnt from other noisy labels than the rest at replicate 3"


def test_two_versions_of_a_method_are_two_rows_and_only_the_newest_ranks() -> None:
    table = only_table(tables.build_report([*several("a", FIVE), *several("a", LOWER, method_version=2)]))
    rows = by_label(table)
    assert rows["a (v 1)"].status == "excluded" and "version 2" in rows["a (v 1)"].reason
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
    table = only_table(tables.build_report([*several("a", FIVE), *several("a", LOWER, **change)]))
    assert len(table.rows) == 2
    assert label in by_label(table)


def test_left_out_methods_stand_under_their_own_setting() -> None:
    records = [*several("a", FIVE), *several("a", FIVE, rate=0.2)]
    setting = RunSpec(**records[0]["spec"]).setting_id
    left = [{"method": "x", "reason": "it needs a | pipe", "setting_id": setting}]
    report = tables.build_report(records, beside=TableNotes(left * 2))
    assert [entry["left_out"] for entry in structured.report_as_json(report)["settings"]] == [
        [],
        [{"method": "x", "reason": "it needs a | pipe"}],
    ]
    assert markdown.report_as_markdown(report, {setting}).count("x: it needs a \\| pipe") == 1


def test_many_parameters_stand_under_the_table_and_rows_of_one_method_by_what_tells_them_apart() -> None:
    many = {f"parameter_{number}": 0.5 for number in range(6)}
    records = [
        *several("flsc", FIVE, parameters=many | {"localisation": 0.0}),
        *several("flsc", LOWER, parameters=many | {"localisation": 0.3}),
        *several("gce", LOWER, parameters={"q": 0.7}),
        *several("dividemix", LOWER, parameters=many),
    ]
    report = tables.build_report(records)
    names = {row.name for row in only_table(report).rows}
    assert names == {"flsc [localisation=0]", "flsc [localisation=0.3]", "gce", "dividemix"}
    text = markdown.report_as_markdown(report)
    assert "| **flsc [localisation=0]** |" in re.sub(" +", " ", text)
    assert "| gce [q=0.7] |" in re.sub(" +", " ", text)
    everything = ", ".join(f"{name}={value:g}" for name, value in many.items())
    assert text.count(f"- dividemix [{everything}]") == 1
    assert text.count(f"- flsc [localisation=0.3, {everything}]") == 1
    # what is short enough to stand in the table isn't said again
    assert "- gce [q=0.7]" not in text


def test_the_cost_frontier_holds_the_rows_that_no_row_of_at_most_their_cost_matches() -> None:
    def at(method: str, accuracies: tuple[float, ...], units: float | None, **spec: Any) -> list[dict[str, Any]]:
        records = several(method, accuracies, **spec)
        for record in records:
            record["measures"]["units_per_sample_epoch"] = units
        return records

    higher = tuple(value + 0.1 for value in FIVE)
    records = [
        *at("cheap", LOWER, 3.0),
        *at("as-cheap", FIVE, 3.0),
        *at("dearer", FIVE, 6.0),
        *at("best", higher, 12.0),
        *at("dear", LOWER, 24.0),
        *at("unknown", higher, None),
        *at("told", tuple(value + 0.11 for value in FIVE), 1.0, privileges=("noise_rate",)),
    ]
    report = tables.build_report(records)
    assert [row.method for row in only_table(report).frontier] == ["as-cheap", "best"]
    text = markdown.report_as_markdown(report)
    lines = [re.sub(" +", " ", line) for line in text.split("### What accuracy costs")[1].splitlines()[2:6]]
    assert lines[2].startswith("| 3 | as-cheap | 84.0 ± 3.2 | – |")
    assert lines[3].startswith("| 12 | **best** | **94.0 ± 3.2** | 10.00 [10.00, 10.00] |")
    (setting,) = structured.report_as_json(report)["settings"]
    assert setting["cost_frontier"] == ["as-cheap", "best"]
    assert "no cheaper row is as good" in fake.report_as_text(report, width=120)
    # one row alone costs what it costs
    assert (
        "What accuracy costs"
        not in markdown.report_as_markdown(tables.build_report(at("cheap", LOWER, 3.0))).split("##")[1]
    )
