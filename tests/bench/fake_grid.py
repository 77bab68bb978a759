"""A method's candidates of the shared grid, and records of their runs that nobody trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.execution.worker import load_file
from bench.spec import RunSpec
from bench.tuning.grid.candidates import FIRST_SEED, MethodCandidates, grid_points

fake: ModuleType = load_file(Path(__file__).with_name("fake_records.py"))

CE: dict[str, Any] = {"name": "ce", "version": 1, "weight_decay": None, "own_penalty": None, "parameters": []}
SPEC = RunSpec(method="ce", **(fake.SETTING | {"weight_decay": 1e-4}))
HELD_OUT = 140
BASE = 0.25
"""Held-out accuracy of a setting of which nothing else is said."""


def method_candidates(splits: int = 2) -> MethodCandidates:
    """Nine settings on so many splits."""
    specs = [
        SPEC.model_copy(update=dict.fromkeys(("seed", "split_seed", "noise_seed"), FIRST_SEED + number))
        for number in range(splits)
    ]
    return MethodCandidates(CE, grid_points(SPEC, CE), tuple(specs))


def record(spec: RunSpec, accuracy: float) -> dict[str, Any]:
    """A record with that accuracy on held-out noisy labels in the last epochs, and another one on the test set."""
    document: dict[str, Any] = fake.of(spec, 1 - accuracy)
    document["curves"]["noisy_holdout_accuracy"] = [0.0] * 27 + [accuracy] * 3
    document["measures"]["samples"] = {"train": 1260, "holdout": HELD_OUT, "test": 397}
    return document


def recorded(
    candidates: MethodCandidates, accuracies: Mapping[int, float | Sequence[float]], left_out: Collection[int] = ()
) -> dict[str, Any]:
    """Records of all settings but those in `left_out`, by run id; `accuracies` of a setting: one, or one a split."""
    records = {}
    for number, point in enumerate(candidates.points):
        of_setting = accuracies.get(number, BASE)
        runs = candidates.runs(point)
        of_runs = [of_setting] * len(runs) if isinstance(of_setting, float) else of_setting
        if number not in left_out:
            records |= {spec.run_id: record(spec, accuracy) for spec, accuracy in zip(runs, of_runs, strict=True)}
    return records
