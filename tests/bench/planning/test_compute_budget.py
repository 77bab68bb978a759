"""Equal compute, planned: what is tried never costs more than the allowance, and something always is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.planning.compute_budget import (
    Budget,
    ComputeCandidate,
    RowProgress,
    compute_allowances,
    compute_candidates,
    longest_training,
    parse_budget,
    resize_run,
    rows_of_plan,
    run_units,
)
from bench.planning.request import Request
from bench.spec import RunSpec
from bench.system.errors import UsageError

EPOCHS = st.integers(1, 300)
EACH = st.floats(1.0, 300.0)
"""Units of an epoch."""


def spec_of(**fields: Any) -> RunSpec:
    values: dict[str, Any] = {
        "method": "ce",
        "data_set": "digits",
        "data_sha256": "d" * 64,
        "noise": "sym",
        "rate": 0.4,
        "model": "cnn-small",
        "epochs": 4,
        "batch_size": 64,
        "learning_rate": 0.05,
    }
    return RunSpec(**(values | fields))


def searched(
    cost: Callable[[int], float], epochs: int, allowance: float
) -> tuple[dict[int, float], list[ComputeCandidate]]:
    """Wave after wave until nothing new is wanted; `cost` is that of one member. Returns costs and the last wishes."""
    costs = {epochs: cost(epochs)}
    for _ in range(18):
        wanted = compute_candidates(costs, epochs, allowance)
        new = {candidate.epochs for candidate in wanted} - costs.keys()
        if not new:
            return costs, wanted
        costs |= {length: cost(length) for length in new}
    raise AssertionError("the search doesn't end")


@given(EPOCHS, EACH, st.floats(1.0, 40.0))
def test_nothing_is_tried_beyond_the_allowance_and_something_within_it(
    epochs: int, epoch_units: float, share: float
) -> None:
    """Where an epoch of any length costs the same. The allowance is that of `share` epochs at least."""
    allowance = share * epoch_units
    costs, wanted = searched(lambda length: length * epoch_units, epochs, allowance)
    assert wanted == sorted(set(wanted)) != []
    for length, members in wanted:
        assert length >= 1 and members >= 1
        assert costs[length] * members <= allowance * (1 + 1e-6)
    if epochs <= share:
        assert ComputeCandidate(epochs, 1) in wanted
    # neither a further epoch nor a further member fits
    assert (max(wanted)[0] + 1) * epoch_units > allowance * (1 - 1e-6)
    usual = min(epochs, max(wanted)[0])
    assert (max(members for length, members in wanted if length == usual) + 1) * usual * epoch_units > allowance * (
        1 - 1e-6
    )


@given(EPOCHS, EACH, st.floats(0.0, 0.5), st.integers(0, 20), st.floats(1.0, 30.0))
def test_longer_trainings_may_cost_more_an_epoch(
    epochs: int, epoch_units: float, dearer: float, warm_up: int, share: float
) -> None:
    """A warm-up at a lower price, and a price that grows: planned lengths are corrected by what they came to."""

    def cost(length: int) -> float:
        warm = min(length / 3, warm_up)
        return (warm + (length - warm) * (1 + dearer * (1 - 1 / length))) * epoch_units

    allowance = share * cost(epochs)
    costs, wanted = searched(cost, epochs, allowance)
    assert ComputeCandidate(epochs, 1) in wanted
    for length, members in wanted:
        assert costs[length] * members <= allowance * (1 + 1e-6)


@given(EPOCHS, EACH, st.floats(0.0, 0.999))
def test_nothing_is_tried_where_no_epoch_fits(epochs: int, epoch_units: float, share: float) -> None:
    assert compute_candidates({epochs: epochs * epoch_units}, epochs, share * epoch_units) == []


def test_lengths_and_members_are_powers_of_two_and_the_most_that_fit() -> None:
    costs = {length: 3.0 * length for length in (2, 4, 8, 16, 22)}
    # 22 epochs of 3 units fit into 66
    assert compute_candidates(costs, 4, 66.0) == [
        *((2, 1), (2, 2), (2, 4), (2, 8)),
        *((4, 1), (4, 2), (4, 4), (4, 5)),
        *((8, 1), (8, 2)),
        (16, 1),
        (22, 1),
    ]
    # what isn't known yet is tried with one member first
    assert compute_candidates({4: 12.0}, 4, 66.0) == [(2, 1), (4, 1), (4, 2), (4, 4), (4, 5), (8, 1), (16, 1), (22, 1)]
    # a method dearer than the allowance gets fewer epochs
    assert compute_candidates({8: 160.0}, 8, 100.0) == [(2, 1), (4, 1), (5, 1)]
    assert compute_candidates({8: 160.0, 5: 100.0, 4: 80.0, 2: 40.0}, 8, 100.0) == [(2, 1), (2, 2), (4, 1), (5, 1)]
    assert longest_training({4: 100.0, 40: 1040.0}, 1000.0) == 38


def test_a_run_of_another_length_keeps_all_else() -> None:
    spec = spec_of(schedule="step:2,3@0.1")
    assert resize_run(spec, ComputeCandidate(4, 1)) == spec
    longer = resize_run(spec, ComputeCandidate(8, 3))
    assert (longer.epochs, longer.members, longer.schedule) == (8, 3, "step:4,6@0.1")
    assert longer.model_copy(update={"epochs": 4, "members": 1, "schedule": spec.schedule}) == spec


def test_each_setting_has_the_allowance_of_its_dearest_row() -> None:
    specs = [spec_of(method=name, rate=rate, seed=seed) for rate in (0.2, 0.4) for name in "ab" for seed in (0, 1)]
    tried = rows_of_plan(specs)
    assert [len(row.firsts) for row in tried] == [2, 2, 2, 2]
    for row, units in zip(tried, (3, 20, 3, None), strict=True):
        records = {
            spec.run_id: {"spec": spec.model_dump(), "measures": {"units_per_sample_epoch": units}}
            for spec in row.firsts
        }
        row.learn(records, 4)
    low, high = specs[0].setting_id, specs[-1].setting_id
    assert compute_allowances(tried, None) == {low: 80.0, high: 12.0}
    assert compute_allowances(tried, 50.0) == {low: 50.0, high: 50.0}
    assert compute_allowances([RowProgress([specs[0]])], None) == {}


@pytest.mark.parametrize("units", [None, "3", True, float("nan")])
def test_a_record_that_does_not_say_what_it_cost(units: Any) -> None:
    assert run_units({"spec": {"epochs": 4}, "measures": {"units_per_sample_epoch": units}}) is None


def test_a_budget_as_typed() -> None:
    assert parse_budget("equal-compute") == Budget(None)
    assert parse_budget(" equal-compute:360 ") == Budget(360.0)


@pytest.mark.parametrize(
    "typed", ["", "equal", "equal-compute:", "equal-compute:many", "equal-compute:nan", "equal-compute:inf", "360"]
)
def test_a_budget_that_is_none(typed: str) -> None:
    with pytest.raises(UsageError, match="must be equal-compute"):
        parse_budget(typed)


def test_an_allowance_below_one_epoch_of_anything() -> None:
    for typed in ("equal-compute:2.9", "equal-compute:-5", "equal-compute:0"):
        with pytest.raises(UsageError, match="costs 3 units"):
            parse_budget(typed)


@pytest.mark.parametrize(
    ("further", "reason"),
    [
        ({"protocol": "paper"}, "--protocol paper"),
        ({"hold_out": "0"}, "--hold-out 0"),
        ({"members": "2"}, "leave --members out"),
        ({"shard": "1/2"}, "leave --shard out"),
    ],
)
def test_what_leaves_nothing_to_choose(further: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Request.typed(budget="equal-compute", **further)
