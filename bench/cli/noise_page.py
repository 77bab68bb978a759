"""The page of `show noise`: rates, matrices, annotators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from bench.cli.pages import pairs_table, table
from bench.system.text import list_first

WIDEST_MATRIX = 12

MOST_ANNOTATORS = 20
"""Annotators that have a row."""


def noise_page(shown: Mapping[str, Any]) -> RenderableType:
    """A noise's page: the matrix with class names, the pairs and their source, nominal and realised rate, the hash."""
    facts = {
        "rate": "" if shown["rate"] is None else f"{shown['rate']:g}",
        "caption": shown["caption"],
        "realised": _realised(shown),
        "pairs": list_first([f"{first} -> {second}" for first, second in shown["pairs"]], 20),
        "follows": shown["source"],
        "draw": shown["draw"],
        "labels": shown["labels_sha256"] or "unknown without the data",
    }
    noise, data_set = escape(shown["noise"]), escape(shown["dataset"])
    head = f"[bold]{noise}[/] on {data_set}: {escape(shown['summary'])}"
    parts: list[RenderableType] = [head, "", pairs_table(facts)]
    if shown["matrix"] is not None:
        parts += ["", "P(given label | true class), a row for each true class:", _matrix(shown, "matrix")]
    elif shown["realised_matrix"] is not None:
        title = "Share of each true class's labels, as drawn, a row for each true class:"
        parts += ["", title, _matrix(shown, "realised_matrix")]
    if shown["estimated_matrices"] is not None:
        parts += ["", *_estimates(shown)]
    if shown["annotators"] is not None:
        parts += ["", *_annotators(shown["annotators"])]
    return Group(*parts)


def _estimates(shown: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Both estimated matrices, and the model that they can't be better than."""
    estimates = shown["estimated_matrices"]
    yield f"Estimated without clean labels, so no better than the model behind it: {estimates['by']}."
    for key, name in (("confident_joint", "confident joint"), ("anchor_points", "anchor points")):
        yield ""
        yield f"P(given label | true class) by {name}:"
        yield _matrix({**shown, **estimates}, key)


def _annotators(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """How many answers images have, how far they agree, and a row for each of the first annotators."""
    answers = [f"{count} in {images:,}" for count, images in found["answers"].items()]
    agreement = found["agreement"]
    agreed = "" if agreement is None else f" Two answers to one image are equal in {agreement:.4f}."
    yield f"Answers an image: {list_first(answers, 10)} images.{agreed}"
    people = found["people"]
    rows = [
        [person["name"], f"{person['answers']:,}", *(_share(person[key]) for key in ("estimated", "right"))]
        for person in people[:MOST_ANNOTATORS]
    ]
    yield ""
    yield table(("annotator", "answers", "accuracy by Dawid-Skene", "equal to the label"), rows, numbers=True)
    if len(people) > MOST_ANNOTATORS:
        yield f"and {len(people) - MOST_ANNOTATORS} more: --format json has all"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _realised(shown: Mapping[str, Any]) -> str:
    if not shown["is_known"]:
        return "unknown: nobody knows which labels are wrong"
    rate = shown["realised_rate"]
    return "unknown without the data" if rate is None else f"{rate:.4f} of the training labels"


def _matrix(shown: Mapping[str, Any], which: str) -> Table:
    """The matrix; of many classes only each class's largest cells, row by row."""
    matrix, classes = shown[which], shown["classes"]
    if len(classes) <= WIDEST_MATRIX:
        rows = [[name, *map(_probability, row)] for name, row in zip(classes, matrix, strict=True)]
        return table(("", *classes), rows, numbers=True)
    rows = []
    for number, (name, row) in enumerate(zip(classes, matrix, strict=True)):
        cells = ((value, column) for column, value in enumerate(row) if value and column != number)
        others = sorted(cells, reverse=True)
        largest = ", ".join(f"{classes[column]} {_probability(value)}" for value, column in others[:3])
        more = f", and {len(others) - 3} more" if len(others) > 3 else ""
        rows.append([name, _probability(row[number]), largest + more])
    return table(("true class", "kept", "given as"), rows)


def _probability(value: float) -> str:
    return "." if value == 0 else f"{value:.3f}".rstrip("0").rstrip(".")
