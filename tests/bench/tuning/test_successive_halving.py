"""What goes on over the splits of the shared grid, and what a method trains with at last."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.execution.worker import load_file
from bench.tuning.grid.candidates import MethodCandidates
from bench.tuning.grid.successive_halving import (
    GridChoice,
    better_half,
    candidate_standing,
    certain_runs,
    choose_point,
    halving_rungs,
    possible_runs,
    recipe_entry,
)

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_grid.py")
SETTINGS, SPLITS, RUNGS = 9, 15, (3, 5, 10)


def of_all(candidates: MethodCandidates, accuracies: list[list[float]]) -> dict[str, Any]:
    records: dict[str, Any] = fake.recorded(candidates, dict(enumerate(accuracies)))
    return records


@pytest.mark.parametrize(
    ("splits", "held_out", "expected"),
    [
        (15, 140, (3, 5, 10)),
        (1, 5000, ()),
        (2, 1000, (1,)),
        (3, 700, (1, 2)),
        (3, 140, ()),
        (200, 10, (40, 67, 134)),
    ],
)
def test_settings_are_dropped_at_shares_of_the_splits_where_enough_labels_were_seen(
    splits: int, held_out: int, expected: tuple[int, ...]
) -> None:
    assert halving_rungs(splits, held_out) == expected


def test_the_better_half_goes_on_and_the_own_values_always() -> None:
    candidates = fake.method_candidates()
    scores = {
        number: choose_point(candidates, (), fake.recorded(candidates, {n: n / 10 for n in range(SETTINGS)})).scores[
            number
        ]
        for number in range(SETTINGS)
    }
    assert better_half(scores) == [0, 4, 5, 6, 7, 8]
    assert better_half({number: scores[number] for number in (0, 6, 7)}) == [0, 6, 7]
    assert better_half({number: scores[number] for number in (3, 6, 7)}) == [6, 7]
    assert better_half({0: scores[5], 2: scores[5], 4: scores[5]}) == [0, 2]
    assert better_half({0: None, 2: None, 4: scores[1]}) == [0, 4]


def test_the_noisy_hold_out_chooses_and_the_test_set_has_no_say() -> None:
    candidates = fake.method_candidates()
    chosen = choose_point(candidates, (), fake.recorded(candidates, {4: 0.75}))
    assert chosen.decision is not None and chosen.decision.chosen == 4 and not chosen.decision.kept
    assert chosen.scores[4] is not None and chosen.scores[4].labels == 280
    entry = recipe_entry(chosen, "grid")
    assert entry is not None
    assert (entry.learning_rate, entry.weight_decay) == (
        candidates.points[4].learning_rate,
        candidates.points[4].weight_decay,
    )
    assert (entry.criterion, entry.own_criterion, entry.best_criterion) == (0.75, 0.25, 0.75)
    assert (entry.kept, entry.runs) == (False, 18)


def test_own_values_stay_where_the_best_is_within_its_error() -> None:
    candidates = fake.method_candidates()
    chosen = choose_point(candidates, (), fake.recorded(candidates, {0: 0.5, 3: 0.52}))
    entry = recipe_entry(chosen, "grid")
    assert entry is not None and entry.kept and chosen.decision is not None and chosen.decision.chosen == 0
    assert (entry.criterion, entry.best_criterion) == (0.5, 0.52)


def test_nothing_is_chosen_while_runs_are_missing() -> None:
    candidates = fake.method_candidates()
    records = fake.recorded(candidates, {4: 0.75})
    lost = candidates.runs(candidates.points[5])[1]
    del records[lost.run_id]
    chosen = choose_point(candidates, (), records)
    assert chosen.standing.wanted == (lost,)
    assert chosen.decision is None and recipe_entry(chosen, "grid") is None


def test_what_diverged_is_not_chosen_and_not_waited_for() -> None:
    candidates = fake.method_candidates()
    chosen = choose_point(
        candidates, (), fake.recorded(candidates, {5: 0.75, 6: 0.5}, left_out={0, 5}), diverged={0, 5}
    )
    assert chosen.decision is not None and chosen.decision.chosen == 6 and chosen.scores[5] is None
    entry = recipe_entry(chosen, "grid")
    assert entry is not None and entry.own_criterion is None and entry.runs == 14
    nothing = choose_point(candidates, (), {}, diverged=range(SETTINGS))
    assert nothing.decision is None and not nothing.standing.wanted and recipe_entry(nothing, "grid") is None


def test_a_dropped_setting_keeps_what_it_came_to_and_is_not_chosen_by_it() -> None:
    """It leads all of them over the whole race by the three splits that it was judged on, but for two."""
    candidates = fake.method_candidates(SPLITS)
    early = {8: [0.5] * SPLITS} | {number: [0.6] * 3 + [0.4] * 12 for number in range(1, 6)}
    chosen = choose_point(candidates, RUNGS, fake.recorded(candidates, early))
    assert chosen.standing.judged[8] == 3 and chosen.scores[8] is not None and chosen.scores[8].mean == 0.5
    assert chosen.decision is not None and chosen.decision.best in range(1, 6)
    best = chosen.scores[chosen.decision.best]
    assert best is not None and best.mean < 0.5 and best.labels == SPLITS * fake.HELD_OUT


ACCURACIES = st.lists(
    st.lists(st.integers(0, 140).map(lambda hits: hits / 140), min_size=SPLITS, max_size=SPLITS),
    min_size=SETTINGS,
    max_size=SETTINGS,
)


def carried_out(candidates: MethodCandidates, all_records: dict[str, Any]) -> tuple[GridChoice, list[str]]:
    """The race as a command carries it out, a rung at a time; what was chosen, and the runs as they were trained."""
    records: dict[str, Any] = {}
    trained: list[str] = []
    standing = candidate_standing(candidates, RUNGS, records)
    most = len(certain_runs(candidates, standing)) + len(possible_runs(candidates, standing, RUNGS))
    while standing.wanted:
        trained += [run.run_id for run in standing.wanted]
        records |= {run.run_id: all_records[run.run_id] for run in standing.wanted}
        standing = candidate_standing(candidates, RUNGS, records)
        certain, possible = certain_runs(candidates, standing), possible_runs(candidates, standing, RUNGS)
        assert {run.run_id for run in certain} >= set(trained)
        assert len(trained) <= len(certain) + len(possible) <= most
        most = len(certain) + len(possible)
    return choose_point(candidates, RUNGS, records), trained


@given(ACCURACIES)
@settings(max_examples=40, deadline=None)
def test_a_race_trains_each_run_once_and_ends_as_it_would_with_every_run_there(accuracies: list[list[float]]) -> None:
    candidates = fake.method_candidates(SPLITS)
    all_records = of_all(candidates, accuracies)
    chosen, trained = carried_out(candidates, all_records)
    assert len(set(trained)) == len(trained) == len(chosen.runs) < len(all_records)
    again = choose_point(candidates, RUNGS, all_records)
    assert (again.decision, again.standing, again.scores) == (chosen.decision, chosen.standing, chosen.scores)


@given(ACCURACIES)
@settings(max_examples=40, deadline=None)
def test_own_values_and_finalists_are_judged_on_every_split(accuracies: list[list[float]]) -> None:
    candidates = fake.method_candidates(SPLITS)
    chosen = choose_point(candidates, RUNGS, of_all(candidates, accuracies))
    judged, decision = chosen.standing.judged, chosen.decision
    assert decision is not None and judged[0] == judged[decision.best] == judged[decision.chosen] == SPLITS
    assert {number for number in range(SETTINGS) if judged[number] == SPLITS} == set(chosen.standing.going)
    assert set(judged) <= {*RUNGS, SPLITS} and 2 <= len(chosen.standing.going) <= 3
    final = {number: chosen.scores[number] for number in chosen.standing.going}
    best = max(final, key=lambda number: (final[number].mean, -number))  # type: ignore[union-attr]
    assert decision.best == best


@given(ACCURACIES, st.integers(1, SETTINGS - 1))
@settings(max_examples=40, deadline=None)
def test_what_is_best_on_every_split_is_never_dropped(accuracies: list[list[float]], best: int) -> None:
    candidates = fake.method_candidates(SPLITS)
    accuracies = [[0.9 * accuracy for accuracy in split] for split in accuracies]
    accuracies[best] = [0.95] * SPLITS
    chosen = choose_point(candidates, RUNGS, of_all(candidates, accuracies))
    assert chosen.decision is not None and chosen.decision.best == best
