"""Equal compute: the lengths of training and numbers of members that each method tries within one allowance. Pure.

A unit is one forward pass of one training image through one network; a backward pass is two. An allowance is in units
for each training image over a whole run. Read `compute_candidates` first: it lists what a row tries. `RowProgress` is
the state of a row between two waves of runs, `compute_allowances` gives the allowance of each setting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from bench.spec import SEEDS, RunSpec, schedules
from bench.system.errors import UsageError

EQUAL_COMPUTE = "equal-compute"
LEAST_UNITS = 3.0
"""One epoch of plain training: a forward and a backward pass of each image."""
ROUNDING = 1e-9
"""The share of an allowance by which a sum of units may exceed it."""


@dataclass(frozen=True)
class Budget:
    """The budget of `--budget`. `units` None: as many as the dearest method needs.

    `settings`: ids of the settings whose epochs count as the usual ones; None: known from the records.
    """

    units: float | None = None
    settings: frozenset[str] | None = None


class ComputeCandidate(NamedTuple):
    """A length of training and a number of members."""

    epochs: int
    members: int


def parse_budget(text: str) -> Budget:
    """The budget of "equal-compute" or "equal-compute:UNITS"; raises UsageError for every other text."""
    name, colon, typed = text.strip().partition(":")
    try:
        units = float(typed) if colon else None
    except ValueError:
        units = math.nan
    if name != EQUAL_COMPUTE or (units is not None and not math.isfinite(units)):
        raise UsageError(
            f"--budget {text}: must be {EQUAL_COMPUTE} (what the dearest method needs), or {EQUAL_COMPUTE}:UNITS, such "
            f"as {EQUAL_COMPUTE}:360, units being forward passes for each training image, a backward pass two"
        )
    if units is not None and units < LEAST_UNITS:
        raise UsageError(
            f"--budget {text}: one epoch of plain training costs {LEAST_UNITS:g} units (a forward pass 1, a backward "
            f"pass 2); type --budget {EQUAL_COMPUTE}:{LEAST_UNITS:g} or more"
        )
    return Budget(units)


def run_units(record: Mapping[str, Any]) -> float | None:
    """The units of a run for each training image; None where its record doesn't hold them."""
    units = record["measures"].get("units_per_sample_epoch")
    if isinstance(units, bool) or not isinstance(units, int | float) or not math.isfinite(units):
        return None
    return float(units) * int(record["spec"]["epochs"])


def is_within(units: float, allowance: float) -> bool:
    """Whether units stay within an allowance, up to rounding."""
    return units <= allowance * (1 + ROUNDING)


def longest_training(costs: Mapping[int, float], allowance: float) -> int:
    """The most epochs that one member may train; 0 where not even one fits. `costs` holds units by epochs.

    An epoch of a longer training may cost more (a warm-up is a smaller part of it), so that the dearest epoch of all
    lengths counts.
    """
    return min(math.floor(epochs * allowance * (1 + ROUNDING) / units) for epochs, units in costs.items())


def compute_candidates(costs: Mapping[int, float], epochs: int, allowance: float) -> list[ComputeCandidate]:
    """The candidates within an allowance, one member of the usual `epochs` among them where that fits.

    Lengths are half of `epochs`, `epochs` times powers of two, and the longest that fits; where not even `epochs` fit,
    the longest and half of it. Members are powers of two, and at the usual length as many as fit. Only a length in
    `costs` (units of one member, by epochs) has several members: costs are no exact multiples of another length's.
    Empty where not even one epoch fits.
    """
    most = longest_training(costs, allowance)
    if most < 1:
        return []
    usual = min(epochs, most)
    lengths = {most, usual, max(1, usual // 2), max(1, epochs // 2)}
    lengths |= {epochs << power for power in range((most // epochs).bit_length())}
    candidates = []
    for length in sorted(length for length in lengths if length <= most):
        fit = math.floor(allowance * (1 + ROUNDING) / costs[length]) if length in costs else 1
        members = {2**power for power in range(fit.bit_length())} | ({fit} if length == usual else set())
        candidates += [ComputeCandidate(length, count) for count in sorted(members)]
    return candidates


def resize_run(spec: RunSpec, candidate: ComputeCandidate) -> RunSpec:
    """A run with another length and number of members; the schedule keeps its shape."""
    schedule = schedules.scale_schedule(spec.schedule, spec.epochs, candidate.epochs)
    return spec.model_copy(update={**candidate._asdict(), "schedule": schedule})


@dataclass
class RowProgress:
    """A row of a setting: its first runs (one for each replicate), the candidates beside them, and costs.

    `costs`: units of one member, by epochs.
    """

    firsts: Sequence[RunSpec]
    costs: dict[int, float] = field(default_factory=dict)
    candidates: set[ComputeCandidate] = field(default_factory=set)

    @property
    def spec(self) -> RunSpec:
        """The first replicate's run."""
        return self.firsts[0]

    def runs(self, candidate: ComputeCandidate) -> list[RunSpec]:
        """A candidate's runs, one for each replicate."""
        return [resize_run(first, candidate) for first in self.firsts]

    def learn(self, records: Mapping[str, Mapping[str, Any]], epochs: int) -> None:
        """Set the cost of one member of this length from `records`, by run id, if there are any."""
        run_ids = [spec.run_id for spec in self.runs(ComputeCandidate(epochs, 1))]
        costs = [run_units(records[run_id]) for run_id in run_ids if run_id in records]
        measured = [units for units in costs if units is not None]
        if measured:
            self.costs[epochs] = fmean(measured)


def rows_of_plan(specs: Iterable[RunSpec]) -> list[RowProgress]:
    """The rows of a plan: runs that differ only in their seeds are one row."""
    rows: dict[str, list[RunSpec]] = {}
    for spec in specs:
        rows.setdefault(spec.model_copy(update=dict.fromkeys(SEEDS, 0)).run_id, []).append(spec)
    return [RowProgress(firsts) for firsts in rows.values()]


def compute_allowances(rows: Iterable[RowProgress], units: float | None) -> dict[str, float]:
    """Each setting's allowance by its id: `units`, or the cost of its dearest row's usual epochs with one member.

    A setting without a row of known cost has none.
    """
    allowances: dict[str, float] = {}
    for row in rows:
        cost = row.costs.get(row.spec.epochs)
        if cost is not None:
            setting = row.spec.setting_id
            allowances[setting] = units if units is not None else max(cost, allowances.get(setting, 0.0))
    return allowances
