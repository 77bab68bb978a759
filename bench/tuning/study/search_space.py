"""The search space of a study: the method's parameters that declare a distribution, and what `--with` adds. Pure.

Read first `build_search_space`, then `SearchSpace`, which turns suggestions into values, and `apply_values`, which
turns values into a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from bench.spec import RunSpec, Value
from bench.system.errors import UsageError, nearest_names

Kind = Literal["uniform", "log-uniform", "integer", "choice"]
Values = Mapping[str, Value]

TRAINING = {"lr": "learning_rate", "weight_decay": "weight_decay"}
"""The names that `--with` takes, and the field of the spec that each sets."""
LEARNING_RATES = 10.0
"""The learning rate is searched between the setting's divided by this and multiplied by it."""
WEIGHT_DECAYS = (1e-6, 1e-2)
DIGITS = 4
"""Significant digits of the values tried: people read recipes, and no accuracy depends on the fifth digit."""


class NothingToSearch(Exception):  # noqa: N818 - an answer, not an error
    """Raised with the reason where a method has nothing to search."""


@dataclass(frozen=True)
class Dimension:
    """One searched value: in [low, high], or one of `choices`. `name` is the option or parameter that a user types."""

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Value, ...] = ()

    def __str__(self) -> str:
        if self.kind == "choice":
            return f"one of {', '.join(map(str, self.choices))}"
        return f"{self.kind} [{self.low:g}, {self.high:g}]"

    def nearest(self, value: Value) -> Value:
        """The point of the dimension nearest to `value`, which may lie outside, as some published values do."""
        if self.kind == "choice":
            if value in self.choices:
                return value
            return min(self.choices, key=lambda choice: abs(float(choice) - float(value)))
        inside = min(max(float(value), self.low), self.high)
        return round(inside) if self.kind == "integer" else inside

    def rounded(self, value: Value) -> Value:
        """A suggested value to DIGITS significant digits, still inside the dimension."""
        if self.kind in ("choice", "integer"):
            return value
        return self.nearest(float(f"{float(value):.{DIGITS}g}"))

    def with_choice(self, value: Value) -> Dimension:
        """The dimension with `value` among its choices; unchanged for numbers, which have a nearest choice."""
        if self.kind != "choice" or value in self.choices or isinstance(value, float | int):
            return self
        return Dimension(self.name, self.kind, choices=(*self.choices, value))


@dataclass(frozen=True)
class SearchSpace:
    """The dimensions of one study, at least one."""

    dimensions: tuple[Dimension, ...]

    def values_in(self, spec: RunSpec) -> dict[str, Value]:
        """A spec's value of each dimension."""
        values = spec.parameters | {name: float(getattr(spec, field)) for name, field in TRAINING.items()}
        return {dimension.name: values[dimension.name] for dimension in self.dimensions}

    def nearest(self, values: Values) -> dict[str, Value]:
        """The point of the space nearest to some values."""
        return {dimension.name: dimension.nearest(values[dimension.name]) for dimension in self.dimensions}

    def rounded(self, suggested: Values) -> dict[str, Value]:
        """Suggested values as they are tried."""
        return {dimension.name: dimension.rounded(suggested[dimension.name]) for dimension in self.dimensions}

    def declaration(self) -> dict[str, str]:
        """Every dimension in words."""
        return {dimension.name: str(dimension) for dimension in self.dimensions}


def apply_values(spec: RunSpec, values: Values) -> RunSpec:
    """A spec with other values of the searched dimensions."""
    training = {TRAINING[name]: value for name, value in values.items() if name in TRAINING}
    parameters = {name: value for name, value in values.items() if name not in TRAINING}
    return RunSpec.model_validate(spec.model_dump() | training | {"parameters": spec.parameters | parameters})


def describe_values(values: Values) -> str:
    """Values as messages and pages show them, such as "q=0.5, lr=0.1"."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def check_searched_names(names: Sequence[str]) -> None:
    """Raise UsageError for a name after `--with` that can't be searched."""
    for name in names:
        if name not in TRAINING:
            near = nearest_names(name, TRAINING)
            suggestion = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"--with {name}: it adds lr or weight_decay to the search. {suggestion}A method's own parameters are "
                "searched without it; `python -m bench show method NAME` lists them"
            )


def build_search_space(declared: Mapping[str, Any], fixed: Values, spec: RunSpec, also: Sequence[str]) -> SearchSpace:
    """The search space of a method: its parameters with a distribution except the `fixed` ones, and `also`.

    `declared` is the method's declaration, `spec` a run with its default values, `also` the names after `--with`. A
    method with a penalty of its own has no weight decay to search. Raises NothingToSearch where no dimension is left.
    """
    dimensions = [
        _declared_dimension(parameter).with_choice(spec.parameters[parameter["name"]])
        for parameter in declared["parameters"]
        if parameter["search_space"] is not None and parameter["name"] not in fixed
    ]
    if "lr" in also:
        rate = spec.learning_rate
        dimensions.append(Dimension("lr", "log-uniform", rate / LEARNING_RATES, rate * LEARNING_RATES))
    if "weight_decay" in also and declared["weight_decay"] is None:
        dimensions.append(Dimension("weight_decay", "log-uniform", *WEIGHT_DECAYS))
    if not dimensions:
        reason = "every parameter with a search space is typed; leave one out, or"
        raise NothingToSearch(
            f"{reason if fixed else 'it has no parameter with a search space;'} add --with lr,weight_decay"
        )
    return SearchSpace(tuple(dimensions))


def _declared_dimension(parameter: Mapping[str, Any]) -> Dimension:
    search = parameter["search_space"]
    kind = cast(Kind, search["kind"])
    if kind == "choice":
        return Dimension(parameter["name"], kind, choices=tuple(search["choices"]))
    return Dimension(parameter["name"], kind, float(search["low"]), float(search["high"]))
