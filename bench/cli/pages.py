"""Declarations, noises and records as a person reads them. rich is imported where something is drawn."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.system.text import list_first

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


UNTOLD = frozenset({"test_predictions", "versions"})
PRIVATE = frozenset({"module", "file", "class", "label"})
LONG = frozenset({"docstring", "description"})
WIDEST_MATRIX = 12
DITTO = "″"


def public_declaration(entry: Mapping[str, Any], brief: bool = False) -> dict[str, Any]:
    """A declaration as JSON shows it; `brief` leaves the long texts to `show`."""
    hidden = PRIVATE | (LONG if brief else frozenset())
    common = {"name": entry["name"], "aliases": [], "summary": "", "source": ""}
    return common | {key: value for key, value in entry.items() if key not in hidden}


def declarations_table(what: str, entries: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A table of what there is: name, summary, and what matters for choosing."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(what[:-1], no_wrap=True)
    table.add_column("summary", ratio=1)
    columns = {"methods": ("needs", "assumes"), "datasets": ("classes", "images")}.get(what, ())
    for column in columns:
        table.add_column(column, overflow="fold")
    for entry in entries:
        more = [_listed(entry[column]) for column in columns] if what == "methods" else _sizes(entry) if columns else []
        table.add_row(_named(entry), entry.get("summary", ""), *more)
    return table


def _weight_decay(entry: Mapping[str, Any]) -> str:
    """What a method's own penalty leaves of weight decay; nothing where it has none."""
    if entry["weight_decay"] is None:
        return ""
    own = "" if entry["own_penalty"] is None else f": {entry['own_penalty']} stands in for it"
    return f"{entry['weight_decay']:g} (the method's own{own})"


def method_page(entry: Mapping[str, Any]) -> RenderableType:
    """A method's page: what it does, parameters with bounds, search and source, recipes, needs and assumptions."""
    from rich.console import Group

    facts = {
        "source": entry["source"],
        "also called": _listed(entry["aliases"]),
        "needs": _listed(entry["needs"]) or "noisy labels only",
        "assumes": _listed(entry["assumes"]),
        "networks": str(entry["networks"]),
        "expected cost": _cost(entry),
        "weight decay": _weight_decay(entry),
        "control": "yes: a row to compare with, not a method to choose" if entry["control"] else "",
    }
    parts: list[RenderableType] = [_head(entry), "", pairs_table(facts)]
    if entry["parameters"]:
        keys = ("name", "default", "bounds", "search", "meaning", "source")
        rows = [[format_cell(item[key]) for key in keys] for item in entry["parameters"]]
        parts += ["", _table(("parameter", *keys[1:]), rows)]
    if entry["recipes"]:
        titles = ("recipe for", "noise", "values", "chosen by", "source")
        parts += ["", _table(titles, _without_repeats([_recipe(item) for item in entry["recipes"]]))]
        trainings = dict.fromkeys((_where(item), _training(item)) for item in entry["recipes"] if item["training"])
        if trainings:
            parts += ["", _table(("for", "published training (--protocol paper)"), list(trainings))]
    return Group(*parts)


def _cost(entry: Mapping[str, Any]) -> str:
    """What training costs by the method's own word; "" where it is what its networks cost."""
    if entry["units"] is None:
        return ""
    parts = [f"{each:g} x {name}" for name, each in entry["units_per"].items()]
    base = [f"{entry['units']:g}"] if entry["units"] or not parts else []
    return f"{' + '.join([*parts, *base])} forward passes for each image and epoch".replace("+ -", "- ")


def data_set_page(entry: Mapping[str, Any]) -> RenderableType:
    """A data set's page: classes, sizes, the shared protocol, documented confusions, licence and citation."""
    from rich.console import Group

    description: Mapping[str, Any] | None = entry["description"]

    parts: list[RenderableType] = [_head(entry), ""]
    if description is None:
        usage = f"{entry['name']}:{entry['argument']}" if entry["argument"] else entry["name"]
        return Group(*parts, pairs_table({"type": usage, "source": entry["source"]}))
    shape, classes, flips = description["image_shape"], description["classes"], description["pairs"]
    facts = {
        "source": entry["source"],
        "classes": f"{len(classes)}: {list_first(classes, 10)}",
        "images": "" if shape is None else " x ".join(map(str, shape)) + " (height, width, channels)",
        "train, test": f"{_count(description['train_size'])}, {_count(description['test_size'])}",
        "label columns": _listed(description["columns"]),
        "licence": description["licence"],
        "citation": description["citation"],
        "asym pairs": "" if flips is None else f"{_flips(flips['flips'], classes)} ({flips['source']})",
    }
    protocol = {key.replace("_", " "): format_cell(value) for key, value in description["protocol"].items()}
    return Group(*parts, pairs_table(facts), "", "[bold]shared protocol[/]", pairs_table(protocol))


def noise_page(shown: Mapping[str, Any]) -> RenderableType:
    """A noise's page: the matrix with class names, the pairs and their source, nominal and realised rate, the hash."""
    from rich.console import Group

    realised = shown["realised_rate"]
    facts = {
        "rate": "" if shown["rate"] is None else f"{shown['rate']:g}",
        "caption": shown["caption"],
        "realised": "unknown without the data" if realised is None else f"{realised:.4f} of the training labels",
        "pairs": list_first([f"{first} -> {second}" for first, second in shown["pairs"]], 20),
        "follows": shown["source"],
        "draw": shown["draw"],
        "labels": shown["labels_sha256"] or "unknown without the data",
    }
    head = f"[bold]{shown['noise']}[/] on {shown['dataset']}: {shown['summary']}"
    parts: list[RenderableType] = [head, "", pairs_table(facts)]
    if shown["matrix"] is not None:
        parts += ["", "P(given label | true class), a row for each true class:", _matrix(shown)]
    return Group(*parts)


def run_page(record: Mapping[str, Any]) -> RenderableType:
    """A record's page: what was run, what came out, where and how long."""
    from rich.console import Group

    parts: list[RenderableType] = [f"[bold]{record['run_id']}[/]"]
    for title in ("spec", "measures", "provenance"):
        values = {
            key: format_cell(value)
            for key, value in record.get(title, {}).items()
            if key not in ("test_predictions", "versions")
        }
        parts += ["", f"[bold]{title}[/]", pairs_table(values)]
    if "reason" in record:
        parts += ["", f"[bold]failed[/] {record['reason']}"]
    return Group(*parts)


def _matrix(shown: Mapping[str, Any]) -> RenderableType:
    """The matrix; of many classes only the cells that aren't 0, row by row."""
    matrix, classes = shown["matrix"], shown["classes"]
    if len(classes) <= WIDEST_MATRIX:
        rows = [[name, *(_cell(value) for value in row)] for name, row in zip(classes, matrix, strict=True)]
        return _table(("", *classes), rows, numbers=True)
    rows = []
    for number, (name, row) in enumerate(zip(classes, matrix, strict=True)):
        others = sorted(((value, j) for j, value in enumerate(row) if value and j != number), reverse=True)
        told = ", ".join(f"{classes[j]} {_cell(value)}" for value, j in others[:3])
        more = f", and {len(others) - 3} more" if len(others) > 3 else ""
        rows.append([name, _cell(row[number]), told + more])
    return _table(("true class", "kept", "given as"), rows)


def _head(entry: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape

    words = inspect.cleandoc(entry.get("docstring") or "")
    return Group(
        f"[bold]{escape(entry['name'])}[/]: {escape(entry['summary'])}", *(["", escape(words)] if words else [])
    )


def _recipe(item: Mapping[str, Any]) -> list[str]:
    keyed = " ".join(format_cell(each) for each in (item["noise"], item["rate"]) if each is not None) or "any"
    return [_where(item), keyed, format_cell(item["values"]) or "defaults", item["chosen"], item["source"]]


def _without_repeats(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Recipes with a ditto mark for how a value was chosen, and for its source, where the row above says the same."""
    above = [None, *rows][: len(rows)]
    return [
        [
            *row[:-2],
            *(DITTO if before is not None and before[place] == row[place] else row[place] for place in (-2, -1)),
        ]
        for before, row in zip(above, rows, strict=True)
    ]


def _where(item: Mapping[str, Any]) -> str:
    return str(item["data_set"]) + (f", {item['model']}" if item["model"] else "")


def _training(item: Mapping[str, Any]) -> str:
    settings = {"model": None} | item["training"]
    return ", ".join(f"{key} {'none' if value is None else format_cell(value)}" for key, value in settings.items())


def pairs_table(facts: Mapping[str, str]) -> Table:
    """Names and what they are, empty ones left out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            table.add_row(name, escape(value))
    return table


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = False) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(names):
        table.add_column(escape(name), justify="right" if numbers and place else "left", no_wrap=numbers or not place)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _named(entry: Mapping[str, Any]) -> str:
    from rich.markup import escape

    name = entry["name"] + (f":{entry['argument']}" if entry.get("argument") else "")
    aliases = entry.get("aliases") or ()
    return escape(name + (f" ({', '.join(aliases)})" if aliases else ""))


def _sizes(entry: Mapping[str, Any]) -> list[str]:
    described = entry["description"]
    if described is None:
        return ["", ""]
    shape = described["image_shape"]
    return [str(len(described["classes"])), "" if shape is None else "x".join(map(str, shape))]


def _flips(flips: Iterable[Sequence[int]], classes: Sequence[str]) -> str:
    return list_first([f"{classes[first]} -> {classes[second]}" for first, second in flips], 10)


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items)


def _count(number: int | None) -> str:
    return "as found" if number is None else f"{number:,}"


def _cell(value: float) -> str:
    return "." if value == 0 else f"{value:.3f}".rstrip("0").rstrip(".")


def format_cell(value: Any) -> str:
    """A value as a person reads it: six digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={format_cell(each)}" for key, each in value.items())
    return ", ".join(map(format_cell, value)) if isinstance(value, list | tuple) else str(value)


def escape_markup(texts: Iterable[str]) -> list[str]:
    """Texts with nothing in them that rich would take for markup."""
    from rich.markup import escape

    return [escape(each) for each in texts]
