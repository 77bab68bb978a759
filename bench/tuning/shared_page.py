"""The page beside the shared grid's recipe file: what was chosen for each method, by what, and how. Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.leaderboard.markdown import escape, grid
from bench.recipe_files import Choice, Recipe, RecipeFile

TITLES = ("method", "learning rate", "weight decay or penalty", "criterion", "own values", "best of the grid", "chosen")
LEGEND = """\
*criterion*: accuracy on the hold-out's noisy labels, in percent, of the values that are trained with, mean over the
splits ± standard error; *own values*: that of the values which the method had before, the data set's or the paper's;
they stay unless they lie more than one standard error below the *best of the grid*. The splits' seeds are for choosing,
and no board shows them."""


def page(found: RecipeFile, methods: Mapping[str, Mapping[str, Any]], recipes: str) -> str:
    """The whole page; `methods` declares them by name, `recipes` is the name of the file."""
    changed = [each.method for each in found.recipe if not each.kept]
    count = len(found.recipe)
    verb = "trains" if len(changed) == 1 else "train"
    sentence = f"{len(changed)} of {count} methods {verb} with other values than before."
    table = grid(TITLES, [_row(each, methods) for each in found.recipe], {"method", "chosen"})
    parts = [f"# The shared grid: {found.setting['data_set']}", sentence, table, LEGEND]
    parts += [_how(name, each, found) for name, each in found.choice.items()]
    parts.append(f"The values stand in [{recipes}]({recipes}).")
    return "\n\n".join(parts) + "\n"


def _row(one: Recipe, methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    penalty = (methods.get(one.method) or {}).get("own_penalty")
    decay = f"{one.weight_decay:g}" if penalty is None else f"{penalty} {one.parameters[penalty]:g}"
    cells = [
        one.method,
        f"{one.learning_rate:g}",
        decay,
        f"{100 * one.criterion:.1f} ± {100 * one.standard_error:.1f}",
        "–" if one.own_criterion is None else f"{100 * one.own_criterion:.1f}",
        "–" if one.best_criterion is None else f"{100 * one.best_criterion:.1f}",
        "own values" if one.kept else "the best",
    ]
    return [escape(cell) for cell in cells]


def _how(name: str, choice: Choice, found: RecipeFile) -> str:
    """How the methods of one choice were chosen for; which they are is said where there are several."""
    own = [each for each in found.recipe if each.choice == name]
    whose = "" if len(found.choice) == 1 else f" ({', '.join(each.method for each in own)})"
    noise = choice.noise if choice.rate is None else f"{choice.noise} {choice.rate:g}"
    tried = "; ".join(f"{what.replace('_', ' ')}: {how}" for what, how in choice.tried.items())
    seeds = f"{len(choice.seeds)} splits from seed {choice.seeds[0]} with {choice.held_out_labels:,} held-out labels"
    runs = f"{sum(each.runs for each in own):,} runs; revision {choice.revision}, the last one on {choice.date}"
    return f"Made{whose} by\n\n    {choice.command}\n\nat {noise}, on {seeds} in all, in {runs}. Tried: {tried}."
