"""Which recipe a method runs with: the plain rule, the published rule, and what a choice gives away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.planning.recipe_choice import matching_recipes, plain_recipe, published_recipe

NOISES = ["sym", "sym-incl", "asym", "pairflip"]
RATES = [0.2, 0.4, 0.5, 0.8]


def recipe(noise: str | None, rate: float | None, q: float = 0.5, **more: Any) -> dict[str, Any]:
    return {"data_set": "cifar10", "model": None, "noise": noise, "rate": rate, "values": {"q": q}, **more}


recipes = st.lists(
    st.builds(
        recipe,
        st.sampled_from([None, *NOISES]),
        st.sampled_from([None, *RATES]),
        st.floats(0.1, 1),
    ),
    max_size=6,
)


def test_the_unkeyed_recipe_is_the_plain_one() -> None:
    published = [recipe("sym", 0.4, 1), recipe(None, None, 2), recipe(None, None, 3)]
    assert plain_recipe(published).values == {"q": 2}


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        ([recipe("sym", 0.5, 5), recipe("sym", 0.4, 4), recipe("asym", 0.4, 9)], 4),
        ([recipe("sym-incl", 0.4, 4), recipe("sym", 0.5, 5)], 4),
        ([recipe("sym", 0.5, 5), recipe("sym", 0.2, 2)], 5),
        ([recipe("asym", None, 7), recipe("sym", None, 6)], 6),
    ],
)
def test_without_one_it_is_symmetric_noise_at_0_4_then_0_5(published: list[dict[str, Any]], expected: float) -> None:
    assert plain_recipe(published).values == {"q": expected}


def test_failing_all_the_defaults_hold() -> None:
    assert plain_recipe([recipe("asym", 0.2)]).recipe is None
    assert plain_recipe([]).values == {}


@pytest.mark.parametrize(
    ("noise", "rate", "value", "privileges"),
    [
        ("sym", 0.2, 2, ("noise_kind", "noise_rate")),
        ("sym", 0.8, 1, ("noise_kind",)),
        ("asym", 0.8, 8, ("noise_rate",)),
        ("asym", 0.4, 0, ()),
        ("none", None, 0, ()),
    ],
)
def test_published_says_what_it_was_keyed_by(noise: str, rate: float, value: float, privileges: tuple[str]) -> None:
    published = [recipe(None, None, 0), recipe("sym", None, 1), recipe("sym", 0.2, 2), recipe(None, 0.8, 8)]
    chosen = published_recipe(published, noise, rate)
    assert chosen.values == {"q": value}
    assert chosen.privileges == privileges


@given(recipes, st.lists(st.tuples(st.sampled_from(NOISES), st.sampled_from(RATES)), min_size=2, max_size=6))
def test_unmarked_parameters_are_equal_for_every_noise_and_rate(
    published: list[dict[str, Any]], runs: list[Any]
) -> None:
    unmarked = [
        chosen.values for chosen in (published_recipe(published, *run) for run in runs) if not chosen.privileges
    ]
    assert all(values == plain_recipe(published).values for values in unmarked)
    assert plain_recipe(published).privileges == ()


def test_a_recipe_of_the_backbone_comes_first() -> None:
    other, same, unkeyed = recipe(None, None, 1), recipe(None, None, 2), recipe(None, None, 3)
    other["model"], same["model"] = "resnet34", "cnn8"
    elsewhere = recipe(None, None, 4) | {"data_set": "mnist"}
    ordered = matching_recipes([other, unkeyed, elsewhere, same], "cifar10", "cnn8")
    assert [item["values"]["q"] for item in ordered] == [2, 3, 1]
