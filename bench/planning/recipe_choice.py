"""The values that a method runs with: a published recipe, or a recipe file that `tune` wrote. Pure.

Two stories, read from top to bottom. Published recipes stand in the methods' declarations; `plain_recipe` is the choice
that doesn't look at the noise, `published_recipe` the one that does. Recipe files hold what a shared grid or a study
chose; `applicable_grid` and `applicable_study` decide whether a file holds in a setting, `recipe_with_grid` and
`recipe_from_study` take a method's values from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.planning.recipe_files import MethodRecipe, RecipeFile, setting_differences
from bench.planning.request import Request
from bench.spec import RunSpec
from bench.spec.privileges import CLEAN_VALIDATION, is_tuned, tuned_privilege
from bench.stats.holdout_choice import ENOUGH_HELD_OUT
from bench.system.errors import UsageError
from bench.system.text import list_first

Declaration = Mapping[str, Any]
PublishedRecipe = Mapping[str, Any]
RecipeKey = tuple[str | None, float | None]
"""The (noise, rate) that a recipe was published for; None: any."""


@dataclass(frozen=True)
class RecipeChoice:
    """A recipe (None: the method's default values) and the privileges that choosing it gives to the run.

    `core` holds values beside the method's parameters: learning rate and weight decay, or nothing.
    """

    recipe: PublishedRecipe | None
    privileges: tuple[str, ...] = ()
    core: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> Mapping[str, Any]:
        """The recipe's parameters; none for the default values."""
        return {} if self.recipe is None else self.recipe["values"]


# Published recipes ---------------------------------------------------------------------------------------------------

REFERENCE_NOISES = ("sym", "sym-incl")
REFERENCE_RATES = (0.4, 0.5)
PLAIN_KEYS: tuple[RecipeKey, ...] = (
    (None, None),
    *((noise, rate) for rate in REFERENCE_RATES for noise in REFERENCE_NOISES),
    *((noise, None) for noise in REFERENCE_NOISES),
    *((None, rate) for rate in REFERENCE_RATES),
)
"""Keys of recipes that serve for every noise, best first: without a key, symmetric noise of 40 %, ..."""


def matching_recipes(recipes: Sequence[PublishedRecipe], data_set: str, model: str | None) -> list[PublishedRecipe]:
    """The recipes for a data set, best first: those of `model`, those of any model, those of another model."""
    matching = [recipe for recipe in recipes if recipe["data_set"] == data_set]
    return sorted(matching, key=lambda recipe: (recipe["model"] != model, recipe["model"] is not None))


def plain_recipe(recipes: Sequence[PublishedRecipe]) -> RecipeChoice:
    """The one recipe for every noise, by `PLAIN_KEYS`; the default values where no recipe has such a key.

    The choice doesn't depend on the run's noise, so that it gives no privilege.
    """
    return RecipeChoice(_first_with_key(recipes, PLAIN_KEYS))


def published_recipe(recipes: Sequence[PublishedRecipe], noise: str, rate: float | None) -> RecipeChoice:
    """The recipe published for this noise and rate, for this noise, or for this rate; else the plain one.

    The recipe's key is a privilege: "noise_kind", "noise_rate".
    """
    keys = [(noise, rate), (noise, None), *([] if rate is None else [(None, rate)])]
    recipe = _first_with_key(recipes, keys)
    if recipe is None:
        return plain_recipe(recipes)
    keyed = {"noise_kind": recipe["noise"], "noise_rate": recipe["rate"]}
    return RecipeChoice(recipe, tuple(name for name, value in keyed.items() if value is not None))


def _first_with_key(recipes: Sequence[PublishedRecipe], keys: Sequence[RecipeKey]) -> PublishedRecipe | None:
    return next((recipe for key in keys for recipe in recipes if (recipe["noise"], recipe["rate"]) == key), None)


# Recipe files --------------------------------------------------------------------------------------------------------

HOW_TO_CHOOSE = "choose them by python -m bench tune --grid shared, or type --protocol shared-lr"
MODEL_AND_DATA = frozenset(
    {"data_set", "data_sha256", "model", "weights_sha256", "features", "feature_size", "feature_views"}
    | {"feature_components", "feature_precision"}
)
"""Fields that a study's values are tied to; the shared grid's values are tied to their whole setting."""


@dataclass(frozen=True)
class SourcedRecipes:
    """A recipe file and its path for messages. `named`: by `--recipes`; otherwise the file is the project's own."""

    path: str
    file: RecipeFile
    named: bool


def applicable_grid(
    source: SourcedRecipes | None, spec: RunSpec, request: Request, outright: Sequence[Declaration]
) -> tuple[SourcedRecipes | None, tuple[str, ...]]:
    """The grid's file if the request trains by it, and a note where the project's own doesn't hold.

    `spec` is a run in the request's setting, `outright` the methods that the request names themselves. All rows of a
    table come from the grid or none, so that a file without one of these methods isn't used at all. Raises UsageError
    where a file that `--recipes` names doesn't hold.
    """
    if source is None:
        return None, ()
    if request.protocol == "shared-lr":
        if source.named:
            raise UsageError(f"{source.path} is of the shared protocol's grid: leave --protocol shared-lr out")
        return None, ()
    if request.lr is not None or request.weight_decay is not None:
        return None, ()
    why_not = _why_not(source, spec)
    if why_not is None:
        absent = [(method["name"], missing_recipe(source, method)) for method in outright]
        why_not = list_first(f"{name}: {reason}" for name, reason in absent if reason) or None
    if why_not is None:
        return source, ()
    if source.named:
        raise UsageError(f"--recipes {source.path}: {why_not}. {HOW_TO_CHOOSE.capitalize()}")
    return None, (f"{why_not}; so all methods train with the data set's learning rate (shared-lr)",)


def applicable_study(source: SourcedRecipes | None, spec: RunSpec) -> SourcedRecipes | None:
    """The file of studies; raises UsageError where it is for other data or another model."""
    why_not = None if source is None else _why_not(source, spec)
    if why_not:
        raise UsageError(f"--recipes: {why_not}. Tune here as well, or give a file that is for this")
    return source


def _why_not(source: SourcedRecipes, spec: RunSpec) -> str | None:
    """The reason, in one sentence, why a file's values don't hold in the setting of `spec`; None where they do."""
    grid = source.file.kind == "grid"
    differences = setting_differences(source.file, spec, None if grid else MODEL_AND_DATA)
    if differences:
        return f"{source.path} was chosen in another setting ({'; '.join(differences)})"
    fewest = source.file.fewest_held_out
    if grid and fewest < ENOUGH_HELD_OUT:
        return f"{source.path} rests on {fewest:,} held-out labels, and the shared protocol wants {ENOUGH_HELD_OUT:,}"
    return None


def missing_recipe(source: SourcedRecipes, declaration: Declaration) -> str | None:
    """The reason why the file has no values for a method, or None."""
    recipes = source.file.of(declaration["name"])
    if not recipes:
        return f"{source.path} holds no values for it"
    if not _usable_recipes(source, declaration):
        other, version = recipes[0].method_version, declaration["version"]
        return f"the values in {source.path} are for version {other} of it, and this is version {version}"
    return None


def recipe_with_grid(source: SourcedRecipes, declaration: Declaration, published: RecipeChoice) -> RecipeChoice:
    """A method's values under the shared protocol: learning rate and weight decay (or its own penalty) of the grid.

    `published` is its recipe by `--recipes`: one that is keyed by the noise keeps its parameters. The file must have
    values for the method (see `missing_recipe`). What the grid chose for an older version of the method is its learning
    rate and weight decay (or penalty); the other parameters are then those of today's version.
    """
    tuned = _usable_recipes(source, declaration)[0]
    if published.privileges:
        recipe = published.recipe
    elif tuned.method_version == declaration["version"]:
        recipe = {"values": tuned.parameters}
    else:
        penalty = {name: value for name, value in tuned.parameters.items() if name == declaration["own_penalty"]}
        recipe = {"values": {**published.values, **penalty}}
    return RecipeChoice(recipe, published.privileges, _core_values(tuned))


def note_older_versions(file: RecipeFile, specs: Iterable[RunSpec]) -> tuple[str, ...]:
    """A note on the methods of `specs` that train with what the grid of `file` chose for an older version, if any."""
    chosen = {recipe.method: recipe.method_version for recipe in file.recipe}
    versions = {spec.method: spec.method_version for spec in specs if not is_tuned(spec.privileges)}
    older = [
        f"{method} (for version {chosen[method]}, now {now})"
        for method, now in sorted(versions.items())
        if chosen.get(method, now) < now
    ]
    if not older:
        return ()
    return (
        f"the grid chose learning rate and weight decay for an older version of {len(older)} "
        f"method{'s' * (len(older) > 1)}: {list_first(older, 1)}; python -m bench tune --grid shared chooses anew",
    )


def recipe_from_study(
    source: SourcedRecipes, declaration: Declaration, noise: str, rate: float | None
) -> RecipeChoice | None:
    """A method's values for this noise from a file of studies, or None where the file has none for it.

    Recipes are chosen by their keys like published ones. Every choice gives the privileges of being tuned, with the
    number of trials, and of clean validation labels where the study chose by them.
    """
    keyed = [
        {"noise": tuned.noise, "rate": tuned.rate, "values": tuned.parameters, "tuned": tuned}
        for tuned in _usable_recipes(source, declaration)
    ]
    choice = published_recipe(keyed, noise, rate)
    if choice.recipe is None:
        return None
    tuned = choice.recipe["tuned"]
    study = source.file.choice[tuned.choice]
    privileges = [*choice.privileges, tuned_privilege(study.trials)]
    privileges += [CLEAN_VALIDATION] if study.objective == "clean-val" else []
    return RecipeChoice(choice.recipe, tuple(privileges), _core_values(tuned))


def _usable_recipes(source: SourcedRecipes, declaration: Declaration) -> list[MethodRecipe]:
    """The file's recipes that hold for a method: those for its version, and of a grid those for an older one too.

    A learning rate is worth keeping while nobody has run the grid again; a study chose parameters of what the older
    version computed.
    """
    recipes, version = source.file.of(declaration["name"]), declaration["version"]
    grid = source.file.kind == "grid"
    return [recipe for recipe in recipes if recipe.method_version in range(1 if grid else version, version + 1)]


def _core_values(recipe: MethodRecipe) -> dict[str, float]:
    return {"learning_rate": recipe.learning_rate, "weight_decay": recipe.weight_decay}
