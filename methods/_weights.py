"""The weight of one term of a loss, which many methods have two of."""

from __future__ import annotations

from methods.interface import Parameter, Search


def term_weight(name: str, default: float, term: str, low: float, high: float) -> Parameter:
    """A weight of `term` in [0, inf): the official code's on CIFAR-10, searched log-uniformly in [low, high]."""
    return Parameter(
        name,
        default,
        f"weight of {term}",
        "official code's CIFAR-10 setting",
        low=0.0,
        search=Search("log-uniform", low, high),
    )
