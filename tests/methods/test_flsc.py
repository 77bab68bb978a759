"""FLSC in the real training core: it is DivideMix with both terms off, and each term does what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.dividemix import DivideMix
from methods.flsc import ForegroundLocalisation
from methods.pieces.erasing import erasing_strength

SHORT = {"warm_up": 1 / 3, "lambda_u": 5.0}
OFF = {"localisation": 0.0, "erasing": 0.0}


@pytest.mark.parametrize("fields", [{}, {"epochs": 2}, {"precision": "bf16"}])
def test_with_both_terms_off_it_is_dividemix_bit_for_bit(trained: Any, equal: Any, fields: dict[str, Any]) -> None:
    assert equal(trained(DivideMix(**SHORT), **fields), trained(ForegroundLocalisation(**SHORT, **OFF), **fields))


@pytest.mark.parametrize(
    "values",
    [
        {"erasing": 0.0},
        {"localisation": 1.0, "erasing": 0.0, "stage": "before-last"},
        {"localisation": 0.3, "erasing": 0.0, "reduction": "feature"},
        {"localisation": 0.0, "erasing": 1.0},
        {"localisation": 0.0, "erasing": 1.0, "erase": "random"},
        {"localisation": 0.0, "erasing": 1.0, "erase": "area"},
        {"localisation": 0.0, "erasing": 1.0, "erase": "input"},
        {"localisation": 1.0, "erasing": 0.5, "stage": "before-last", "reduction": "feature"},
        {"localisation": 1.0, "erasing": 0.5, "stage": "stage1", "reduction": "entropy"},
    ],
)
def test_each_term_changes_the_training_and_repeats(trained: Any, equal: Any, values: dict[str, Any]) -> None:
    first = trained(ForegroundLocalisation(**SHORT, **values))
    assert equal(first, trained(ForegroundLocalisation(**SHORT, **values)))
    assert not equal(first, trained(ForegroundLocalisation(**SHORT, **OFF)))


def test_controls_of_the_erasing_differ_from_it(trained: Any, equal: Any) -> None:
    ways = ("features", "random", "area", "input")
    found = [trained(ForegroundLocalisation(**SHORT, localisation=0.0, erase=way)) for way in ways]
    assert not any(equal(one, other) for number, one in enumerate(found) for other in found[:number])


def test_the_erasing_moves_no_batch_statistic(trained: Any) -> None:
    """A term of weight 1e-30 changes no weight, so that only the branch itself could leave a trace."""
    plain = trained(ForegroundLocalisation(**SHORT, **OFF))
    branch = trained(ForegroundLocalisation(**SHORT, localisation=0.0, erasing=1e-30))
    names = [name for name in plain[0] if "running" in name]
    assert names
    for left, right in zip(plain, branch, strict=True):
        for name in names:
            torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=1e-6)


def test_both_stages_are_on_by_default() -> None:
    method = ForegroundLocalisation()
    assert (method.reduction, method.localisation, method.erase) == ("foreground", 0.5, "features")
    assert method.erasing > 0


def test_a_wrong_stage_is_refused_before_the_warm_up(trained: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="stage=layer7 must be last, before-last or one of this network's: stage1"):
        trained(ForegroundLocalisation(stage="layer7"))
    trained(ForegroundLocalisation(stage="layer7", **OFF), epochs=2)


@given(floor=st.floats(0, 1), slope=st.floats(0, 1), values=st.lists(st.floats(0, 1, width=32), min_size=2))
def test_erasing_is_stronger_the_less_a_label_is_believed(floor: float, slope: float, values: list[float]) -> None:
    clean = torch.tensor(values).sort().values
    strength = erasing_strength(clean, floor, slope)
    assert (strength.diff() <= 1e-6).all()
    assert (strength >= floor - 1e-6).all() and (strength <= floor + slope + 1e-6).all()
