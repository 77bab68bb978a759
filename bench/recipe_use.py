"""What of a recipe file a method trains with, and whether the file holds for a request at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import recipes
from bench.errors import UsageError
from bench.privileges import CLEAN_VALIDATION, tuned
from bench.recipe_files import ENOUGH_HELD_OUT, Recipe, RecipeFile, differences
from bench.recipes import Chosen
from bench.request import Request
from bench.spec import RunSpec

HOW_TO_CHOOSE = "choose them by python -m bench tune --grid shared, or type --protocol shared-lr"
MODEL_AND_DATA = frozenset({"data_set", "data_sha256", "model"})
"""What the values of a study are tied to; those of the shared grid are tied to the whole of their setting."""

Declaration = Mapping[str, Any]


@dataclass(frozen=True)
class Sourced:
    """A recipe file and its path for messages. `named`: by `--recipes`; otherwise it's the project's own."""

    path: str
    file: RecipeFile
    named: bool


def grid_in_force(
    source: Sourced | None, spec: RunSpec, request: Request, outright: Sequence[Declaration]
) -> tuple[Sourced | None, tuple[str, ...]]:
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
    absent = [(each["name"], missing(source, each)) for each in outright]
    lacking = [f"{name}: {reason}" for name, reason in absent if reason]
    if source.named:
        if why or lacking:
            raise UsageError(f"--recipes {source.path}: {why or listed(lacking)}. {HOW_TO_CHOOSE.capitalize()}")
        return source, ()
    if why or lacking:
        rest = "so all methods train with the data set's learning rate (shared-lr)"
        return None, (f"{why or listed(lacking)}; {rest}",)
    return source, ()


def study_in_force(source: Sourced | None, spec: RunSpec) -> Sourced | None:
    """The file of studies; raises UsageError where it is for other data or another model."""
    why = None if source is None else _why_not(source, spec)
    if why:
        raise UsageError(f"--recipes: {why}. Tune here as well, or give a file that is for this")
    return source


def _why_not(source: Sourced, spec: RunSpec) -> str | None:
    """Why a file's values don't hold in the setting of `spec`, in one sentence; None where they do."""
    grid = source.file.kind == "grid"
    found = differences(source.file, spec, None if grid else MODEL_AND_DATA)
    if found:
        return f"{source.path} was chosen in another setting ({'; '.join(found)})"
    fewest = min(choice.held_out_labels for choice in source.file.choice.values())
    if grid and fewest < ENOUGH_HELD_OUT:
        return f"{source.path} rests on {fewest:,} held-out labels, and the shared protocol wants {ENOUGH_HELD_OUT:,}"
    return None


def missing(source: Sourced, declaration: Declaration) -> str | None:
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


def with_grid(source: Sourced, declaration: Declaration, published: Chosen) -> Chosen:
    """A method's values under the shared protocol: learning rate and weight decay (or its own penalty) of the grid.

    `published` is what it has by `--recipes`: a setting that is keyed by the noise keeps its parameters. The file must
    have values for the method (see `missing`).
    """
    entry = next(each for each in source.file.of(declaration["name"]) if each.method_version == declaration["version"])
    if published.privileges:
        return Chosen(published.recipe, published.privileges, _core(entry))
    return Chosen({"values": entry.parameters}, (), _core(entry))


def from_study(source: Sourced, declaration: Declaration, noise: str, rate: float | None) -> Chosen | None:
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
    found = recipes.published(tables, noise, rate)
    if found.recipe is None:
        return None
    entry = known[found.recipe["id"]]
    choice = source.file.choice[entry.choice]
    told = [*found.privileges, tuned(choice.trials)]
    told += [CLEAN_VALIDATION] if choice.objective == "clean-val" else []
    return Chosen(found.recipe, tuple(told), _core(entry))


def _core(entry: Recipe) -> dict[str, float]:
    return {"learning_rate": entry.learning_rate, "weight_decay": entry.weight_decay}


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, the first few of many."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more
