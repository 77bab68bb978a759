"""Judging labels by averaged weights: offered alike by every method that judges by losses, and off unless asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.planning.facts import ResolvedMethod
from bench.planning.recipe_choice import RecipeChoice
from bench.planning.resolve_run import resolve_parameters
from bench.registry import load_method, methods
from methods.interface import Parameter, Search
from methods.pieces.judges import DECAY, JUDGE, judge_decay, judge_of, judged_logits, make_judges

OFFERED = sorted(
    name for name, entry in methods().items() if any(each["name"] == JUDGE.name for each in entry["parameters"])
)
SHORT: dict[str, dict[str, Any]] = {
    "dividemix": {"warm_up": 1 / 3},
    "flsc": {"warm_up": 1 / 3, "erasing": 0.0},
    "co-teaching+": {"init": 0.0},
    "jocor": {"lam": 0.5},
    "cores2": {"sieve": 0.0, "delay": 0.0},
    "mixnn": {"correction_start": 0.5},
}


def test_every_selector_by_loss_offers_it() -> None:
    assert {"dividemix", "flsc", "co-teaching", "co-teaching+", "jocor", "cores2", "mixnn", "m-correction"} <= set(
        OFFERED
    )


@pytest.mark.parametrize("name", OFFERED)
def test_another_judge_trains_otherwise_and_repeats(trained: Any, equal: Any, name: str) -> None:
    make = load_method(name)
    last, first, again = (
        trained(make(**SHORT.get(name, {}), judge=judge), rate=0.5, epochs=4) for judge in ("last", "ema", "ema")
    )
    assert equal(first, again) and not equal(first, last)


@pytest.mark.parametrize("name", OFFERED)
def test_a_run_by_the_last_weights_is_written_as_before(name: str) -> None:
    declaration = methods()[name]
    untyped, typed, averaged = (
        resolve_parameters(ResolvedMethod(None, declaration, values), RecipeChoice(None, ()))  # type: ignore[arg-type]
        for values in ({}, {"judge": "last"}, {"judge": "ema"})
    )
    assert untyped == typed and "judge" not in untyped
    assert averaged == untyped | {"judge": "ema"}
    assert load_method(name)(**untyped).judge == "last"


def test_what_was_added_later_is_not_searched() -> None:
    with pytest.raises(ValueError, match="can't be searched"):
        Parameter("a", 0.5, "b", "c", search=Search("uniform", 0, 1), added_later=True)


@given(st.integers(0, 10**6))
def test_an_average_reaches_back_over_a_tenth_of_the_steps_and_two_hundred_at_most(updates: int) -> None:
    decay = judge_decay(updates)
    assert 0 < decay <= DECAY and judge_decay(updates + 1) >= decay
    assert 1 / (1 - decay) == pytest.approx(min((updates + 10) / 9, 200))


class Networks:
    """A task that averages, and a step whose first stream holds one image."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.streams = {"all": self, "others": None}
        self.views = [torch.ones(1, 2)]

    def average(self, network: int, decay: Any) -> Any:
        self.asked.append(network)
        return lambda images: images * (network + 2)


def test_judges_are_averages_of_each_network_and_see_the_batch_without_gradient() -> None:
    task: Any = Networks()
    logits = [torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)]
    assert make_judges(task, "last", 2) == () and task.asked == []
    assert judged_logits((), task, logits) is logits and judge_of((), 1) == 1
    judges = make_judges(task, "ema", 2)
    assert task.asked == [0, 1] and judge_of(judges, 1) is judges[1]
    found = judged_logits(judges, task, logits)
    assert [each.tolist() for each in found] == [[[2.0, 2.0]], [[3.0, 3.0]]]
    assert not any(each.requires_grad for each in found)
