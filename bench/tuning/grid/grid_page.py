"""The result of the shared grid for people and programs: page beside the file, JSON document, terminal table. Pure.

Read first `shared_grid_page` for the page and `grid_document` for the JSON, from which `grid_table` is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.leaderboard.render.markdown import escape_markdown, markdown_table
from bench.planning.plan import LeftOut
from bench.planning.recipe_files import FileChoice, MethodRecipe, RecipeFile
from bench.system.text import format_duration
from bench.tuning.grid.successive_halving import GridChoice, GridResult

if TYPE_CHECKING:
    from rich.table import Table

Record = Mapping[str, Any]
Document = dict[str, Any]

TITLES = ("method", "learning rate", "weight decay or penalty", "criterion", "own values", "best of the grid", "chosen")
LEGEND = """\
*criterion*: accuracy on the hold-out's noisy labels, in percent, of the values that are trained with, mean over the
splits ± standard error; *own values*: that of the values which the method had before, the data set's or the paper's;
they stay unless they lie more than one standard error below the *best of the grid*. The splits' seeds are for choosing,
and no board shows them."""


def shared_grid_page(file: RecipeFile, methods: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """The page of a recipe file in Markdown. `methods` are the declarations by name, `name` is the file's."""
    changed = sum(not recipe.kept for recipe in file.recipe)
    verb = "trains" if changed == 1 else "train"
    parts = [
        f"# The shared grid: {file.setting['data_set']}",
        f"{changed} of {len(file.recipe)} methods {verb} with other values than before.",
        markdown_table(TITLES, [_recipe_row(recipe, methods) for recipe in file.recipe], {"method", "chosen"}),
        LEGEND,
        *(_choice_paragraph(key, choice, file) for key, choice in file.choice.items()),
        f"The values stand in [{name}]({name}).",
    ]
    return "\n\n".join(parts) + "\n"


def _recipe_row(recipe: MethodRecipe, methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    penalty = (methods.get(recipe.method) or {}).get("own_penalty")
    cells = [
        recipe.method,
        f"{recipe.learning_rate:g}",
        f"{recipe.weight_decay:g}" if penalty is None else f"{penalty} {recipe.parameters[penalty]:g}",
        f"{100 * recipe.criterion:.1f} ± {100 * recipe.standard_error:.1f}",
        "–" if recipe.own_criterion is None else f"{100 * recipe.own_criterion:.1f}",
        "–" if recipe.best_criterion is None else f"{100 * recipe.best_criterion:.1f}",
        "own values" if recipe.kept else "the best",
    ]
    return [escape_markdown(cell) for cell in cells]


def _choice_paragraph(key: str, choice: FileChoice, file: RecipeFile) -> str:
    """How a choice was made, and for which methods if the file has several choices."""
    recipes = [recipe for recipe in file.recipe if recipe.choice == key]
    methods = "" if len(file.choice) == 1 else f" ({', '.join(recipe.method for recipe in recipes)})"
    noise = choice.noise if choice.rate is None else f"{choice.noise} {choice.rate:g}"
    tried = "; ".join(f"{name.replace('_', ' ')}: {values}" for name, values in choice.tried.items())
    seeds = f"{len(choice.seeds)} splits from seed {choice.seeds[0]} with {choice.held_out_labels:,} held-out labels"
    runs = f"{sum(recipe.runs for recipe in recipes):,} runs"
    return (
        f"Made{methods} by\n\n    {choice.command}\n\nat {noise}, on {seeds} in all, in {runs}; revision "
        f"{choice.revision}, the last one on {choice.date}. Tried: {tried}."
    )


def grid_document(result: GridResult, left_out: Sequence[LeftOut], command: str) -> Document:
    """The result as JSON-able values; shares from 0 to 1.

    A setting without criterion diverged. One with fewer splits than its method was dropped on the way; its criterion is
    that of the splits that it was judged on.
    """
    return {
        "schema": 1,
        "command": command,
        "methods": [_method_document(choice) for choice in result.choices],
        "undecided": [{"method": name, "reason": reason} for name, reason in sorted(result.undecided.items())],
        "left_out": [{"method": entry.method, "reason": entry.reason} for entry in left_out],
        "cost": {
            "runs": len(result.records),
            "settings_diverged": sum(len(numbers) for numbers in result.diverged.values()),
            "forward_passes": sum(_forward_passes(record) for record in result.records),
            "seconds": sum(_seconds(record) for record in result.records),
        },
    }


def _method_document(choice: GridChoice) -> Document:
    candidates, decision = choice.candidates, choice.decision
    assert decision is not None
    penalty = candidates.declaration["own_penalty"]
    return {
        "method": candidates.method,
        "penalty": penalty,
        "own": 0,
        "best": decision.best,
        "chosen": decision.chosen,
        "kept": decision.kept,
        "splits": len(candidates.splits),
        "settings": [
            {
                "learning_rate": point.learning_rate,
                "weight_decay": point.weight_decay,
                "penalty": None if penalty is None else dict(point.parameters)[penalty],
                "criterion": None if score is None else score.mean,
                "standard_error": None if score is None else score.error,
                "held_out_labels": None if score is None else score.labels,
                "splits": judged,
            }
            for point, score, judged in zip(candidates.points, choice.scores, choice.standing.judged, strict=True)
        ],
    }


def _forward_passes(record: Record) -> float:
    """Forward passes of an image in a run, a backward pass counting as two."""
    measures = record["measures"]
    return float(measures["units_per_sample_epoch"] * record["spec"]["epochs"] * measures["samples"]["train"])


def _seconds(record: Record) -> float:
    return float(((record.get("provenance") or {}).get("seconds") or {}).get("total") or 0.0)


def grid_table(document: Document) -> tuple[Table, list[str]]:
    """The table of the choices in the terminal, and the lines under it."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("method", "own values", "criterion", "best of the grid", "criterion", "chosen"):
        table.add_column(title, overflow="fold")
    for method in document["methods"]:
        default, best = (method["settings"][method[name]] for name in ("own", "best"))
        same = method["best"] == method["own"]
        table.add_row(
            method["method"],
            _setting(default, method["penalty"]),
            _criterion(default),
            "the same" if same else _setting(best, method["penalty"]),
            "" if same else _criterion(best),
            "own values" if method["kept"] else "best",
        )
    changed = [method["method"] for method in document["methods"] if not method["kept"]]
    cost = document["cost"]
    lines = [
        "Criterion: accuracy on held-out noisy labels, in percent, mean over the splits ± standard error. Own values "
        "stay unless they lie more than the best's standard error below the best.",
        f"{len(document['methods'])} methods chosen for, {len(changed)} with other values than before"
        + (f": {', '.join(changed)}" if changed else ""),
        f"cost: {cost['runs']:,} runs, {cost['forward_passes']:.3g} forward passes of an image (a backward pass is "
        f"two), {format_duration(cost['seconds'])} of training",
    ]
    if cost["settings_diverged"]:
        lines.append(f"{cost['settings_diverged']} settings diverged, and aren't chosen")
    for title in ("undecided", "left_out"):
        lines += [f"{title.replace('_', ' ')}: {entry['method']}: {entry['reason']}" for entry in document[title]]
    return table, lines


def _setting(setting: Mapping[str, Any], penalty: str | None) -> str:
    other = f"wd {setting['weight_decay']:g}" if penalty is None else f"{penalty} {setting['penalty']:g}"
    return f"lr {setting['learning_rate']:g}, {other}"


def _criterion(setting: Mapping[str, Any]) -> str:
    if setting["criterion"] is None:
        return "diverged"
    return f"{100 * setting['criterion']:.1f} ± {100 * setting['standard_error']:.1f}"
