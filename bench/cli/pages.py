"""Declarations and records as pages for people.

`method_page`, `data_set_page` and `run_page` (and `noise_page` in `bench.cli.noise_page`) each take the JSON value that
`show --format json` prints; `table` and `pairs_table` are the two shapes that they and other commands draw. The module
imports rich, so commands import it where they print text: JSON needs none of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.planning.paper_protocol import deviations, trained_recipes
from bench.system.text import list_first
from datasets.samples import VectorShape

TOO_LONG_FOR_A_PAGE = frozenset({"test_predictions", "versions"})
MOST_CLASSES = 20
"""Classes whose images a page counts one by one."""
PART_SIZES = ("train_size", "test_size")
DITTO = "″"


def declarations_table(kind: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    """A table of what is registered: name, summary, and what matters for choosing. `kind` is a plural: "methods"."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column(kind[:-1], no_wrap=True)
    drawn.add_column("summary", ratio=1)
    columns = {"methods": ("needs", "assumes"), "datasets": ("classes", "images")}.get(kind, ())
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for entry in entries:
        argument = f":{entry['argument']}" if entry.get("argument") else ""
        name = entry["name"] + (f"[{argument}]" if entry.get("argument_optional") else argument)
        name += f" ({', '.join(entry['aliases'])})" if entry.get("aliases") else ""
        more = (
            [", ".join(entry[column]) for column in columns] if kind == "methods" else _sizes(entry) if columns else []
        )
        drawn.add_row(escape(name), escape(entry.get("summary", "")), *more)
    return drawn


def method_page(entry: Mapping[str, Any]) -> RenderableType:
    """A method's page: what it does, parameters with bounds, search and source, recipes, needs and assumptions."""
    facts = {
        "source": entry["source"],
        "also called": ", ".join(entry["aliases"]),
        "needs": ", ".join(entry["needs"]) or "noisy labels only",
        "assumes": ", ".join(entry["assumes"]),
        "networks": str(entry["networks"]),
        "expected cost": _cost(entry),
        "weight decay": _weight_decay(entry),
        "hold-out": "its noisy labels choose an epoch within training" if entry["uses_held_labels"] else "",
        "control": "yes: a row to compare with, not a method to choose" if entry["control"] else "",
    }
    parts: list[RenderableType] = [_head(entry), "", pairs_table(facts)]
    if entry["parameters"]:
        keys = ("name", "default", "bounds", "search", "meaning", "source")
        rows = [[format_cell(item[key]) for key in keys] for item in entry["parameters"]]
        parts += ["", table(("parameter", *keys[1:]), rows)]
    if entry["recipes"]:
        titles = ("recipe for", "noise", "values", "chosen by", "source")
        parts += ["", table(titles, _without_repeats([_recipe_row(recipe) for recipe in entry["recipes"]]))]
        parts += _trainings(entry)
    return Group(*parts)


def _trainings(entry: Mapping[str, Any]) -> list[RenderableType]:
    """The trainings of the paper protocol, one for each data set and source, and where they deviate from it."""
    rows, deviating = dict[tuple[str, str, str], None](), dict[tuple[str, str, str], None]()
    for recipe in trained_recipes(entry):
        asked = ", ".join(f"paper:{name}" for name in recipe["source_names"])
        rows[_recipe_place(recipe), asked, _training(recipe)] = None
        deviating |= dict.fromkeys((_recipe_place(recipe), asked, words) for words in deviations(recipe))
    if not rows:
        return []
    parts: list[RenderableType] = ["", table(("for", "--protocol", "published training"), list(rows), fold=True)]
    first = entry["compared_source"]
    default = "the first of a data set" if first is None else f"paper:{first} where there is one, else the first"
    parts.append(f"--protocol paper takes {default}, in fp32 and without a hold-out.")
    if deviating:
        parts += ["", table(("for", "--protocol", "not to the letter"), list(deviating), fold=True)]
    return parts


def _weight_decay(entry: Mapping[str, Any]) -> str:
    """A weight decay that the method sets itself; "" where the protocol's holds."""
    if entry["weight_decay"] is None:
        return ""
    penalty = "" if entry["own_penalty"] is None else f": {entry['own_penalty']} stands in for it"
    return f"{entry['weight_decay']:g} (the method's own{penalty})"


def _cost(entry: Mapping[str, Any]) -> str:
    """The cost of training that the method declares; "" where it is what its networks cost."""
    if entry["units"] is None:
        return ""
    parts = [f"{factor:g} x {name}" for name, factor in entry["units_per"].items()]
    base = [f"{entry['units']:g}"] if entry["units"] or not parts else []
    return f"{' + '.join([*parts, *base])} forward passes for each image and epoch".replace("+ -", "- ")


def data_set_page(entry: Mapping[str, Any]) -> RenderableType:
    """A data set's page: classes, sizes, the shared protocol, documented confusions, licence and citation."""
    description: Mapping[str, Any] | None = entry["description"]
    parts: list[RenderableType] = [_head(entry), ""]
    place = {"homepage": entry["homepage"], "how to get it": entry["access"]}
    layout: list[RenderableType] = ["", "[bold]files[/]", Text(entry["layout"])] if entry["layout"] else []
    if description is None:
        usage = f"{entry['name']}:{entry['argument']}" if entry["argument"] else entry["name"]
        return Group(*parts, pairs_table({"type": usage, "source": entry["source"]} | place), *layout)
    shape, classes, confusions = description["image_shape"], description["classes"], description["pairs"]
    flips = [f"{classes[first]} -> {classes[second]}" for first, second in confusions["flips"]] if confusions else []
    facts = {
        "source": entry["source"],
        **place,
        "classes": f"{len(classes)}: {list_first(classes, 10)}",
        "images": "" if shape is None else " x ".join(map(str, shape)) + " (height, width, channels)",
        "samples": str(VectorShape(**vectors)) if (vectors := description["vectors"]) else "",
        "train, test": ", ".join(f"{description[part]:,}" if description[part] else "as found" for part in PART_SIZES),
        "label columns": ", ".join(description["columns"]),
        "label files": list_first(sorted({file for _, file in description["column_files"]}), 10),
        "other columns": _unused_columns(description["unused_columns"]),
        "truth for selectors": entry["truth"],
        "licence": description["licence"],
        "citation": description["citation"],
        "asym pairs": f"{list_first(flips, 10)} ({confusions['source']})" if confusions else "",
    }
    protocol = {key.replace("_", " "): format_cell(value) for key, value in description["protocol"].items()}
    parts += [pairs_table(facts), *_class_counts(entry.get("report"))]
    return Group(*parts, "", "[bold]shared protocol[/]", pairs_table(protocol), *layout)


def _unused_columns(unused: Iterable[Sequence[str]]) -> str:
    """The columns that can't be used as labels, those of one reason together."""
    names: dict[str, list[str]] = {}
    for name, reason in unused:
        names.setdefault(reason, []).append(name)
    return list_first([f"{', '.join(those)} ({reason})" for reason, those in names.items()], 10)


def _class_counts(report: Mapping[str, Any] | None) -> list[RenderableType]:
    """The images of each class by part, where a user's own data tells; the first classes of very many."""
    if report is None:
        return []
    images: Mapping[str, Mapping[str, int]] = report["images"]
    names = list(next(iter(images.values())))
    rows = [(name, *(f"{counts[name]:,}" for counts in images.values())) for name in names[:MOST_CLASSES]]
    parts: list[RenderableType] = ["", table(("class", *images), rows)]
    if len(names) > MOST_CLASSES:
        sizes = [f"{part} {min(counts.values()):,} to {max(counts.values()):,}" for part, counts in images.items()]
        parts.append(
            f"... and {len(names) - MOST_CLASSES:,} more (--format json has all). Images a class: {', '.join(sizes)}"
        )
    return parts


def run_page(record: Mapping[str, Any]) -> RenderableType:
    """A record's page: what was run, what came out, where and how long."""
    parts: list[RenderableType] = [f"[bold]{record['run_id']}[/]"]
    for title in ("spec", "measures", "provenance"):
        values = {
            key: format_cell(value) for key, value in record.get(title, {}).items() if key not in TOO_LONG_FOR_A_PAGE
        }
        parts += ["", f"[bold]{title}[/]", pairs_table(values)]
    if "reason" in record:
        parts += ["", f"[bold]failed[/] {escape(record['reason'])}"]
        if record.get("traceback"):
            parts += ["", Text(record["traceback"].rstrip())]
    return Group(*parts)


def _head(entry: Mapping[str, Any]) -> RenderableType:
    words = inspect.cleandoc(entry.get("docstring") or "")
    title = f"[bold]{escape(entry['name'])}[/]: {escape(entry['summary'])}"
    return Group(title, "", escape(words)) if words else Group(title)


def _recipe_row(recipe: Mapping[str, Any]) -> list[str]:
    noise = " ".join(format_cell(value) for value in (recipe["noise"], recipe["rate"]) if value is not None) or "any"
    values = format_cell(recipe["values"]) or "defaults"
    return [_recipe_place(recipe), noise, values, recipe["chosen"], recipe["source"]]


def _recipe_place(recipe: Mapping[str, Any]) -> str:
    return str(recipe["data_set"]) + (f", {recipe['model']}" if recipe["model"] else "")


def _training(recipe: Mapping[str, Any]) -> str:
    settings = {"model": None} | recipe["training"]
    return ", ".join(f"{key} {'none' if value is None else format_cell(value)}" for key, value in settings.items())


def _without_repeats(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows with a ditto mark in the last two cells where the row above holds the same."""
    above = [None, *rows][: len(rows)]
    return [
        [
            *row[:-2],
            *(DITTO if before is not None and before[place] == row[place] else row[place] for place in (-2, -1)),
        ]
        for before, row in zip(above, rows, strict=True)
    ]


def pairs_table(facts: Mapping[str, str]) -> Table:
    """Names with their values, one a line; empty values are left out."""
    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            drawn.add_row(name, escape(value))
    return drawn


def table(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False, fold: bool = False) -> Table:
    """A table with a header. `numbers` sets all columns but the first right; `fold` breaks cells that are too wide."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(names):
        drawn.add_column(
            escape(name),
            justify="right" if numbers and place else "left",
            no_wrap=not fold and (numbers or not place),
            overflow="fold" if fold else "ellipsis",
        )
    for row in rows:
        drawn.add_row(*map(escape, row))
    return drawn


def _sizes(entry: Mapping[str, Any]) -> list[str]:
    """A data set's number of classes and image shape, as far as they are known."""
    description = entry["description"]
    if description is None:
        return ["", ""]
    return [str(len(description["classes"])), "x".join(map(str, description["image_shape"] or ()))]


def format_cell(value: Any) -> str:
    """A value as text: six digits of a float, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={format_cell(item)}" for key, item in value.items())
    return ", ".join(map(format_cell, value)) if isinstance(value, list | tuple) else str(value)
