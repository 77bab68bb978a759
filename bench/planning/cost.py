"""Expected costs of runs: in units, by declarations alone, and in seconds, by comparable records.

A unit is one forward pass of one training image through one network; a backward pass is two. `DeclaredCosts` gives the
same number on every machine, whatever it has stored; `forecast_seconds` needs records, which `sample_records` picks.
"""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
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
    """Costs by the declarations of methods and models (`registry.methods()` and `registry.models()`)."""

    methods: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]

    def units(self, spec: RunSpec) -> float:
        """Units of the whole run for each training image."""
        declared = self.methods.get(spec.method, {})
        networks = declared.get("networks", 1)
        units = declared.get("units")
        if units is None:  # a number of networks that depends on a parameter counts as one
            units = UNITS_PER_NETWORK * (networks if isinstance(networks, int) else 1)
        for name, factor in (declared.get("units_per") or {}).items():
            units += factor * float(spec.parameters.get(name, 0))
        return max(units, 1.0) * spec.members * spec.epochs

    def work(self, spec: RunSpec) -> float:
        """Megaflops for each training image of 32 x 32 pixels, by which runs of one data set can be compared."""
        name = "timm:NAME" if spec.model.startswith("timm:") else spec.model
        return self.units(spec) * float(self.models.get(name, {}).get("megaflops", 1.0))


MOST_READ = 200
"""Records that are opened for a forecast, at most: a dry run over a large store has to answer at once."""

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
    """Seconds that runs are expected to take one after another, and the number of runs by each kind of evidence.

    `by_method`: records of the same method; `by_others`: other methods' seconds for each unit; `unknown`: no record, so
    that these runs are in no sum. `longest`: seconds of the longest run.
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

    Comparable records have the same workload (`WORKLOAD`), and the same method if there are any of it.
    """
    rates: dict[Hashable, list[float]] = {}
    for record in records:
        seconds = (record["provenance"].get("seconds") or {}).get("total")
        if not isinstance(seconds, int | float) or seconds <= 0 or record["spec"].get("method") not in costs.methods:
            continue
        with suppress(ValidationError):  # a spec of another release
            spec = RunSpec.model_validate(record["spec"])
            for method in (spec.method, None):  # None: any method
                rates.setdefault((_workload(spec), method), []).append(seconds / costs.units(spec))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    total, longest, counts = 0.0, 0.0, [0, 0, 0]
    for spec in todo:
        workload = _workload(spec)
        by_method, by_others = (medians.get((workload, method)) for method in (spec.method, None))
        unit_seconds = by_others if by_method is None else by_method
        counts[2 if unit_seconds is None else 1 if by_method is None else 0] += 1
        if unit_seconds is not None:
            seconds = unit_seconds * costs.units(spec)
            total, longest = total + seconds, max(longest, seconds)
    return TimeForecast(total, longest, *counts)


def sample_records(
    specs: Sequence[RunSpec], stored: Iterable[str], store: Store, most: int = MOST_READ
) -> Iterator[Any]:
    """At most `most` records for a forecast: of the plan's runs, method by method in turn, then any others."""
    in_store = set(stored)
    groups: dict[Hashable, list[str]] = {}
    for spec in specs:
        if spec.run_id in in_store:
            groups.setdefault((_workload(spec), spec.method), []).append(spec.run_id)
    planned = [run_id for turn in zip_longest(*groups.values()) for run_id in turn if run_id is not None]
    seen = set(planned)
    others = (run_id for run_id in store.run_ids() if run_id not in seen and store.has(run_id))
    return store.records(islice(chain(planned, others), most))


def _workload(spec: RunSpec) -> Hashable:
    return tuple(getattr(spec, name) for name in WORKLOAD)
