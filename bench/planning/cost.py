"""What a run is expected to cost, from declarations alone: the same on every machine, whatever it has stored.

A unit is one forward pass of one training image through one network; a backward pass is two.
"""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import Any

from pydantic import ValidationError

from bench.records.store import Store
from bench.spec import RunSpec

UNITS_PER_NETWORK = 3.0
"""A forward and a backward pass."""


@dataclass(frozen=True)
class DeclaredCosts:
    """Costs by what methods and models declare (`bench.registry.lookup.methods()` and `models()`)."""

    methods: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]

    def units(self, spec: RunSpec) -> float:
        """Units for each training image of the whole run."""
        declared = self.methods.get(spec.method, {})
        networks = declared.get("networks", 1)
        base = declared.get("units")
        if base is None:  # a number of networks that depends on a parameter is known to the method alone
            base = UNITS_PER_NETWORK * (networks if isinstance(networks, int) else 1)
        for name, each in (declared.get("units_per") or {}).items():
            base += each * float(spec.parameters.get(name, 0))
        return max(base, 1.0) * spec.members * spec.epochs

    def work(self, spec: RunSpec) -> float:
        """Megaflops for each training image of 32 x 32: what runs of one data set can be compared by."""
        name = "timm:NAME" if spec.model.startswith("timm:") else spec.model
        return self.units(spec) * float(self.models.get(name, {}).get("megaflops", 1.0))


MOST_READ = 200
"""Records that are opened for a forecast: a dry run over a large store has to answer at once."""

WORKLOAD = (
    "data_set",
    "data_sha256",
    "train_size",
    "imbalance",
    "image_size",
    "model",
    "augmentation",
    "strong_augmentation",
    "batch_size",
    "optimizer",
    "hold_out",
    "precision",
    "world_size",
)
"""Fields of a spec that a unit's time depends on."""


@dataclass(frozen=True)
class TimeForecast:
    """Seconds that runs are expected to take one after another, and what that rests on.

    `by_method` runs go by records of the same method, `by_others` by other methods' seconds for each unit; for
    `unknown` runs there is no record to go by, and they are in no sum. `longest` is the longest single run.
    """

    seconds: float = 0.0
    longest: float = 0.0
    by_method: int = 0
    by_others: int = 0
    unknown: int = 0

    def wall(self, jobs: int) -> float | None:
        """Seconds with `jobs` runs at a time; None where nothing is known."""
        return max(self.seconds / jobs, self.longest) if self.by_method + self.by_others else None


def forecast_seconds(
    todo: Iterable[RunSpec], records: Iterable[Mapping[str, Any]], costs: DeclaredCosts
) -> TimeForecast:
    """Expected seconds of `todo`: medians of comparable records' seconds for each unit, times the run's units.

    Comparable is what has the same data, model, batch, augmentation and precision; of the same method, or else of any.
    """
    of_method: dict[Hashable, list[float]] = {}
    of_any: dict[Hashable, list[float]] = {}
    for record in records:
        rate = _seconds_for_each_unit(record, costs)
        if rate is not None:
            spec, seconds = rate
            of_method.setdefault((_workload(spec), spec.method), []).append(seconds)
            of_any.setdefault(_workload(spec), []).append(seconds)
    own = {key: statistics.median(values) for key, values in of_method.items()}
    others = {key: statistics.median(values) for key, values in of_any.items()}
    total, longest, counts = 0.0, 0.0, [0, 0, 0]
    for spec in todo:
        workload = _workload(spec)
        seconds_each = own.get((workload, spec.method), others.get(workload))
        counts[0 if (workload, spec.method) in own else 1 if workload in others else 2] += 1
        if seconds_each is not None:
            seconds = seconds_each * costs.units(spec)
            total, longest = total + seconds, max(longest, seconds)
    return TimeForecast(total, longest, *counts)


def sample_records(
    specs: Sequence[RunSpec], stored: Iterable[str], store: Store, most: int = MOST_READ
) -> Iterator[Any]:
    """At most `most` records to go by: of the plan's own runs, method by method in turn, then any others."""
    have = set(stored)
    groups: dict[Hashable, list[str]] = {}
    for spec in specs:
        if spec.run_id in have:
            groups.setdefault((_workload(spec), spec.method), []).append(spec.run_id)
    turns = [run_id for turn in zip_longest(*groups.values()) for run_id in turn if run_id is not None]
    asked = set(turns)
    others = (run_id for run_id in store.run_ids() if run_id not in asked and store.has(run_id))
    return store.records(islice(chain(turns, others), most))


def _workload(spec: RunSpec) -> Hashable:
    return tuple(getattr(spec, name) for name in WORKLOAD)


def _seconds_for_each_unit(record: Mapping[str, Any], costs: DeclaredCosts) -> tuple[RunSpec, float] | None:
    """A record's spec and rate; None where it holds no time, or is of a spec that this release doesn't know."""
    seconds = (record["provenance"].get("seconds") or {}).get("total")
    if not isinstance(seconds, int | float) or seconds <= 0 or record["spec"].get("method") not in costs.methods:
        return None
    try:
        spec = RunSpec.model_validate(record["spec"])
    except ValidationError:
        return None
    return spec, seconds / costs.units(spec)
