"""The page beside the shared grid's recipe file: what was chosen for each method, by what, and how. Markdown. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.leaderboard.render.markdown import escape_markdown, markdown_table
from bench.planning.plan import LeftOut
from bench.planning.recipe_files import FileChoice, MethodRecipe, RecipeFile
from bench.system.text import format_duration
from bench.tuning.grid.successive_halving import GridChoice

if TYPE_CHECKING:
    from rich.table import Table


TITLES = ("method", "learning rate", "weight decay or penalty", "criterion", "own values", "best of the grid", "chosen")
LEGEND = """\
*criterion*: accuracy on the hold-out's noisy labels, in percent, of the values that are trained with, mean over the
splits ± standard error; *own values*: that of the values which the method had before, the data set's or the paper's;
they stay unless they lie more than one standard error below the *best of the grid*. The splits' seeds are for choosing,
and no board shows them."""


def shared_grid_page(found: RecipeFile, methods: Mapping[str, Mapping[str, Any]], recipes: str) -> str:
    """The whole page; `methods` declares them by name, `recipes` is the name of the file."""
    changed = [each.method for each in found.recipe if not each.kept]
    count = len(found.recipe)
    verb = "trains" if len(changed) == 1 else "train"
    sentence = f"{len(changed)} of {count} methods {verb} with other values than before."
    table = markdown_table(TITLES, [_row(each, methods) for each in found.recipe], {"method", "chosen"})
    parts = [f"# The shared grid: {found.setting['data_set']}", sentence, table, LEGEND]
    parts += [_how(name, each, found) for name, each in found.choice.items()]
    parts.append(f"The values stand in [{recipes}]({recipes}).")
    return "\n\n".join(parts) + "\n"


def _row(one: MethodRecipe, methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
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
    return [escape_markdown(cell) for cell in cells]


def _how(name: str, choice: FileChoice, found: RecipeFile) -> str:
    """How the methods of one choice were chosen for; which they are is said where there are several."""
    own = [each for each in found.recipe if each.choice == name]
    whose = "" if len(found.choice) == 1 else f" ({', '.join(each.method for each in own)})"
    noise = choice.noise if choice.rate is None else f"{choice.noise} {choice.rate:g}"
    tried = "; ".join(f"{what.replace('_', ' ')}: {how}" for what, how in choice.tried.items())
    seeds = f"{len(choice.seeds)} splits from seed {choice.seeds[0]} with {choice.held_out_labels:,} held-out labels"
    runs = f"{sum(each.runs for each in own):,} runs; revision {choice.revision}, the last one on {choice.date}"
    return f"Made{whose} by\n\n    {choice.command}\n\nat {noise}, on {seeds} in all, in {runs}. Tried: {tried}."


Record = Mapping[str, Any]
Document = dict[str, Any]

SCHEMA = 1


def grid_document(
    chosen: Sequence[GridChoice],
    undecided: Mapping[str, str],
    diverged: Mapping[str, Collection[int]],
    records: Sequence[Record],
    left_out: Sequence[LeftOut],
    command: str,
) -> Document:
    """Everything as JSON-able values; shares from 0 to 1.

    A setting without criterion diverged; one with fewer splits than its method was dropped on the way, when it had the
    criterion that stands here. `records`: what the choices rest on.
    """
    return {
        "schema": SCHEMA,
        "command": command,
        "methods": [_method(each) for each in chosen],
        "undecided": [{"method": name, "reason": reason} for name, reason in sorted(undecided.items())],
        "left_out": [{"method": each.method, "reason": each.reason} for each in left_out],
        "cost": _cost(records, sum(len(numbers) for numbers in diverged.values())),
    }


def _method(one: GridChoice) -> Document:
    own, decision = one.candidates, one.decision
    assert decision is not None
    penalty = own.declaration["own_penalty"]
    return {
        "method": own.method,
        "penalty": penalty,
        "own": 0,
        "best": decision.best,
        "chosen": decision.chosen,
        "kept": decision.kept,
        "splits": len(own.splits),
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
            for point, score, judged in zip(own.points, one.scores, one.standing.judged, strict=True)
        ],
    }


def _cost(records: Sequence[Record], diverged: int) -> Document:
    """What the choices took, wherever their runs were trained: runs, passes of images, seconds."""
    return {
        "runs": len(records),
        "settings_diverged": diverged,
        "forward_passes": sum(_passes(record) for record in records),
        "seconds": sum(_seconds(record) for record in records),
    }


def _passes(record: Record) -> float:
    """Forward passes of an image in the whole run, a backward pass counting as two."""
    measures = record["measures"]
    return float(measures["units_per_sample_epoch"] * record["spec"]["epochs"] * measures["samples"]["train"])


def _seconds(record: Record) -> float:
    return float(((record.get("provenance") or {}).get("seconds") or {}).get("total") or 0.0)


def grid_table(document: Document) -> tuple[Table, list[str]]:
    """The table of what was chosen, and the lines under it."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("method", "own values", "criterion", "best of the grid", "criterion", "chosen"):
        table.add_column(title, overflow="fold")
    for each in document["methods"]:
        settings = each["settings"]
        own, best = settings[each["own"]], settings[each["best"]]
        table.add_row(
            each["method"],
            _values(own, each["penalty"]),
            _criterion(own),
            "the same" if each["best"] == each["own"] else _values(best, each["penalty"]),
            "" if each["best"] == each["own"] else _criterion(best),
            "own values" if each["kept"] else "best",
        )
    changed = [each["method"] for each in document["methods"] if not each["kept"]]
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
    lines += [f"undecided: {each['method']}: {each['reason']}" for each in document["undecided"]]
    lines += [f"left out: {each['method']}: {each['reason']}" for each in document["left_out"]]
    return table, lines


def _values(setting: Mapping[str, Any], penalty: str | None) -> str:
    other = f"wd {setting['weight_decay']:g}" if penalty is None else f"{penalty} {setting['penalty']:g}"
    return f"lr {setting['learning_rate']:g}, {other}"


def _criterion(setting: Mapping[str, Any]) -> str:
    if setting["criterion"] is None:
        return "diverged"
    return f"{100 * setting['criterion']:.1f} ± {100 * setting['standard_error']:.1f}"
