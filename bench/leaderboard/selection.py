"""Which epoch's accuracy counts: the selection rules, each with its words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.system.errors import UsageError, nearest_names


@dataclass(frozen=True)
class SelectionRule:
    """A selection rule: the measure that it reads, how it is said, and whether it looks at clean test labels."""

    name: str
    measure: str
    words: str
    oracle: bool = False


RULES: Mapping[str, SelectionRule] = {
    rule.name: rule
    for rule in (
        SelectionRule("last", "test_accuracy", "the last epoch"),
        SelectionRule("last10", "last10_test_accuracy", "the mean of the last ten epochs"),
        SelectionRule("holdout", "holdout_test_accuracy", "the epoch that does best on the noisy hold-out"),
        SelectionRule(
            "best-test", "best_test_accuracy", "the best epoch on the clean test set, an oracle", oracle=True
        ),
    )
}


def selection_rule(name: str) -> SelectionRule:
    """The rule of this name; UsageError with the nearest ones if there is none."""
    if name not in RULES:
        near = nearest_names(name, RULES)
        raise UsageError(f"no selection rule {name!r}. Type --select {' or --select '.join(near or RULES)}")
    return RULES[name]


def finite_number(value: Any) -> float | None:
    """A finite number as float; None for null, NaN, infinity and whatever is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def selected_accuracy(record: Mapping[str, Any], chosen: SelectionRule) -> float | None:
    """A record's test accuracy in [0, 1] at the epoch that the rule chooses, or None where it chooses none."""
    return finite_number(record["measures"].get(chosen.measure))
