"""The recipe file of a data set's shared grid: its path, what of it stays, and what a new choice adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.planning import recipe_files
from bench.planning.recipe_files import FileChoice, MethodRecipe, RecipeFile, recipe_setting, setting_differences
from bench.spec import RunSpec
from bench.stats.holdout_choice import ENOUGH_HELD_OUT
from bench.system.errors import UsageError
from bench.system.files import safe_file_stem, write_atomically
from bench.tuning.grid.grid_page import shared_grid_page

NAME = "grid"


def grid_file_path(boards: Path, data_set: str, features: str | None = None) -> Path:
    """The path that `tune --grid shared` writes a data set's file to; of `features` of it, a file of their own."""
    backbone = "" if features is None else f"-{features.partition(':')[2]}"
    return boards / recipe_files.FOLDER / f"shared-{safe_file_stem(data_set + backbone)}.toml"


def previous_grid_file(path: Path, spec: RunSpec, held_out: int) -> RecipeFile | None:
    """The file that a new choice is added to: the one at `path`, else the project's own of the same setting, or None.

    `held_out`: labels that the new choice rests on. Raises UsageError where the file at `path` is of another setting,
    so that adding would mix two, or rests on enough labels for the shared protocol and the new choice doesn't.
    """
    if path.exists():
        previous = recipe_files.read_recipe_file(path)
        other_kind = [] if previous.kind == "grid" else ["it holds what studies chose"]
        if differences := other_kind or setting_differences(previous, spec):
            raise UsageError(
                f"{path} was chosen in another setting ({'; '.join(differences)}). Give another --boards, or move it "
                "away"
            )
    else:
        shared = recipe_files.shared_recipe_file(spec.data_set, spec.model, spec.features)
        if shared is None or setting_differences(shared[1], spec):
            return None
        previous = shared[1]
    labels = min(choice.held_out_labels for choice in previous.choice.values())
    if held_out < ENOUGH_HELD_OUT <= labels:
        if not path.exists():
            return None
        raise UsageError(
            f"{path} rests on {labels:,} held-out labels, and these seeds give {held_out:,}: leave --seeds out, or "
            "give another --boards"
        )
    return None if labels < ENOUGH_HELD_OUT <= held_out else previous


def merge_grid_files(
    previous: RecipeFile | None, spec: RunSpec, choice: FileChoice, recipes: Sequence[MethodRecipe]
) -> RecipeFile:
    """The previous file with `recipes` added, or in place of older ones of the same methods.

    The choices' names stay; `choice` gets the first free one, which the `choice` fields of `recipes` are set to.
    """
    new = {recipe.method for recipe in recipes}
    remaining = [] if previous is None else [recipe for recipe in previous.recipe if recipe.method not in new]
    choices: Mapping[str, FileChoice] = {} if previous is None else previous.choice
    used = {recipe.choice for recipe in remaining}
    name, number = NAME, 1
    while name in used and choices[name] != choice:
        number += 1
        name = f"{NAME}-{number}"
    recipes = [recipe.model_copy(update={"choice": name}) for recipe in recipes]
    return RecipeFile(
        setting=recipe_setting(spec),
        choice={old: choices[old] for old in choices if old in used} | {name: choice},
        recipe=tuple(sorted([*remaining, *recipes], key=lambda recipe: recipe.method)),
    )


def write_grid_file(file: RecipeFile, path: Path, methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the file, and the page beside it. `methods` are the declarations by name. Raises UsageError on failure."""
    recipe_files.write_recipe_file(file, path)
    page = path.with_suffix(".md")
    try:
        write_atomically(page, shared_grid_page(file, methods, path.name).encode())
    except OSError as error:
        raise UsageError(f"can't write {page}: {error.strerror}. Give another --boards") from None
