"""Study results in words: the table that `tune` prints, and the page beside the recipes. Markdown.

Read first `summarise_studies` and `study_page`. Both are made from the documents of `study_document`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from bench.leaderboard.render.markdown import escape_markdown
from bench.tuning.study.search_space import describe_values

OBJECTIVES = {"noisy-val": "the hold-out's noisy labels", "clean-val": "the hold-out's CLEAN labels, a privilege"}
Document = Mapping[str, Any]


def summarise_studies(studies: Sequence[Document]) -> str:
    """A table with a row for each study: what was chosen, by how much, from how many trials and dimensions."""
    rows = [
        [
            study["study"],
            study["dimensions"],
            study["trials"],
            "/".join(str(study["ended"][state]) for state in ("complete", "pruned", "fail")),
            study["runs"],
            _percent(study["own"] and study["own"]["fresh"]),
            _percent(study["best"] and study["best"]["fresh"]),
            "nothing"
            if study["chosen"] is None
            else "own values kept"
            if study["kept"]
            else describe_values(study["chosen"]["values"]),
        ]
        for study in studies
    ]
    titles = ["study", "dims", "trials", "complete/pruned/failed", "runs", "own values", "best", "chosen"]
    return f"{_table(rows, titles)}\n\n{_caption(studies)}"


def _caption(studies: Sequence[Document]) -> str:
    first = studies[0]
    splits = "one split" if first["splits"] == 1 else f"{first['splits']} splits"
    epochs = "the last epoch" if first["last_epochs"] == 1 else f"the last {first['last_epochs']} epochs, their mean"
    dimensions = sorted({study["dimensions"] for study in studies})
    unequal = (
        f" Every study had {first['trials']} trials, which go further over {dimensions[0]} dimension"
        f"{'s' * (dimensions[0] != 1)} than over {dimensions[-1]}."
    )
    return (
        f"Criterion: accuracy on {OBJECTIVES[first['objective']]}, percent, at {epochs}, over {splits} with "
        f"{first['held_out_labels']} labels in all, ± standard error; own values and best: on fresh seeds. "
        "Own values are kept unless they lie more than one standard error below the best. None of these seeds is for "
        f"reporting.{unequal if len(dimensions) > 1 else ''}"
    )


def study_page(
    studies: Sequence[Document], tuning: str, training: str, plots: Mapping[str, Sequence[str]], recipes: str
) -> str:
    """The page of one command's studies.

    `tuning` is the command that made the choices, `training` the one that trains with them; `plots` are the file names
    of each study's plots, `recipes` is the name of the recipe file.
    """
    parts = [
        f"# Tuned: {escape_markdown(', '.join(dict.fromkeys(study['data_set'] for study in studies)))}",
        summarise_studies(studies),
        f"Made by\n\n    {tuning}\n\nThe choices are in [{recipes}]({recipes}); to train with them:\n\n    {training}",
        *(_study_section(study, plots.get(study["study"], ())) for study in studies),
    ]
    return "\n\n".join(parts) + "\n"


def _study_section(study: Document, plots: Sequence[str]) -> str:
    numbers = {"own": 1} | {name: study[name]["trial"] for name in ("best", "chosen") if study[name] is not None}
    finalists = [
        [
            finalist["trial"],
            describe_values(finalist["values"]),
            _percent(finalist["search"]),
            finalist["failed"] or _percent(finalist["fresh"]),
            f"[{100 * fresh['low']:.2f}, {100 * fresh['high']:.2f}]" if (fresh := finalist["fresh"]) else "",
            _percent(finalist["clean"]),
            " ".join(name for name, trial in numbers.items() if trial == finalist["trial"]),
        ]
        for finalist in study["finalists"]
    ]
    importance = study["importance"] or {}
    dimensions = [
        [name, space, _span(study["as_good"].get(name)), f"{importance[name]:.2f}" if name in importance else "–"]
        for name, space in study["space"].items()
    ]
    images = "\n".join(f"![{name}]({name})" for name in plots)
    if images:
        images = f"The plots have Optuna's numbers of trials, which begin at 0.\n\n{images}"
    parts = (
        f"## {escape_markdown(study['study'])}",
        f"Searched on seeds {_seed_range(study['search_seeds'])}, decided on seeds "
        f"{_seed_range(study['final_seeds'])}; study seed {study['study_seed']}.",
        _table(finalists, ["trial", "values", "search", "fresh seeds", "95 %", "their clean labels", ""]),
        hindsight_section(study),
        _table(dimensions, ["searched", "where", "within one error of the best", "importance"]),
        images,
    )
    return "\n\n".join(part for part in parts if part)


def hindsight_section(study: Document) -> str:
    """What the choice gained, and what clean labels would have chosen; empty where that isn't known."""
    if study["regret"] is None:
        return ""
    chosen, first = study["chosen"]["trial"], study["clean_first"]
    gain = f"the choice is {_points(study['bought'])} above the own values; " if study["bought"] and chosen != 1 else ""
    clean = (
        "clean labels would have chosen the same among those run again"
        if chosen == study["clean_choice"]
        else f"clean labels would have chosen trial {study['clean_choice']} among those run again, which is "
        f"{_points(study['regret'])} above the choice (its regret)"
    )
    searched = ""
    if first is not None:
        again = first["trial"] in [finalist["trial"] for finalist in study["finalists"]]
        searched = (
            f" Of the {first['of']} trials that completed, they put trial {first['trial']} first on the search seeds, "
            f"which {'was' if again else 'was not'} run again."
        )
    points = "in points of test accuracy at the last epoch, on the fresh seeds"
    return f"With hindsight ({points}): {gain}the hold-outs' {clean}.{searched}"


def _points(difference: Document) -> str:
    """Points with the 95 % interval of paired differences."""
    mean = f"{100 * difference['mean']:+.2f}"
    if difference["low"] is None:
        return mean
    return f"{mean} [{100 * difference['low']:+.2f}, {100 * difference['high']:+.2f}]"


def _percent(score: Document | None) -> str:
    return "–" if not score else f"{100 * score['mean']:.2f} ± {100 * score['standard_error']:.2f}"


def _seed_range(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"


def _span(values: Sequence[Any] | None) -> str:
    return " to ".join(str(value) for value in dict.fromkeys(values)) if values else "–"


def _table(rows: Sequence[Sequence[Any]], titles: Sequence[str]) -> str:
    cells = [[escape_markdown(cell) for cell in row] for row in rows]
    return tabulate(cells, titles, tablefmt="github", disable_numparse=True)
