"""The shared protocol's grid: the settings that are tried for each method. `successive_halving` chooses. Pure.

Learning rate and weight decay can't be shared blindly, since the gradients of published losses differ by hundreds. So
they are chosen for each method from one grid common to all, by accuracy on noisy held-out labels under one noise, on
seeds that are never reported; the choice then holds for every noise of that data set. Read first `grid_points`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.registry.names import is_allowed_value
from bench.spec import RESERVED_SEEDS, RunSpec, Value

LEARNING_RATES = (1 / 3, 1.0, 3.0)
"""Times the data set's learning rate."""
WEIGHT_DECAYS = (0.0, 1e-4, 1e-3)
PENALTIES = (0.1, 1.0, 10.0)
"""Times the weight of a method's own penalty, where that replaces weight decay."""
NOISE, RATE = "sym", 0.4
FIRST_SEED = RESERVED_SEEDS
MOST_SPLITS = 1000
"""The seeds after these belong to studies."""
TRIED = {
    "learning_rate": "1/3, 1 and 3 times the data set's",
    "weight_decay": "0, 0.0001, 0.001, and the data set's",
    "penalty": "1/10, 1 and 10 times the weight of a method's own penalty, in place of weight decay",
}

Declaration = Mapping[str, Any]


@dataclass(frozen=True)
class GridPoint:
    """One setting of a method: all that the grid may vary."""

    learning_rate: float
    weight_decay: float
    parameters: tuple[tuple[str, Value], ...]

    def apply(self, spec: RunSpec) -> RunSpec:
        """`spec` with these values."""
        training = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        return spec.model_copy(update=training | {"parameters": dict(self.parameters)})


@dataclass(frozen=True)
class MethodCandidates:
    """A method's settings, number 0 the default values, and its runs with the default values, one for each split."""

    declaration: Declaration
    points: tuple[GridPoint, ...]
    splits: tuple[RunSpec, ...]

    @property
    def method(self) -> str:
        return str(self.declaration["name"])

    def runs(self, point: GridPoint) -> list[RunSpec]:
        """The runs of a setting, one for each split."""
        return [point.apply(spec) for spec in self.splits]

    @property
    def all_runs(self) -> list[RunSpec]:
        return [run for point in self.points for run in self.runs(point)]


def plan_candidates(specs: Sequence[RunSpec], methods: Mapping[str, Declaration]) -> list[MethodCandidates]:
    """The candidates of each method; `specs` are its runs with the default values, one for each split."""
    splits: dict[str, list[RunSpec]] = {}
    for spec in specs:
        splits.setdefault(spec.method, []).append(spec)
    return [
        MethodCandidates(methods[name], grid_points(runs[0], methods[name]), tuple(runs))
        for name, runs in sorted(splits.items())
    ]


def grid_points(spec: RunSpec, declaration: Declaration) -> tuple[GridPoint, ...]:
    """A method's settings, each once, the default values of `spec` first; these may lie beside the grid.

    Weights of a penalty out of its bounds are left out. A method whose own penalty replaces weight decay, but isn't a
    parameter, varies in its learning rate alone.
    """
    default = GridPoint(spec.learning_rate, spec.weight_decay, tuple(spec.parameters.items()))
    if declaration["weight_decay"] is None:
        penalties = [(decay, default.parameters) for decay in WEIGHT_DECAYS]
    else:
        penalties = [(spec.weight_decay, parameters) for parameters in _penalty_weights(spec, declaration)]
    rates = [_times(factor, spec.learning_rate) for factor in LEARNING_RATES]
    return tuple(dict.fromkeys([default, *(GridPoint(rate, *penalty) for rate in rates for penalty in penalties)]))


def _penalty_weights(spec: RunSpec, declaration: Declaration) -> list[tuple[tuple[str, Value], ...]]:
    """The method's parameters with each weight of its own penalty."""
    name = declaration["own_penalty"]
    if name is None:
        return [tuple(spec.parameters.items())]
    declared = next(parameter for parameter in declaration["parameters"] if parameter["name"] == name)
    weights = [_times(factor, float(spec.parameters[name])) for factor in PENALTIES]
    return [
        tuple((spec.parameters | {name: weight}).items()) for weight in weights if is_allowed_value(declared, weight)
    ]


def _times(factor: float, value: float) -> float:
    """The product to six digits, so that a third of 0.05 reads 0.0166667 and three times it 0.15."""
    return value if factor == 1 else round_value(factor * value)


def round_value(value: float) -> float:
    """`value` to six digits, as files show it."""
    return float(f"{value:.6g}")
