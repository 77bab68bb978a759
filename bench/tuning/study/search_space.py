"""What a study searches: the method's own parameters that declare a distribution, and what `--with` adds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from bench.spec import RunSpec, Value
from bench.system.errors import UsageError, nearest_names

Kind = Literal["uniform", "log-uniform", "integer", "choice"]
Values = Mapping[str, Value]

TRAINING = {"lr": "learning_rate", "weight_decay": "weight_decay"}
"""What `--with` can add, and the spec's field that it sets."""
LEARNING_RATES = 10.0
"""The learning rate is looked for between the setting's divided by this and multiplied by it."""
WEIGHT_DECAYS = (1e-6, 1e-2)
DIGITS = 4
"""Significant digits of what is tried: recipes are read by people, and no accuracy hangs on the fifth."""


class NothingToSearch(Exception):  # noqa: N818 - an answer, not an error
    """There is nothing to search for a method, and why."""


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched: in [low, high], or among choices. `name` is what a user types for it."""

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
        """The point of the dimension that is nearest to a value, which may lie outside: published ones do."""
        if self.kind == "choice":
            if value in self.choices:
                return value
            return min(self.choices, key=lambda each: abs(float(each) - float(value)))
        inside = min(max(float(value), self.low), self.high)
        return round(inside) if self.kind == "integer" else inside

    def rounded(self, value: Value) -> Value:
        """A suggested value to DIGITS significant digits, still inside."""
        if self.kind in ("choice", "integer"):
            return value
        return self.nearest(float(f"{float(value):.{DIGITS}g}"))

    def with_choice(self, value: Value) -> Dimension:
        """The dimension with one choice more, where it is one of choices that no other value comes near."""
        if self.kind != "choice" or value in self.choices or isinstance(value, float | int):
            return self
        return Dimension(self.name, self.kind, choices=(*self.choices, value))


@dataclass(frozen=True)
class SearchSpace:
    """All that one study searches, at least one dimension."""

    dimensions: tuple[Dimension, ...]

    def own(self, spec: RunSpec) -> dict[str, Value]:
        """A spec's values of what is searched."""
        return {each.name: _of(spec, each.name) for each in self.dimensions}

    def nearest(self, values: Values) -> dict[str, Value]:
        """The point of the space that is nearest to some values."""
        return {each.name: each.nearest(values[each.name]) for each in self.dimensions}

    def rounded(self, suggested: Values) -> dict[str, Value]:
        """Suggested values as they are tried."""
        return {each.name: each.rounded(suggested[each.name]) for each in self.dimensions}

    def declaration(self) -> dict[str, str]:
        """Every dimension in words."""
        return {each.name: str(each) for each in self.dimensions}


def apply_values(spec: RunSpec, values: Values) -> RunSpec:
    """A spec with other values of what is searched."""
    training = {TRAINING[name]: value for name, value in values.items() if name in TRAINING}
    parameters = {name: value for name, value in values.items() if name not in TRAINING}
    update = {**training, "parameters": spec.parameters | parameters}
    return RunSpec.model_validate(spec.model_dump() | update)


def check_searched_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names after `--with`, each once; raises UsageError for one that can't be searched."""
    for name in names:
        if name not in TRAINING:
            near = nearest_names(name, TRAINING)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"--with {name}: it adds lr or weight_decay to the search. {meant}A method's own parameters are "
                "searched without it; `python -m bench show method NAME` lists them"
            )
    return tuple(dict.fromkeys(names))


def build_search_space(declared: Mapping[str, Any], fixed: Values, spec: RunSpec, also: Sequence[str]) -> SearchSpace:
    """What is searched for a method: its parameters with a distribution but those typed, and what `--with` adds.

    A method with a penalty of its own has no weight decay to search. Raises NoSpace where nothing is left.
    """
    dimensions = [
        _dimension(item).with_choice(spec.parameters[item["name"]])
        for item in declared["parameters"]
        if item["search_space"] is not None and item["name"] not in fixed
    ]
    if "lr" in also:
        rate = spec.learning_rate
        dimensions.append(Dimension("lr", "log-uniform", rate / LEARNING_RATES, rate * LEARNING_RATES))
    if "weight_decay" in also and declared["weight_decay"] is None:
        dimensions.append(Dimension("weight_decay", "log-uniform", *WEIGHT_DECAYS))
    if not dimensions:
        if fixed:
            raise NothingToSearch(
                "every parameter with a search space is typed; leave one out, or add --with lr,weight_decay"
            )
        raise NothingToSearch("it has no parameter with a search space; add --with lr,weight_decay")
    return SearchSpace(tuple(dimensions))


def _dimension(item: Mapping[str, Any]) -> Dimension:
    search = item["search_space"]
    kind = cast(Kind, search["kind"])
    if kind == "choice":
        return Dimension(item["name"], kind, choices=tuple(search["choices"]))
    return Dimension(item["name"], kind, float(search["low"]), float(search["high"]))


def _of(spec: RunSpec, name: str) -> Value:
    return float(getattr(spec, TRAINING[name])) if name in TRAINING else spec.parameters[name]
