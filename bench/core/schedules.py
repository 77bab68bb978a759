"""Learning-rate schedules, by the names that a run's identity holds. No torch: planning checks names with it."""

from __future__ import annotations

import math

from bench.errors import UsageError, nearest

SCHEDULES = ("cosine", "constant", "step:40,80@0.1", "exponential:0.97", "cosine-restarts:10")
OPTIMIZERS = ("sgd", "adam", "adamw")
"""What `bench.core.optimizers` makes."""


def learning_rate(schedule: str, base: float, epoch: int, epochs: int) -> float:
    """The learning rate of `epoch` (from 0) out of `epochs`.

    "cosine" falls from `base` to 0 in the epoch after the last, as in the official ANL and APL code;
    "step:40,80@0.1" multiplies by 0.1 at epochs 40 and 80; "exponential:0.97" multiplies by 0.97 each epoch;
    "cosine-restarts:10" is a cosine over 10 epochs again and again, down to a twentieth of the base rate, as in ELR's
    official settings.
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
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(f"schedule {schedule!r} can't be read; write it like one of: {', '.join(SCHEDULES)}") from None
    guess = nearest(kind, (name.partition(":")[0] for name in SCHEDULES))
    hint = f"did you mean {guess[0]}?" if guess else "schedules look like: " + ", ".join(SCHEDULES)
    raise UsageError(f"no schedule is called {schedule!r}; {hint}")
