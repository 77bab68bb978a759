"""Lengths of a training: published ones are shares of their own training, and scale with the run's.

A share is what a recipe holds ("10 of 300 epochs" is 10 / 300), so that a run of any length spends the same part of
itself on warming up. Momenta per visit aren't lengths and don't scale.
"""

from __future__ import annotations

import math

from torch import Tensor, arange, exp, float64

from methods.interface import Method, Parameter, Search, Setting, Steps, Task

LONGEST_WARM_UP = 1 / 3
"""A warm-up takes at most this share of a training that is shorter than the published one."""


def epochs_of(share: float, epochs: int) -> int:
    """Whole epochs that `share` in [0, 1] of `epochs` is, at least 1; 0 only of a share of 0."""
    return 0 if share == 0 else max(1, round(share * epochs))


def published_epochs(method: Method, name: str) -> int | None:
    """Epochs of the shortest training that was published with this value of the method's parameter `name`, or None."""
    default = next(parameter.default for parameter in method.parameters if parameter.name == name)
    trainings = [
        recipe.training for recipe in method.recipes if recipe.values.get(name, default) == getattr(method, name)
    ]
    return min((training["epochs"] for training in trainings if "epochs" in training), default=None)


def warm_up_epochs(share: float, task: Task, published: int | None = None) -> int:
    """Epochs of a warm-up of `share`: at least 2 epochs and 100 steps, at most a third of the training.

    In a training of at least `published` epochs, the length that the share was published for, it is just the share. A
    share of 0 is no warm-up. A warm-up never takes the whole training, unless that is a single epoch.
    """
    if share == 0:
        return 0
    if published is not None and task.epochs >= published:
        return epochs_of(share, task.epochs)
    lowest = max(2, math.ceil(100 / task.steps_per_epoch))
    return min(max(epochs_of(share, task.epochs), lowest), max(1, task.epochs // 3))


def warm_up_parameter(share: float, source: str, high: float = LONGEST_WARM_UP) -> Parameter:
    """The parameter `warm_up` as every method that has one declares it; `source` names where `share` is from.

    `high`: the largest share, more than a third only where a longer one was published.
    """
    return Parameter(
        "warm_up",
        share,
        "share of the training that is plain cross-entropy first (in one that is shorter than published at least 2 "
        "epochs and 100 steps, at most a third)",
        source,
        low=0.0,
        high=high,
        search=Search("uniform", 0.02, 0.3),
    )


def too_short(name: str, setting: Setting, epochs: int = 2) -> str | None:
    """Why a training of `setting.epochs` has no room for a warm-up and what follows it, or None."""
    if setting.epochs >= epochs:
        return None
    return f"{name} warms up before it selects and needs at least {epochs} epochs: type --epochs {epochs} or more"


def step_times(epoch: int, steps: Steps) -> Tensor:
    """Epochs passed at the start of each step of an epoch, float64 (steps,): epoch, epoch + 1/steps, ..."""
    return epoch + arange(steps.count, dtype=float64) / steps.count


def linear_ramp(times: Tensor, start: float, length: float) -> Tensor:
    """0 until `start`, then linearly to 1 over `length` (same unit as `times`); a length of 0 is a step up.

    Source: the ramp of MixMatch's and DivideMix's unlabelled weight.
    """
    if length <= 0:
        return (times >= start).to(times.dtype)
    return ((times - start) / length).clamp(0, 1)


def sigmoid_ramp(times: Tensor, length: float) -> Tensor:
    """exp(-5 (1 - t / length)^2), 1 from `length` on; a length of 0 is 1 throughout.

    Source: Laine and Aila, "Temporal ensembling", ICLR 2017.
    """
    if length <= 0:
        return times * 0 + 1
    return exp(-5 * (1 - (times / length).clamp(0, 1)) ** 2)
