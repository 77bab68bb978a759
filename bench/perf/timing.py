"""Timing on machines with other load: calls alternate in one process, and ratios come with an interval."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from bench.system.text import format_duration

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Median:
    """A median with its 95 % interval from order statistics: no assumption on the distribution."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def median(values: Seconds) -> Median:
    """The median of independent values (n,), n >= 1, with its interval; with fewer than 6 it is their range."""
    ordered = np.sort(values)
    low = max(int(binom.ppf(0.025, len(ordered), 0.5)) - 1, 0)
    high = min(int(binom.ppf(0.975, len(ordered), 0.5)) + 1, len(ordered) - 1)
    return Median(float(np.median(ordered)), float(ordered[low]), float(ordered[high]))


class PairProgress:
    """Says now and then how many pairs of steps of a backbone are timed, and how long the rest takes.

    `turns` are all that come, `more` what follows them, in turns. Nothing is said of what is over in `between` seconds.
    """

    def __init__(
        self,
        name: str,
        turns: int,
        more: float,
        say: Callable[[str], None],
        between: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.turns, self.more, self.say, self.between, self.clock = name, turns, more, say, between, clock
        self.limit = math.inf
        """Seconds after which the turns end."""
        self._began = self._last = clock()

    def __call__(self, done: int) -> None:
        """`done` turns are over."""
        now = self.clock()
        if now - self._last < self.between:
            return
        self._last = now
        turn = (now - self._began) / done
        rest = min(turn * (self.turns - done), max(0.0, self.limit - (now - self._began))) + turn * self.more
        self.say(f"perf: {self.name}, {done} of {self.turns} turns; about {format_duration(rest)} left for it")


def device_waiter(device: torch.device) -> Callable[[], None]:
    """A call that returns when the device has finished its queued work."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def time_alternately(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, warm_up: int = 2
) -> dict[str, Seconds]:
    """Seconds (rounds,) of each of `calls`, made in turn; each round starts with the next one."""
    wait, names = device_waiter(device), list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + warm_up):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            wait()
            began = time.perf_counter()
            calls[name]()
            wait()
            seconds[name].append(time.perf_counter() - began)
    return {name: np.array(values[warm_up:]) for name, values in seconds.items()}
