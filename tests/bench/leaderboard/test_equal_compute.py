"""Tables at equal compute, from records: what is chosen, what is ranked, and what is passed over."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.main import main
from bench.execution.worker import load_file
from bench.leaderboard import tables
from bench.leaderboard.equal_compute import ScoredCandidate, choose_cheapest
from bench.leaderboard.model import EqualComputeTable
from bench.leaderboard.render import markdown, structured
from bench.planning.compute_budget import Budget, ComputeCandidate
from bench.reporting.publish import describe_tables
from bench.spec import RunSpec
from bench.stats.holdout_choice import HoldoutScore

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
Record = dict[str, Any]
SEEDS = 5
OWN = 30
"""Epochs of `fake_records`."""


def runs(
    method: str,
    epochs: int,
    members: int,
    held: float,
    test: float,
    units: float = 3.0,
    seeds: int = SEEDS,
    **fields: Any,
) -> list[Record]:
    """A candidate's records; `units` are those of one member and epoch, `held` the noisy hold-out accuracy."""
    records: list[Record] = []
    for seed in range(SEEDS):
        measures = {
            "units_per_sample_epoch": units * members,
            "noisy_holdout_accuracy": held + 0.001 * seed,
            "samples": {"train": 1260, "holdout": 500, "test": 397},
        }
        records.append(fake.make(method, seed, test + 0.002 * seed, measures, epochs=epochs, members=members, **fields))
    return records


def study() -> list[Record]:
    """`dear` sets the allowance of 600 units; `ce` does best short and with members, `gce` as it is."""
    return [
        *runs("dear", OWN, 1, 0.60, 0.90, units=20.0),
        *runs("dear", OWN // 2, 1, 0.50, 0.70, units=20.0),
        *runs("ce", OWN, 1, 0.40, 0.70),
        *runs("ce", OWN // 2, 8, 0.58, 0.88),
        *runs("ce", OWN, 4, 0.50, 0.80),
        *runs("ce", 2 * OWN, 1, 0.30, 0.60),
        # the best of all on the test set: nobody may look at it
        *runs("ce", 4 * OWN, 1, 0.20, 0.99),
        *runs("gce", OWN, 1, 0.57, 0.86, parameters={"q": 0.7}),
        *runs("gce", OWN, 4, 0.575, 0.865, parameters={"q": 0.7}),
        *runs("told", OWN, 1, 0.57, 0.95, privileges=("transition_matrix",)),
    ]


def table(records: Sequence[Record], budget: Budget | None = None, **options: Any) -> EqualComputeTable:
    report = tables.build_report(records, budget=budget or Budget(), **options)
    (board,) = report.boards
    (equal,) = board.equal_compute
    return equal


def chosen(equal: EqualComputeTable) -> dict[str, tuple[int, int]]:
    return {label: (choice.epochs, choice.members) for label, choice in equal.choices.items()}


def test_every_method_gets_its_best_length_within_the_dearests_allowance() -> None:
    equal = table(study())
    assert equal.allowance == 600 and equal.dearest == "dear"
    # gce's four members lie within one standard error (1 point of 2,500 labels) of one, which is cheaper
    assert chosen(equal) == {"dear": (30, 1), "ce": (15, 8), "gce [q=0.7]": (30, 1), "told": (30, 1)}
    assert [(row.label, row.rank) for row in equal.rows] == [("dear", 1), ("ce", 2), ("gce [q=0.7]", 3), ("told", None)]
    assert equal.leader == "dear"
    assert equal.choices["ce"].units == 360 and equal.choices["ce"].unused == pytest.approx(0.4)
    assert equal.choices["ce"].tried == 5
    assert equal.choices["ce"].search == 3 * (30 + 15 * 8 + 30 * 4 + 60 + 120)
    difference = equal.rows[1].difference_to_leader
    assert difference is not None and difference.mean == pytest.approx(-0.02)


def test_ranks_and_intervals_are_those_of_a_board_of_the_chosen_runs() -> None:
    """The same statistics as the main table's: as if the chosen runs were all of one setting."""
    alone = [
        *runs("dear", OWN, 1, 0.6, 0.90),
        *runs("ce", OWN, 1, 0.6, 0.88),
        *runs("gce", OWN, 1, 0.6, 0.86, parameters={"q": 0.7}),
    ]
    plain = {row.label: row for row in fake.only_table(tables.build_report(alone)).rows if not row.derived}
    for row in table(study()).rows_with("ranked"):
        twin = plain[row.label]
        assert (row.accuracy, row.rank, row.difference_to_leader, row.may_be_best) == (
            twin.accuracy,
            twin.rank,
            twin.difference_to_leader,
            twin.may_be_best,
        )


def test_a_typed_allowance_passes_over_what_costs_more() -> None:
    equal = table(study(), Budget(300.0))
    assert equal.allowance == 300 and equal.dearest is None
    assert chosen(equal)["dear"] == (15, 1) and chosen(equal)["ce"] == (30, 1)
    assert equal.choices["ce"].beyond == 3
    # ce's eight and four members and its 120 epochs, gce's four members, and dear's own epochs
    passed = sum(choice.beyond for choice in equal.choices.values())
    assert any(f"{passed} came out above the allowance" in note for note in equal.caveats)
    low = table(study(), Budget(50.0))
    assert chosen(low) == {}
    assert {entry["method"] for entry in low.left_out} == {"dear", "ce", "gce [q=0.7]", "told"}
    assert all("more than the allowance" in entry["reason"] for entry in low.left_out)


def test_a_candidate_without_every_replicate_is_not_chosen() -> None:
    records = [record for record in study() if record["spec"].get("members") != 8 or record["spec"]["seed"] < 3]
    equal = table(records)
    assert chosen(equal)["ce"] == (30, 4)
    assert equal.choices["ce"].unfinished == 1
    assert any("1 lack replicates" in note for note in equal.caveats)


def test_a_method_without_its_own_epochs_complete_stands_below() -> None:
    records = [record for record in study() if record["spec"]["method"] != "gce" or record["spec"]["seed"] < 2]
    equal = table(records)
    assert "gce [q=0.7]" not in equal.choices
    assert [entry["method"] for entry in equal.left_out] == ["gce [q=0.7]"]
    assert "every replicate" in equal.left_out[0]["reason"]


def test_records_without_a_held_out_accuracy_cannot_be_chosen_among() -> None:
    records = study()
    for record in records:
        record["measures"]["noisy_holdout_accuracy"] = None
    assert chosen(table(records)) == {}
    for record in records:
        del record["measures"]["noisy_holdout_accuracy"]
        record["curves"]["noisy_holdout_accuracy"][-1] = 0.5
    # records of before that measure was kept have it in their curve; all equal, the cheapest are taken
    assert chosen(table(records)) == {"dear": (15, 1), "ce": (30, 1), "gce [q=0.7]": (30, 1), "told": (30, 1)}


def test_the_own_epochs_are_those_that_most_rows_were_trained_for_or_those_named() -> None:
    records = study()
    assert table(records).setting["epochs"] == OWN
    short = RunSpec(**runs("dear", OWN // 2, 1, 0.5, 0.7)[0]["spec"]).setting_id
    equal = table(records, Budget(settings=frozenset({short})))
    assert equal.setting["epochs"] == OWN // 2 and equal.allowance == 300


def test_settings_are_joined_where_the_schedule_keeps_its_shape() -> None:
    step = [
        *runs("ce", OWN, 1, 0.4, 0.7, schedule="step:10,20@0.1"),
        *runs("ce", 2 * OWN, 1, 0.5, 0.8, schedule="step:20,40@0.1"),
        *runs("dear", OWN, 1, 0.4, 0.7, units=20, schedule="step:10,20@0.1"),
    ]
    assert chosen(table(step)) == {"ce": (60, 1), "dear": (30, 1)}
    other = [record for record in step if record["spec"]["epochs"] == OWN]
    other += runs("ce", 2 * OWN, 1, 0.5, 0.8, schedule="step:10,20@0.1")
    (board,) = tables.build_report(other, budget=Budget()).boards
    assert board.equal_compute == ()


def test_every_noise_has_a_table_of_its_own() -> None:
    records = [*study(), *(record for rate in (0.2,) for record in runs("ce", OWN, 1, 0.4, 0.7, rate=rate))]
    records += runs("ce", OWN, 3, 0.7, 0.8, rate=0.2)
    (board,) = tables.build_report(records, budget=Budget()).boards
    low, high = board.equal_compute
    assert (low.setting["rate"], high.setting["rate"]) == (0.2, 0.4)
    # three members cost more than the dearest method's one
    assert chosen(low) == {"ce": (30, 1)} and low.choices["ce"].beyond == 1


def test_without_a_budget_there_is_no_such_table() -> None:
    report = tables.build_report(study())
    assert all(board.equal_compute is None for board in report.boards)
    assert "equal compute" not in markdown.report_as_markdown(report).lower()
    assert "equal_compute" not in structured.report_as_json(report)


def test_the_order_of_records_does_not_matter() -> None:
    records = study()
    first = structured.report_as_json(tables.build_report(records, budget=Budget()))
    random.Random(0).shuffle(records)
    assert structured.report_as_json(tables.build_report(records, budget=Budget())) == first


scores = st.builds(
    HoldoutScore, mean=st.floats(0, 1), error=st.floats(0, 0.2), splits=st.just((0.5,)), labels=st.integers(1, 9999)
)
trials = st.lists(
    st.builds(
        ScoredCandidate,
        st.builds(ComputeCandidate, st.integers(1, 500), st.integers(1, 64)),
        scores,
        st.floats(1, 1e5),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda entry: entry[0],
)


@given(trials)
def test_what_is_chosen_lies_within_one_standard_error_of_the_best_and_nothing_cheaper_does(judged: list[Any]) -> None:
    best = max(score.mean for _, score, _ in judged)
    errors = [score.error for _, score, _ in judged if score.mean == best]
    candidate, score, units = choose_cheapest(judged)
    assert (candidate, score, units) in judged
    assert score.mean >= best - max(errors)
    assert not any(score.mean >= best - min(errors) and cost < units for _, score, cost in judged)
    assert choose_cheapest(judged[::-1])[1:] == (score, units)


def written(tmp_path: Path, records: Sequence[Record], name: str = "records.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_report_writes_and_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["report", "--records", written(tmp_path, study()), "--boards", str(tmp_path / "boards")]
    assert main([*line, "--budget", "equal-compute"]) == 0
    text = capsys.readouterr().out
    (file,) = (tmp_path / "boards").iterdir()
    board = file.read_text()
    for page in (text, board):
        assert "## At equal compute: sym 0.4 · shared-lr" in page
        assert "Allowance: 600 units" in page and "what dear needs for 30 epochs" in page
        assert "88.4" in page
    assert "*At equal compute* asks" in board
    section = board.partition("## At equal compute")[2]
    assert "ce @ noisy hold-out" not in section
    assert "2,500 held-out noisy labels, with" in section
    assert main([*line, "--budget", "equal-compute", "--format", "json"]) == 0
    (equal_table,) = json.loads(capsys.readouterr().out)["equal_compute"]
    row = {row["label"]: row for row in equal_table["rows"]}["ce"]
    assert (row["epochs"], row["members"], row["run_units"], row["allowance"]) == (15, 8, 360, 600)
    assert row["unused"] == pytest.approx(0.4) and row["noisy_holdout_labels"] == 2500
    assert main([*line, "--budget", "equal-compute", "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    equal = {line["label"]: line for line in lines if line["allowance"]}
    assert (equal["ce"]["epochs"], equal["ce"]["members"], equal["ce"]["allowance"]) == ("15", "8", "600.0")
    assert len(lines) > len(equal)
    # and without the option the file is as it always was
    assert main(line) == 0
    assert "equal compute" not in file.read_text()


def test_few_labels_are_said_to_be_few() -> None:
    equal = table([record for record in study() if record["spec"]["seed"] < 2])
    assert any("1,000 held-out noisy labels, fewer than 2,000" in note for note in equal.caveats)
    assert any("Fewer than 5 replicates" in note for note in equal.caveats)
    assert equal.best_set is None


def test_a_terminal_gets_the_table_too() -> None:
    text = fake.report_as_text(tables.build_report(study(), budget=Budget()), width=80)
    part = text.partition("At equal compute")[2]
    assert "epochs  members" in part and "Allowance: 600 units" in part
    assert all(len(line) <= 80 for line in part.splitlines())


def test_the_command_asks_for_one_member_and_the_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [record for record in study() if record["spec"]["method"] in ("ce", "gce")]
    beside = describe_tables(records)
    equal = table(records, Budget(300.0), beside=beside)
    assert equal.command.count("\n") == 0
    assert equal.command.endswith("--budget equal-compute:300") and "--members" not in equal.command
    assert "--epochs 30" in equal.command


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--budget", "twice"], "must be equal-compute"),
        (["--budget", "equal-compute", "--compare", "ce"], "leave one out"),
    ],
)
def test_wrong_requests(words: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["report", "--records", written(tmp_path, study()), "--boards", str(tmp_path / "boards")]
    assert main([*line, *words]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "boards").exists()


def test_nothing_to_choose_from_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = written(tmp_path, runs("ce", OWN, 1, 0.4, 0.7))
    line = ["report", "--records", records, "--boards", str(tmp_path / "boards"), "--budget", "equal-compute"]
    assert main([*line, "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["equal_compute"] == []
    assert "no table at equal compute" in printed.err
