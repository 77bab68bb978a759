"""A case's outcome in words: the table that `tune` prints, and the page beside the recipes. Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

OBJECTIVES = {"noisy-val": "the hold-out's noisy labels", "clean-val": "the hold-out's CLEAN labels, a privilege"}


def summarise_studies(documents: Sequence[Mapping[str, Any]]) -> str:
    """One row a study: what was chosen, by how much, from how many trials and dimensions."""
    rows = [
        [
            each["study"],
            each["dimensions"],
            each["trials"],
            _ended(each["ended"]),
            each["runs"],
            _percent(each["own"] and each["own"]["fresh"]),
            _percent(each["best"] and each["best"]["fresh"]),
            "nothing" if each["chosen"] is None else "own values kept" if each["kept"] else _values(each["chosen"]),
        ]
        for each in documents
    ]
    names = ["study", "dims", "trials", "complete/pruned/failed", "runs", "own values", "best", "chosen"]
    table = _table(rows, names)
    return f"{table}\n\n{_caption(documents)}"


def _caption(documents: Sequence[Mapping[str, Any]]) -> str:
    first = documents[0]
    splits = "one split" if first["splits"] == 1 else f"{first['splits']} splits"
    mean = "the last epoch" if first["last_epochs"] == 1 else f"the last {first['last_epochs']} epochs, their mean"
    dimensions = sorted({each["dimensions"] for each in documents})
    unequal = (
        f" Every study had {first['trials']} trials, which go further over {dimensions[0]} dimension"
        f"{'s' * (dimensions[0] != 1)} than over {dimensions[-1]}."
        if len(dimensions) > 1
        else ""
    )
    return (
        f"Criterion: accuracy on {OBJECTIVES[first['objective']]}, percent, at {mean}, over {splits} with "
        f"{first['held_out_labels']} labels in all, ± standard error; own values and best: on fresh seeds. "
        "Own values are kept unless they lie more than one standard error below the best. None of these seeds is for "
        "reporting."
        f"{unequal}"
    )


def study_page(
    documents: Sequence[Mapping[str, Any]], made: str, use: str, plots: Mapping[str, Sequence[str]], recipes: str
) -> str:
    """The whole page: `made` and `use` are commands, `plots` and `recipes` file names."""
    parts = [
        f"# Tuned: {', '.join(dict.fromkeys(each['data_set'] for each in documents))}",
        summarise_studies(documents),
    ]
    parts.append(
        f"Made by\n\n    {made}\n\nThe choices are in [{recipes}]({recipes}); to train with them:\n\n    {use}"
    )
    parts += [_study(each, plots.get(each["study"], ())) for each in documents]
    return "\n\n".join(parts) + "\n"


def _study(one: Mapping[str, Any], plots: Sequence[str]) -> str:
    rows = [
        [
            each["trial"],
            _values(each),
            _percent(each["search"]),
            each["failed"] or _percent(each["fresh"]),
            "" if each["fresh"] is None else f"[{100 * each['fresh']['low']:.2f}, {100 * each['fresh']['high']:.2f}]",
            _percent(each["clean"]),
            " ".join(
                word
                for word, is_it in (
                    ("own", each["trial"] == 1),
                    ("best", one["best"] is not None and each["trial"] == one["best"]["trial"]),
                    ("chosen", one["chosen"] is not None and each["trial"] == one["chosen"]["trial"]),
                )
                if is_it
            ),
        ]
        for each in one["finalists"]
    ]
    finals = _table(rows, ["trial", "values", "search", "fresh seeds", "95 %", "their clean labels", ""])
    searched = [
        [
            name,
            text,
            _span(one["as_good"].get(name)),
            "–" if one["importance"] is None or name not in one["importance"] else f"{one['importance'][name]:.2f}",
        ]
        for name, text in one["space"].items()
    ]
    space = _table(searched, ["searched", "where", "within one error of the best", "importance"])
    images = "\n".join(f"![{name}]({name})" for name in plots)
    if images:
        images = f"The plots have Optuna's numbers of trials, which begin at 0.\n\n{images}"
    seeds = (
        f"Searched on seeds {_range(one['search_seeds'])}, decided on seeds {_range(one['final_seeds'])}; study seed "
        f"{one['study_seed']}."
    )
    parts = (f"## {one['study']}", seeds, finals, hindsight_section(one), space, images)
    return "\n\n".join(part for part in parts if part)


def hindsight_section(one: Mapping[str, Any]) -> str:
    """What the choice bought, and what clean labels would have chosen; nothing where that isn't known."""
    if one["regret"] is None:
        return ""
    kept = one["chosen"]["trial"] == 1
    bought = f"the choice is {_points(one['bought'])} above the own values; " if one["bought"] and not kept else ""
    same = one["chosen"]["trial"] == one["clean_choice"]
    clean = (
        "clean labels would have chosen the same among those run again"
        if same
        else f"clean labels would have chosen trial {one['clean_choice']} among those run again, which is "
        f"{_points(one['regret'])} above the choice (its regret)"
    )
    first = one["clean_first"]
    again = first is not None and first["trial"] in [each["trial"] for each in one["finalists"]]
    searched = (
        ""
        if first is None
        else f" Of the {first['of']} trials that completed, they put trial {first['trial']} first on the search seeds, "
        f"which {'was' if again else 'was not'} run again."
    )
    points = "in points of test accuracy at the last epoch, on the fresh seeds"
    return f"With hindsight ({points}): {bought}the hold-outs' {clean}.{searched}"


def _points(difference: Mapping[str, Any]) -> str:
    """Points with the 95 % interval of paired differences."""
    mean = f"{100 * difference['mean']:+.2f}"
    if difference["low"] is None:
        return mean
    return f"{mean} [{100 * difference['low']:+.2f}, {100 * difference['high']:+.2f}]"


def _range(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"


def _ended(states: Mapping[str, int]) -> str:
    return f"{states['complete']}/{states['pruned']}/{states['fail']}"


def _percent(came_to: Mapping[str, Any] | None) -> str:
    return "–" if not came_to else f"{100 * came_to['mean']:.2f} ± {100 * came_to['standard_error']:.2f}"


def _values(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in one["values"].items())


def _span(values: Sequence[Any] | None) -> str:
    if not values:
        return "–"
    return " to ".join(str(each) for each in dict.fromkeys(values))


def _table(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> str:
    return tabulate(rows, names, tablefmt="github", disable_numparse=True)
