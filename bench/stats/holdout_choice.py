"""The rules by which held-out labels choose between settings of a method. Pure; needs no torch.

`record_criterion` reads a run, `score_splits` sums up a setting's runs, `choose_setting` chooses between settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

Objective = Literal["noisy-val", "clean-val"]
CURVES: Mapping[str, str] = {"noisy-val": "noisy_holdout_accuracy", "clean-val": "clean_holdout_accuracy"}
"""The curve of a record that an objective reads. There is none for the test set."""
MOST_LAST_EPOCHS = 10
ENOUGH_HELD_OUT = 2000
"""Held-out labels, all splits together, that a choice should rest on at least."""


@dataclass(frozen=True)
class HoldoutScore:
    """A setting's mean criterion over the splits, 0 to 1, and its standard error."""

    mean: float
    error: float
    splits: tuple[float, ...]
    labels: int
    """Held-out labels, all splits together."""


@dataclass(frozen=True)
class HoldoutChoice:
    """Numbers of the chosen setting and of the one with the highest mean. `kept`: the default values stay."""

    chosen: int
    best: int
    kept: bool


def count_last_epochs(epochs: int) -> int:
    """The number of last epochs whose mean is the criterion: a tenth of all, at least 1 and at most 10."""
    return max(1, min(MOST_LAST_EPOCHS, epochs // 10))


def curve_criterion(curve: Sequence[float | None], last: int) -> float | None:
    """The mean of an accuracy curve's last epochs; None where one of them has no value, or the curve is shorter."""
    tail = [value for value in curve[-last:] if value is not None and math.isfinite(value)]
    return fmean(tail) if len(tail) == last else None


def record_criterion(record: Mapping[str, Any], last: int, objective: Objective = "noisy-val") -> float | None:
    """The mean accuracy of a run on held-out labels over its last epochs; None where it isn't known."""
    return curve_criterion(record["curves"].get(CURVES[objective]) or (), last)


def score_splits(splits: Sequence[float], labels: int) -> HoldoutScore:
    """The mean over splits, with its standard error. `labels`: held-out labels of all splits together.

    The error is the spread of the splits, s / sqrt(S), but never less than that of counting hits among so many labels,
    sqrt(p (1 - p) / labels): few splits may agree by chance, and one has no spread at all. Raises ValueError for none.
    """
    if not splits or labels < 1:
        raise ValueError("a score rests on one split and one label at least")
    mean = fmean(splits)
    counting = math.sqrt(max(0.0, mean * (1 - mean)) / labels)
    spread = stdev(splits) / math.sqrt(len(splits)) if len(splits) > 1 else 0.0
    return HoldoutScore(mean, max(counting, spread), tuple(splits), labels)


def choose_setting(scores: Sequence[HoldoutScore | None], default: int) -> HoldoutChoice | None:
    """The setting that a method trains with from now on: the default one, unless that lies too far below the best.

    `scores[default]` is of the default values. They stay unless they lie more than one standard error (the best's)
    below the best. None stands for a setting that couldn't be trained on every split; it is never chosen. Of equal
    ones the first is the best. Returns None where nothing could be trained.
    """
    trained = {number: score for number, score in enumerate(scores) if score is not None}
    if not trained:
        return None
    best = max(trained, key=lambda number: (trained[number].mean, -number))
    kept = default in trained and trained[default].mean >= trained[best].mean - trained[best].error
    return HoldoutChoice(default if kept else best, best, kept)


def choose_among_known(scores: Sequence[HoldoutScore | None], default: int | None) -> HoldoutChoice | None:
    """`choose_setting` where the default values may be missing (None): then there is nothing to keep."""
    if default is not None:
        return choose_setting(scores, default)
    choice = choose_setting([None, *scores], 0)
    return None if choice is None else HoldoutChoice(choice.chosen - 1, choice.best - 1, False)


def count_needed_splits(held_out: int) -> int:
    """The number of splits that together hold enough labels for a choice, with `held_out` labels each."""
    return -(-ENOUGH_HELD_OUT // held_out)
