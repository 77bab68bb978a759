"""Typed parameters against declarations: the torch-free twin of `methods.interface.Parameter.check`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.errors import UsageError, nearest


def check_parameters(entry: Mapping[str, Any], typed: Mapping[str, str]) -> dict[str, Any]:
    """The typed parameters of a method in their types, by the bounds of its declaration.

    Raises UsageError for an unknown parameter (with the nearest) and for a value out of bounds (with the bounds).
    """
    known = {parameter["name"]: parameter for parameter in entry["parameters"]}
    values = {}
    for key, value in typed.items():
        if key not in known:
            raise no_parameter(f"the method {entry['name']}", key, known)
        values[key] = _checked(entry["name"], known[key], value)
    return values


def no_parameter(owner: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a parameter that `owner` doesn't have, with the nearest ones."""
    known = list(known)
    near = nearest(name, known)
    meant = f"Did you mean {' or '.join(near)}?" if near else f"It has: {', '.join(known) or 'none'}."
    return UsageError(f"{owner} has no parameter {name!r}. {meant}")


def _checked(owner: str, parameter: Mapping[str, Any], text: str) -> Any:
    """One value by its parameter's rule: the torch-free twin of `Parameter.check`."""
    default, name = parameter["default"], parameter["name"]
    value: Any = text
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{owner}[{name}={text}]: {name} must be true or false")
        value = text.lower() == "true"
    elif isinstance(default, int | float):
        value = number(owner, name, text, whole=isinstance(default, int), bounds=parameter["bounds"])
    if not allowed(parameter, value):
        raise UsageError(f"{owner}[{name}={text}] is out of bounds: {name} must be {parameter['bounds']}")
    return value


def allowed(parameter: Mapping[str, Any], value: Any) -> bool:
    """Whether a value of the right type lies within a declared parameter's bounds and choices."""
    within = not parameter["choices"] or value in parameter["choices"]
    low, high = parameter["low"], parameter["high"]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if low is not None:
            within &= value > low if parameter["open_low"] else value >= low
        if high is not None:
            within &= value < high if parameter["open_high"] else value <= high
    return bool(within)


def number(owner: str, name: str, text: str, *, whole: bool, bounds: str = "") -> float | int:
    """The number that was typed, finite and, if asked for, whole; raises UsageError otherwise."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf") or (whole and value != int(value)):
        noun = "a whole number" if whole else "a number"
        rule = f" {bounds}" if bounds.startswith("in ") else ""
        raise UsageError(f"{owner}[{name}={text}]: {name} must be {noun}{rule}")
    return int(value) if whole else value
