"""What the catalogue knows and records don't: which term of a method its parameters switch off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.leaderboard.rows import called
from bench.leaderboard.settings import listed

Spec = Mapping[str, Any]

WEIGHT = re.compile(r"weight of (?:the )?(?P<term>[^;]+)$")
"""A parameter's meaning where it is a term's weight. One that goes on after a semicolon says itself what 0 does."""


def switched_off(specs: Iterable[Spec], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about rows of one setting whose parameters hold a weight of 0, which makes them another method.

    `methods` are the catalogue's declarations; methods that it doesn't hold are passed over.
    """
    rows = {(str(spec["method"]), repr(sorted(spec.get("parameters", {}).items()))): spec for spec in specs}
    found: dict[tuple[str, str, str], list[str]] = {}
    for (name, _), spec in sorted(rows.items()):
        declared = methods.get(name, {})
        values = spec.get("parameters", {})
        for parameter in declared.get("parameters", ()):
            weight = WEIGHT.match(str(parameter.get("meaning", "")))
            if weight and values.get(parameter["name"]) == 0:
                whence = _source(spec, parameter["name"], declared.get("recipes", ()))
                alike = [other.get("parameters", {}) for (method, _), other in rows.items() if method == name]
                label = called(name, telling(values, alike, always=parameter["name"]))
                names = found.setdefault((parameter["name"], whence, weight["term"]), [])
                names += [label] if label not in names else []
    return [
        f"{listed(labels)}: {parameter} = 0{whence}, so {term} is no part of {'it' if len(labels) == 1 else 'them'}."
        for (parameter, whence, term), labels in found.items()
    ]


def telling(values: Mapping[str, Any], alike: Sequence[Mapping[str, Any]], always: str) -> dict[str, Any]:
    """Of a row's parameters those that tell rows of its method (`alike`) apart, where these differ in `always`."""
    if len({repr(other.get(always)) for other in alike}) == 1:
        return {}
    return {name: value for name, value in values.items() if len({repr(other.get(name)) for other in alike}) > 1}


def _source(spec: Spec, parameter: str, recipes: Sequence[Mapping[str, Any]]) -> str:
    """The published setting that gives a parameter the value 0, if the row's parameters are that setting's."""
    values = spec.get("parameters", {})
    for recipe in recipes:
        own = recipe["values"]
        if own.get(parameter) == 0 and all(values.get(name) == value for name, value in own.items()):
            data_set = recipe["data_set"]
            if data_set == str(spec["data_set"]).partition("[")[0]:
                return " in the published setting"
            return f" in the setting inherited from {data_set}"
    return ""
