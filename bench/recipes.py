"""Which published setting a method runs with, and what choosing it gives away. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Recipe = Mapping[str, Any]

REFERENCE_NOISES = ("sym", "sym-incl")
REFERENCE_RATES = (0.4, 0.5)


@dataclass(frozen=True)
class Chosen:
    """A recipe (None: the method's defaults) and the privileges that its choice hands to the run.

    `core` holds what was chosen beside the method's parameters: learning rate and weight decay, or nothing.
    """

    recipe: Recipe | None
    privileges: tuple[str, ...] = ()
    core: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> Mapping[str, Any]:
        """The recipe's parameters; none for the defaults."""
        return {} if self.recipe is None else self.recipe["values"]


def candidates(recipes: Sequence[Recipe], data_set: str, model: str | None) -> list[Recipe]:
    """The recipes for a data set, best first: those of `model`, those of any model, those of another one."""
    own = [recipe for recipe in recipes if recipe["data_set"] == data_set]
    return sorted(own, key=lambda recipe: (recipe["model"] != model, recipe["model"] is not None))


def plain(recipes: Sequence[Recipe]) -> Chosen:
    """The one setting for whatever noise: the unkeyed recipe, or else the one for sym 0.4 (0.5 if none).

    Failing these the recipe keyed by symmetric noise alone, then the defaults. It doesn't look at the run's noise, so
    it tells the run nothing.
    """
    keys: list[tuple[str | None, float | None]] = [(None, None)]
    keys += [(noise, rate) for rate in REFERENCE_RATES for noise in REFERENCE_NOISES]
    keys += [(noise, None) for noise in REFERENCE_NOISES]
    keys += [(None, rate) for rate in REFERENCE_RATES]
    return Chosen(_first(recipes, keys))


def published(recipes: Sequence[Recipe], noise: str, rate: float | None) -> Chosen:
    """The recipe published for this noise and rate, for this noise, or for this rate; else the plain one.

    What the recipe is keyed by is a privilege: "noise_kind", "noise_rate".
    """
    keys = [(noise, rate), (noise, None), (None, rate)]
    recipe = _first(recipes, [key for key in keys if key != (None, None)])
    if recipe is None:
        return plain(recipes)
    keyed = (("noise_kind", recipe["noise"]), ("noise_rate", recipe["rate"]))
    return Chosen(recipe, tuple(name for name, value in keyed if value is not None))


def _first(recipes: Sequence[Recipe], keys: Sequence[tuple[str | None, float | None]]) -> Recipe | None:
    for key in keys:
        for recipe in recipes:
            if (recipe["noise"], recipe["rate"]) == key:
                return recipe
    return None
