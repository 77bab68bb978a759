"""Which published setting a method runs with, and what choosing it gives away. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.planning.recipe_files import MethodRecipe, RecipeFile, setting_differences
from bench.planning.request import Request
from bench.spec import RunSpec
from bench.spec.privileges import CLEAN_VALIDATION, tuned_privilege
from bench.stats.holdout_choice import ENOUGH_HELD_OUT
from bench.system.errors import UsageError
from bench.system.text import list_first

PublishedRecipe = Mapping[str, Any]

REFERENCE_NOISES = ("sym", "sym-incl")
REFERENCE_RATES = (0.4, 0.5)


@dataclass(frozen=True)
class RecipeChoice:
    """A recipe (None: the method's defaults) and the privileges that its choice hands to the run.

    `core` holds what was chosen beside the method's parameters: learning rate and weight decay, or nothing.
    """

    recipe: PublishedRecipe | None
    privileges: tuple[str, ...] = ()
    core: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> Mapping[str, Any]:
        """The recipe's parameters; none for the defaults."""
        return {} if self.recipe is None else self.recipe["values"]


def matching_recipes(recipes: Sequence[PublishedRecipe], data_set: str, model: str | None) -> list[PublishedRecipe]:
    """The recipes for a data set, best first: those of `model`, those of any model, those of another one."""
    own = [recipe for recipe in recipes if recipe["data_set"] == data_set]
    return sorted(own, key=lambda recipe: (recipe["model"] != model, recipe["model"] is not None))


def plain_recipe(recipes: Sequence[PublishedRecipe]) -> RecipeChoice:
    """The one setting for whatever noise: the unkeyed recipe, or else the one for sym 0.4 (0.5 if none).

    Failing these the recipe keyed by symmetric noise alone, then the defaults. It doesn't look at the run's noise, so
    it tells the run nothing.
    """
    keys: list[tuple[str | None, float | None]] = [(None, None)]
    keys += [(noise, rate) for rate in REFERENCE_RATES for noise in REFERENCE_NOISES]
    keys += [(noise, None) for noise in REFERENCE_NOISES]
    keys += [(None, rate) for rate in REFERENCE_RATES]
    return RecipeChoice(_first(recipes, keys))


def published_recipe(recipes: Sequence[PublishedRecipe], noise: str, rate: float | None) -> RecipeChoice:
    """The recipe published for this noise and rate, for this noise, or for this rate; else the plain one.

    What the recipe is keyed by is a privilege: "noise_kind", "noise_rate".
    """
    keys = [(noise, rate), (noise, None), (None, rate)]
    recipe = _first(recipes, [key for key in keys if key != (None, None)])
    if recipe is None:
        return plain_recipe(recipes)
    keyed = (("noise_kind", recipe["noise"]), ("noise_rate", recipe["rate"]))
    return RecipeChoice(recipe, tuple(name for name, value in keyed if value is not None))


def _first(
    recipes: Sequence[PublishedRecipe], keys: Sequence[tuple[str | None, float | None]]
) -> PublishedRecipe | None:
    for key in keys:
        for recipe in recipes:
            if (recipe["noise"], recipe["rate"]) == key:
                return recipe
    return None


HOW_TO_CHOOSE = "choose them by python -m bench tune --grid shared, or type --protocol shared-lr"
MODEL_AND_DATA = frozenset({"data_set", "data_sha256", "model"})
"""What the values of a study are tied to; those of the shared grid are tied to the whole of their setting."""

Declaration = Mapping[str, Any]


@dataclass(frozen=True)
class SourcedRecipes:
    """A recipe file and its path for messages. `named`: by `--recipes`; otherwise it's the project's own."""

    path: str
    file: RecipeFile
    named: bool


def applicable_grid(
    source: SourcedRecipes | None, spec: RunSpec, request: Request, outright: Sequence[Declaration]
) -> tuple[SourcedRecipes | None, tuple[str, ...]]:
    """The grid's file if the request trains by it, and a note where the project's own doesn't hold.

    `spec` is of the request's setting, `outright` the methods that it names themselves. A table has all of its rows
    from the grid or none, so where one of these isn't in the file, nor is the file used. Raises UsageError where a
    file that `--recipes` names doesn't hold.
    """
    if source is None:
        return None, ()
    if request.protocol == "shared-lr" and not source.named:
        return None, ()
    if request.protocol == "shared-lr":
        raise UsageError(f"{source.path} is of the shared protocol's grid: leave --protocol shared-lr out")
    if request.lr is not None or request.weight_decay is not None:
        return None, ()
    why = _why_not(source, spec)
    absent = [(each["name"], missing_recipe(source, each)) for each in outright]
    lacking = [f"{name}: {reason}" for name, reason in absent if reason]
    if source.named:
        if why or lacking:
            raise UsageError(f"--recipes {source.path}: {why or list_first(lacking)}. {HOW_TO_CHOOSE.capitalize()}")
        return source, ()
    if why or lacking:
        rest = "so all methods train with the data set's learning rate (shared-lr)"
        return None, (f"{why or list_first(lacking)}; {rest}",)
    return source, ()


def applicable_study(source: SourcedRecipes | None, spec: RunSpec) -> SourcedRecipes | None:
    """The file of studies; raises UsageError where it is for other data or another model."""
    why = None if source is None else _why_not(source, spec)
    if why:
        raise UsageError(f"--recipes: {why}. Tune here as well, or give a file that is for this")
    return source


def _why_not(source: SourcedRecipes, spec: RunSpec) -> str | None:
    """Why a file's values don't hold in the setting of `spec`, in one sentence; None where they do."""
    grid = source.file.kind == "grid"
    found = setting_differences(source.file, spec, None if grid else MODEL_AND_DATA)
    if found:
        return f"{source.path} was chosen in another setting ({'; '.join(found)})"
    fewest = min(choice.held_out_labels for choice in source.file.choice.values())
    if grid and fewest < ENOUGH_HELD_OUT:
        return f"{source.path} rests on {fewest:,} held-out labels, and the shared protocol wants {ENOUGH_HELD_OUT:,}"
    return None


def missing_recipe(source: SourcedRecipes, declaration: Declaration) -> str | None:
    """Why the file has nothing for a method, or None."""
    own = source.file.of(declaration["name"])
    if not own:
        return f"{source.path} holds no values for it"
    if all(each.method_version != declaration["version"] for each in own):
        return (
            f"the values in {source.path} are for version {own[0].method_version} of it, and this is version "
            f"{declaration['version']}"
        )
    return None


def recipe_with_grid(source: SourcedRecipes, declaration: Declaration, published: RecipeChoice) -> RecipeChoice:
    """A method's values under the shared protocol: learning rate and weight decay (or its own penalty) of the grid.

    `published` is what it has by `--recipes`: a setting that is keyed by the noise keeps its parameters. The file must
    have values for the method (see `missing`).
    """
    entry = next(each for each in source.file.of(declaration["name"]) if each.method_version == declaration["version"])
    if published.privileges:
        return RecipeChoice(published.recipe, published.privileges, _core(entry))
    return RecipeChoice({"values": entry.parameters}, (), _core(entry))


def recipe_from_study(
    source: SourcedRecipes, declaration: Declaration, noise: str, rate: float | None
) -> RecipeChoice | None:
    """A method's values for this noise from a file of studies, or None where the file has none that may be used.

    As among published settings: those keyed by this noise and rate, by either, or else the plain ones. Whatever is
    taken, the run is told that it was tuned, by how many trials, and what beyond noisy labels that took.
    """
    known = {id(each): each for each in source.file.of(declaration["name"])}
    tables = [
        {"noise": each.noise, "rate": each.rate, "values": each.parameters, "id": key}
        for key, each in known.items()
        if each.method_version == declaration["version"]
    ]
    found = published_recipe(tables, noise, rate)
    if found.recipe is None:
        return None
    entry = known[found.recipe["id"]]
    choice = source.file.choice[entry.choice]
    told = [*found.privileges, tuned_privilege(choice.trials)]
    told += [CLEAN_VALIDATION] if choice.objective == "clean-val" else []
    return RecipeChoice(found.recipe, tuple(told), _core(entry))


def _core(entry: MethodRecipe) -> dict[str, float]:
    return {"learning_rate": entry.learning_rate, "weight_decay": entry.weight_decay}
