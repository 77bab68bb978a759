"""Equal compute: which lengths and numbers of members each method tries within one allowance. Pure; needs no torch.

The unit is one forward pass of one training image through one network; a backward pass is two. An allowance is in units
for each training image, over a whole run.
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
"""How far a sum of units may stand above an allowance, as a share of it."""


@dataclass(frozen=True)
class Budget:
    """What `--budget` says. `units` None: what the dearest method needs.

    `settings`: ids of the settings whose epochs count as the methods' own; None: found out from the records.
    """

    units: float | None = None
    settings: frozenset[str] | None = None


class ComputeCandidate(NamedTuple):
    """A length of training and a number of members."""

    epochs: int
    members: int


def parse_budget(text: str) -> Budget:
    """The budget that "equal-compute" or "equal-compute:UNITS" says; raises UsageError for everything else."""
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
    """What a run cost in units for each training image; None where its record doesn't say."""
    each = record["measures"].get("units_per_sample_epoch")
    if isinstance(each, bool) or not isinstance(each, int | float) or not math.isfinite(each):
        return None
    return float(each) * int(record["spec"]["epochs"])


def is_within(units: float, allowance: float) -> bool:
    """Whether units stay within an allowance, what is only rounding aside."""
    return units <= allowance * (1 + ROUNDING)


def longest_training(costs: Mapping[int, float], allowance: float) -> int:
    """The most epochs that one member may train, by what the lengths tried so far cost; 0 where not even one.

    `costs` holds units by epochs. An epoch of a longer training may cost more (a warm-up is a smaller part of it), so
    that the dearest epoch so far counts.
    """
    return min(math.floor(epochs * allowance * (1 + ROUNDING) / units) for epochs, units in costs.items())


def compute_candidates(costs: Mapping[int, float], epochs: int, allowance: float) -> list[ComputeCandidate]:
    """What to try within an allowance, one member of the methods' own `epochs` among it where that fits.

    Lengths are half of `epochs`, `epochs` times powers of two, and the longest that fits; where not even `epochs` fit,
    the longest and half of it. Members are powers of two, and at the methods' own length as many as fit. Members of a
    length come only when `costs` (units of one member, by epochs) knows what it costs: costs are no exact multiples of
    another length's. Empty where not even one epoch fits.
    """
    most = longest_training(costs, allowance)
    if most < 1:
        return []
    own = min(epochs, most)
    lengths = {most, own, max(1, own // 2), max(1, epochs // 2)}
    length = epochs
    while length <= most:
        lengths.add(length)
        length *= 2
    found = []
    for length in sorted(each for each in lengths if each <= most):
        fit = math.floor(allowance * (1 + ROUNDING) / costs[length]) if length in costs else 1
        members = {2**power for power in range(fit.bit_length())} | ({fit} if length == own else set())
        found += [ComputeCandidate(length, count) for count in sorted(members)]
    return found


def resize_run(spec: RunSpec, candidate: ComputeCandidate) -> RunSpec:
    """A run with another length and number of members; the schedule keeps its shape."""
    return spec.model_copy(
        update={
            "epochs": candidate.epochs,
            "members": candidate.members,
            "schedule": schedules.scale_schedule(spec.schedule, spec.epochs, candidate.epochs),
        }
    )


@dataclass
class RowProgress:
    """One row of a setting on its way: its first runs (one a replicate), what was asked for beside them, and what one
    member of each length cost.
    """

    firsts: Sequence[RunSpec]
    costs: dict[int, float] = field(default_factory=dict)
    asked: set[ComputeCandidate] = field(default_factory=set)

    @property
    def spec(self) -> RunSpec:
        """The first replicate's run."""
        return self.firsts[0]

    def runs(self, candidate: ComputeCandidate) -> list[RunSpec]:
        """A candidate's runs, one a replicate."""
        return [resize_run(first, candidate) for first in self.firsts]

    def learn(self, records: Mapping[str, Mapping[str, Any]], epochs: int) -> None:
        """Take the cost of one member of this length from `records`, by run id, if there are any."""
        found = [records.get(spec.run_id) for spec in self.runs(ComputeCandidate(epochs, 1))]
        known = [units for record in found if record is not None and (units := run_units(record)) is not None]
        if known:
            self.costs[epochs] = fmean(known)


def rows_of_plan(specs: Iterable[RunSpec]) -> list[RowProgress]:
    """The runs of a plan by row: what is equal but for the seeds."""
    found: dict[str, list[RunSpec]] = {}
    for spec in specs:
        found.setdefault(spec.model_copy(update=dict.fromkeys(SEEDS, 0)).run_id, []).append(spec)
    return [RowProgress(firsts) for firsts in found.values()]


def compute_allowances(tried: Iterable[RowProgress], units: float | None) -> dict[str, float]:
    """Each setting's allowance by its id: `units`, or what its dearest row needs for its own epochs with one member.

    Settings of which no row's cost is known have none.
    """
    found: dict[str, float] = {}
    for row in tried:
        cost = row.costs.get(row.spec.epochs)
        if cost is not None:
            setting = row.spec.setting_id
            found[setting] = units if units is not None else max(cost, found.get(setting, 0.0))
    return found
