"""The recipe file of a data set's shared grid: where it lies, what of it stays, and what a new choice adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.planning import recipe_files
from bench.planning.recipe_files import FileChoice, MethodRecipe, RecipeFile, recipe_setting, setting_differences
from bench.spec import RunSpec
from bench.stats.holdout_choice import ENOUGH_HELD_OUT
from bench.system.errors import UsageError
from bench.system.files import recipe_file_stem, write_atomically
from bench.tuning.grid import grid_page

NAME = "grid"


def grid_file_path(boards: Path, data_set: str) -> Path:
    """Where `tune --grid shared` writes a data set's file."""
    return boards / recipe_files.FOLDER / f"shared-{recipe_file_stem(data_set)}.toml"


def previous_grid_file(path: Path, spec: RunSpec, held_out: int) -> RecipeFile | None:
    """What the file to be written adds to: itself, else the project's own of the same setting; None: to nothing.

    `held_out`: labels that the new choice rests on. Raises UsageError where the file is of another setting, so that
    adding would mix two, or rests on enough labels for the shared protocol and the new choice doesn't.
    """
    if path.exists():
        found = recipe_files.read_recipe_file(path)
        differing = setting_differences(found, spec) if found.kind == "grid" else ["it holds what studies chose"]
        if differing:
            raise UsageError(
                f"{path} was chosen in another setting ({'; '.join(differing)}). Give another --boards, or move it away"
            )
    else:
        own = recipe_files.shared_recipe_file(spec.data_set, spec.model)
        if own is None or setting_differences(own[1], spec):
            return None
        found = own[1]
    if held_out < ENOUGH_HELD_OUT <= _fewest(found):
        if not path.exists():
            return None
        raise UsageError(
            f"{path} rests on {_fewest(found):,} held-out labels, and these seeds give {held_out:,}: leave --seeds "
            "out, or give another --boards"
        )
    if _fewest(found) < ENOUGH_HELD_OUT <= held_out:
        return None
    return found


def _fewest(found: RecipeFile) -> int:
    return min(choice.held_out_labels for choice in found.choice.values())


def merge_grid_files(
    found: RecipeFile | None, spec: RunSpec, choice: FileChoice, recipes: Sequence[MethodRecipe]
) -> RecipeFile:
    """The file with `recipes`, whose `choice` field is replaced, in place of those that it had for their methods."""
    kept = [] if found is None else list(found.recipe)
    choices: Mapping[str, FileChoice] = {} if found is None else found.choice
    new = {recipe.method for recipe in recipes}
    kept = [each for each in kept if each.method not in new]
    used = {each.choice for each in kept}
    name, number = NAME, 1
    while name in used and choices[name] != choice:
        number += 1
        name = f"{NAME}-{number}"
    recipes = [each.model_copy(update={"choice": name}) for each in recipes]
    return RecipeFile(
        setting=recipe_setting(spec),
        choice={each: choices[each] for each in choices if each in used} | {name: choice},
        recipe=tuple(sorted([*kept, *recipes], key=lambda each: each.method)),
    )


def write_shared_file(found: RecipeFile, path: Path, methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the file, and the page beside it. Raises UsageError where that can't be done."""
    recipe_files.write_recipe_file(found, path)
    try:
        write_atomically(path.with_suffix(".md"), grid_page.shared_grid_page(found, methods, path.name).encode())
    except OSError as error:
        raise UsageError(f"can't write {path.with_suffix('.md')}: {error.strerror}. Give another --boards") from None
