"""The search on the shared grid, from the first rung to the choice, with runs that nobody trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.study import StudyOutcome
from bench.execution.worker import load_file
from bench.planning.request import Request
from bench.records.store import Store
from bench.spec import RunSpec
from bench.training.outcome import DIVERGED
from bench.tuning.grid.candidates import FIRST_SEED
from bench.tuning.grid.search import GridPlan, candidate_standings, choose_settings, train_grid
from bench.tuning.grid.successive_halving import choose_point

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_grid.py")
SPLITS = 15
BEST = 4


class Trainer:
    """Stands for a study: writes the records of runs, except those of which `failures` has the reason."""

    def __init__(self, store: Store, records: dict[str, Any], failures: dict[str, str]) -> None:
        self.store, self.records, self.failures = store, records, failures
        self.rungs: list[list[str]] = []

    def __call__(self, runs: Sequence[RunSpec]) -> StudyOutcome:
        self.rungs.append([run.run_id for run in runs])
        failed = {}
        for run in runs:
            if run.run_id in self.failures:
                failed[run.run_id] = self.failures[run.run_id]
                self.store.write_failure(run, failed[run.run_id])
            else:
                self.store.write_record(self.records[run.run_id])
        return StudyOutcome(finished=tuple(run.run_id for run in runs if run.run_id not in failed), failed=failed)


def plan_of(candidates: Any) -> GridPlan:
    request = Request(seeds=tuple(range(FIRST_SEED, FIRST_SEED + SPLITS)))
    facts: Any = None
    return GridPlan(request, facts, (candidates,), facts, fake.HELD_OUT)


def test_rungs_are_trained_one_after_another_and_each_run_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidates = fake.method_candidates(SPLITS)
    plan, store, records = plan_of(candidates), Store(tmp_path), fake.recorded(candidates, {BEST: 0.75})
    assert plan.rungs == (3, 5, 10) and plan.settings == 9
    trainer = Trainer(store, records, {})
    outcome = train_grid(plan, store, trainer)
    trained = [run_id for rung in trainer.rungs for run_id in rung]
    assert [len(rung) for rung in trainer.rungs] == [9 * 3, 5 * 2, 3 * 5, 2 * 5]
    assert len(set(trained)) == len(trained) == len(outcome.finished) and not outcome.failed
    assert "5 of 9 settings go on" in capsys.readouterr().err
    result = choose_settings(plan, store, outcome)
    (choice,) = result.choices
    assert choice.decision == choose_point(candidates, plan.rungs, records).decision
    assert choice.decision is not None and choice.decision.chosen == BEST
    assert {record["run_id"] for record in result.records} == set(trained)
    again = Trainer(store, records, {})
    assert train_grid(plan, store, again).finished == () and again.rungs == []


def test_a_run_that_fails_leaves_its_method_undecided_and_is_tried_once(tmp_path: Path) -> None:
    candidates = fake.method_candidates(SPLITS)
    plan, store = plan_of(candidates), Store(tmp_path)
    failing = candidates.runs(candidates.points[2])[1].run_id
    trainer = Trainer(store, fake.recorded(candidates, {}), {failing: "the disk is full"})
    outcome = train_grid(plan, store, trainer)
    assert len(trainer.rungs) == 1 and set(outcome.failed) == {failing}
    result = choose_settings(plan, store, outcome)
    assert not result.choices and "1 of its runs are missing (the disk is full)" in result.undecided["ce"]


def test_a_setting_that_diverges_is_left_and_the_others_go_on(tmp_path: Path) -> None:
    candidates = fake.method_candidates(SPLITS)
    plan, store = plan_of(candidates), Store(tmp_path)
    failing = candidates.runs(candidates.points[BEST])[0].run_id
    trainer = Trainer(store, fake.recorded(candidates, {BEST: 0.75}), {failing: f"{DIVERGED} in epoch 1"})
    outcome = train_grid(plan, store, trainer)
    result = choose_settings(plan, store, outcome)
    assert result.diverged == {"ce": {BEST}} and not result.undecided
    (choice,) = result.choices
    assert choice.decision is not None and choice.decision.chosen != BEST
    assert BEST not in candidate_standings(plan, store)[0].going
