"""`--protocol paper`: whose recipe a method trains by, and what of it can't be followed to the letter. Pure.

Codes print different settings for one method. Each recipe names its sources; `recipes_of_source` chooses among them,
`source_of` says which one it was, and `paper_notes` says so to the user.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.registry.names import unknown_name
from bench.system.text import join_words, list_first

Declaration = Mapping[str, Any]
PublishedRecipe = Mapping[str, Any]

PAPER = "paper"
TRAINING_FIELDS = (
    *("model", "epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "momentum", "nesterov"),
    *("schedule", "gradient_clip", "augmentation"),
)
"""What a paper's training is made of; a recipe that lacks one trains with the data set's."""


def usual_precision(is_paper: bool, declared: str) -> str:
    """The precision of a request that names none: fp32 under the paper protocol, since all codes compute in it.

    `declared` is the data set's.
    """
    return "fp32" if is_paper else declared


def source_names(recipe: PublishedRecipe) -> Sequence[str]:
    """The names of a recipe's sources."""
    names: Sequence[str] = recipe.get("source_names", ())
    return names


def all_sources(methods: Iterable[Declaration]) -> list[str]:
    """The sources of all recipes that say how a method trains, in order of the alphabet."""
    recipes = (recipe for method in methods for recipe in method["recipes"] if recipe["training"])
    return sorted({name for recipe in recipes for name in source_names(recipe)})


def check_source(source: str | None, methods: Iterable[Declaration]) -> None:
    """Raise UsageError where no method has a recipe of the source of `--protocol paper:SOURCE`."""
    if source is not None:
        known = all_sources(methods)
        if source not in known:
            raise unknown_name("recipe source", source, known)


def recipes_of_source(
    recipes: Sequence[PublishedRecipe], source: str | None, compared: str | None
) -> list[PublishedRecipe]:
    """The recipes of the source that was typed (None: all, those of the source `compared` first)."""
    if source is None:
        return sorted(recipes, key=lambda recipe: compared not in source_names(recipe))
    return [recipe for recipe in recipes if source in source_names(recipe)]


def trained_recipes(method: Declaration) -> list[PublishedRecipe]:
    """A method's recipes that say how it trains; of each data set first those that `--protocol paper` takes."""
    trained = [recipe for recipe in method["recipes"] if recipe["training"]]
    first = {recipe["data_set"]: place for place, recipe in reversed(list(enumerate(trained)))}
    in_order = recipes_of_source(trained, None, method["compared_source"])
    return sorted(in_order, key=lambda recipe: first[recipe["data_set"]])


def source_of(recipe: PublishedRecipe, source: str | None, compared: str | None) -> str | None:
    """The name of the source that a chosen recipe is recorded under; None where it has none."""
    names = source_names(recipe)
    return next((name for name in (source, compared, *names) if name in names), None)


def paper_notes(chosen: Mapping[str, PublishedRecipe], sources: Mapping[str, str | None]) -> tuple[str, ...]:
    """Notes on the recipes (by method) that a request trains by: their sources, and where they deviate.

    `sources` are the names under which they are recorded.
    """
    by_source: dict[str, list[str]] = {}
    deviating: dict[str, list[str]] = {}
    for method, recipe in chosen.items():
        by_source.setdefault(sources[method] or "no named source", []).append(method)
        for words in deviations(recipe):
            deviating.setdefault(words, []).append(method)
    listed = [f"{source} for {list_first(names, 3)}" for source, names in sorted(by_source.items())]
    notes = [f"recipes by source: {'; '.join(listed)}"] if listed else []
    notes += [f"not to the letter, {list_first(sorted(names), 3)}: {words}" for words, names in deviating.items()]
    return tuple(notes)


def deviations(recipe: PublishedRecipe) -> list[str]:
    """Where a run by this recipe isn't what its source ran, a sentence for each."""
    declared = [words for words in recipe.get("deviation", "").split("; ") if words]
    missing = [name.replace("_", " ") for name in TRAINING_FIELDS if name not in recipe["training"]]
    left_out = [f"the data set's own {join_words(missing)}, which the recipe can't say"] if missing else []
    return [*declared, *left_out]
