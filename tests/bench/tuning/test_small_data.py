"""Studies on small training sets: a bounded number of runs, and a note on what the choice rests on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bench.execution.worker import load_file
from bench.stats.holdout_choice import ENOUGH_HELD_OUT
from bench.tuning.study.definition import TIMES_HELD_OUT, StudyDefinition, count_splits, note_few_labels

HELPER = Path(__file__).parents[1] / "fake_tuning.py"


@given(st.integers(1, 100_000), st.floats(0.01, 0.99))
def test_splits_hold_enough_labels_out_or_every_label_so_often(samples: int, share: float) -> None:
    held_out = max(1, round(share * samples))
    splits = count_splits(held_out, samples)
    enough = splits * held_out >= ENOUGH_HELD_OUT
    assert enough or splits * held_out >= TIMES_HELD_OUT * samples
    fewer = (splits - 1) * held_out
    assert fewer < min(ENOUGH_HELD_OUT, TIMES_HELD_OUT * samples)


def test_data_that_is_large_enough_has_the_splits_that_it_always_had() -> None:
    """Digits, and sets from 1,000 images up: studies that exist go on."""
    assert count_splits(140, 1400) == 15
    assert count_splits(100, 1000) == 20
    assert count_splits(6, 64) == 22


def study(splits: int, held_out: int, hold_out: float, make: Any) -> StudyDefinition:
    definition = make(splits=splits)
    base = definition.base.model_copy(update={"hold_out": hold_out})
    return replace(definition, base=base, held_out=held_out)


def test_a_choice_by_few_labels_is_noted_with_what_lowers_the_runs() -> None:
    make = load_file(HELPER).definition_for
    note = note_few_labels(study(22, 6, 0.1, make)) or ""
    assert "22 splits of 6 held-out labels are 132 labels" in note
    assert "--trials" in note and "--hold-out 0.2" in note
    assert "--hold-out" not in (note_few_labels(study(4, 40, 0.4, make)) or "--hold-out")
    assert note_few_labels(study(20, 100, 0.1, make)) is None
