"""Selection rules: the epoch whose test accuracy counts, each rule with its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.leaderboard.measurements import Record, finite_number
from bench.system.errors import UsageError, nearest_names


@dataclass(frozen=True)
class SelectionRule:
    """One rule: the measure that it reads, its words on a board, and whether it looks at clean test labels."""

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


def selected_accuracy(record: Record, rule: SelectionRule) -> float | None:
    """A record's test accuracy in [0, 1] at the epoch that the rule chooses, or None where it chooses none."""
    return finite_number(record["measures"].get(rule.measure))
