"""The rules of every choice: what is looked at, how sure it is, and what stays as it was. Pure; needs no torch."""

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


@dataclass(frozen=True)
class HoldoutScore:
    """What a setting came to over the splits: the mean of their criteria, 0 to 1, and its standard error."""

    mean: float
    error: float
    splits: tuple[float, ...]
    labels: int
    """Held-out labels that it rests on, all splits together."""


@dataclass(frozen=True)
class HoldoutChoice:
    """Which setting was chosen, by its number. `kept`: the method's own. `best`: the highest mean's."""

    chosen: int
    best: int
    kept: bool


def count_last_epochs(epochs: int) -> int:
    """Over how many of the last epochs a criterion is the mean: a tenth of them all, at least 1 and at most 10."""
    return max(1, min(MOST_LAST_EPOCHS, epochs // 10))


def curve_criterion(curve: Sequence[float | None], last: int) -> float | None:
    """The mean of an accuracy curve's last epochs; None where one of them has none, or there are none."""
    tail = [value for value in curve[-last:] if value is not None and math.isfinite(value)]
    return fmean(tail) if len(tail) == last else None


def record_criterion(record: Mapping[str, Any], last: int, objective: Objective = "noisy-val") -> float | None:
    """A record's criterion."""
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


def choose_setting(scores: Sequence[HoldoutScore | None], own: int) -> HoldoutChoice | None:
    """The setting that a method trains with from now on: its own, unless that lies too far below the best.

    `scores[own]` is of the values that it had before. They stay unless they lie more than one standard error (the
    best's) below the best. None stands for a setting that couldn't be trained on every split; it is never chosen. Of
    equal ones the first is the best. None where nothing could be trained.
    """
    known = [number for number, each in enumerate(scores) if each is not None]
    if not known:
        return None
    best = max(known, key=lambda number: (_mean(scores[number]), -number))
    first = scores[best]
    mine = scores[own]
    kept = mine is not None and first is not None and mine.mean >= first.mean - first.error
    return HoldoutChoice(own if kept else best, best, kept)


def choose_among_known(scores: Sequence[HoldoutScore | None], own: int | None) -> HoldoutChoice | None:
    """`choose` where the own values may be missing (None): then there is nothing to keep."""
    if own is not None:
        return choose_setting(scores, own)
    found = choose_setting([None, *scores], 0)
    return None if found is None else HoldoutChoice(found.chosen - 1, found.best - 1, False)


def _mean(one: HoldoutScore | None) -> float:
    return -math.inf if one is None else one.mean


def count_needed_splits(held_out: int) -> int:
    """How many splits of `held_out` labels each hold enough labels for a choice."""
    return -(-ENOUGH_HELD_OUT // held_out)


ENOUGH_HELD_OUT = 2000
"""Held-out labels, all splits together, that a choice of the shared protocol's grid rests on at least."""
