"""Learning-rate schedules, by the names that a run's identity holds. No torch: planning checks names with it."""

from __future__ import annotations

import math

from bench.system.errors import UsageError, nearest_names

SCHEDULES = (
    *("cosine", "constant", "step:40,80@0.1", "exponential:0.97", "cosine-restarts:10", "linear:80"),
    "linear:80@momentum=0.1",
)
OPTIMIZERS = ("sgd", "adam", "adamw")
"""The optimisers of `bench.training.optimizers`."""


def canonical_schedule(schedule: str) -> str:
    """The one name of a schedule, as a run's identity holds it: "step: 80,40" -> "step:40,80@0.1".

    Raises UsageError for an unknown schedule, and for wrong numbers: epochs are whole and at least 1, factors above 0
    and at most 1.
    """
    return scale_schedule(schedule, 1, 1)


def scale_schedule(schedule: str, published: int, epochs: int) -> str:
    """A schedule for `published` epochs, stretched to `epochs` with its shape kept; canonical.

    Milestones and periods move with the total, to at least 1 epoch; an exponential reaches the same rate at the end.
    Raises UsageError as `canonical_schedule` does.
    """
    kind, _, argument = "".join(schedule.split()).partition(":")
    learning_rate_at(f"{kind}:{argument}" if argument else kind, 0.1, 0, 1)  # raises for an unknown schedule
    share = epochs / published
    try:
        if kind == "step":
            milestones, _, factor = argument.partition("@")
            scaled = sorted(_scale_epoch(text, share) for text in milestones.split(","))
            return f"step:{','.join(map(str, scaled))}@{_parse_factor(factor or '0.1')!r}"
        if kind == "exponential":
            rate = _parse_factor(argument)
            return f"exponential:{rate if share == 1 else round(rate ** (1 / share), 9)!r}"
        if kind == "cosine-restarts":
            return f"cosine-restarts:{_scale_epoch(argument, share)}"
        if kind == "linear":
            first, momentum = _parse_linear(argument)
            return f"linear:{_scale_epoch(str(first), share)}" + ("" if momentum is None else f"@momentum={momentum!r}")
    except ValueError:
        raise UsageError(
            f"schedule {schedule!r}: epochs are whole numbers from 1, factors above 0 and at most 1, a momentum is "
            f"from 0 to below 1; write it like one of: {', '.join(SCHEDULES)}"
        ) from None
    return kind


def restart_period(schedule: str) -> int | None:
    """Epochs from one restart of the learning rate to the next; None for a schedule without restarts."""
    kind, _, argument = schedule.partition(":")
    return int(argument) if kind == "cosine-restarts" else None


def _scale_epoch(text: str, share: float) -> int:
    """The epoch in `text` times `share`, halves upwards, at least 1."""
    epoch = int(text)
    if epoch < 1:
        raise ValueError(text)
    return max(1, math.floor(epoch * share + 0.5))


def _parse_factor(text: str) -> float:
    """The factor in `text`, above 0 and at most 1; raises ValueError for other numbers."""
    factor = float(text)
    if not 0 < factor <= 1:
        raise ValueError(text)
    return factor


def _parse_linear(argument: str) -> tuple[int, float | None]:
    """The first epoch of a linear fall, and the momentum from then on (None: as before) -> "80@momentum=0.1"."""
    first, at, change = argument.partition("@")
    if not at:
        return int(first), None
    name, _, text = change.partition("=")
    momentum = float(text) if name == "momentum" else -1.0
    if not 0 <= momentum < 1:
        raise ValueError(change)
    return int(first), momentum


def momentum_at(schedule: str, base: float, epoch: int) -> float:
    """The momentum (Adam's beta1) of `epoch` (from 0): `base`, unless a linear schedule changes it on its way."""
    kind, _, argument = schedule.partition(":")
    if kind != "linear":
        return base
    first, momentum = _parse_linear(argument)
    return base if momentum is None or epoch < first else momentum


def learning_rate_at(schedule: str, base: float, epoch: int, epochs: int) -> float:
    """The learning rate of `epoch` (from 0) out of `epochs`.

    "cosine" falls from `base` to 0 in the epoch after the last, as in the official ANL and APL code;
    "step:40,80@0.1" multiplies by 0.1 at epochs 40 and 80; "exponential:0.97" multiplies by 0.97 each epoch;
    "cosine-restarts:10" is a cosine over 10 epochs again and again, down to a twentieth of the base rate, as in ELR's
    official settings; "linear:80" is `base` up to epoch 80 and falls from there in a line, to 0 in the epoch after the
    last, as in the official code of Co-teaching ("@momentum=0.1": see `momentum_at`).
    """
    kind, _, argument = schedule.partition(":")
    try:
        if kind == "constant" and not argument:
            return base
        if kind == "cosine" and not argument:
            return base * (1 + math.cos(math.pi * epoch / epochs)) / 2
        if kind == "step":
            milestones, _, factor = argument.partition("@")
            passed = sum(epoch >= int(milestone) for milestone in milestones.split(","))
            return base * float(factor or 0.1) ** passed
        if kind == "exponential":
            return base * float(argument) ** epoch
        if kind == "cosine-restarts":
            period = int(argument)
            return base * (0.05 + 0.95 * (1 + math.cos(math.pi * (epoch % period) / period)) / 2)
        if kind == "linear":
            first, _ = _parse_linear(argument)
            return base if epoch <= first else base * (epochs - epoch) / (epochs - first)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(f"schedule {schedule!r} can't be read; write it like one of: {', '.join(SCHEDULES)}") from None
    guess = nearest_names(kind, (name.partition(":")[0] for name in SCHEDULES))
    hint = f"did you mean {guess[0]}?" if guess else "schedules look like: " + ", ".join(SCHEDULES)
    raise UsageError(f"no schedule is called {schedule!r}; {hint}")
