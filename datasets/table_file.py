"""A table of text as people's programs write it: which columns hold what, and its cells by columns.

Read `read_table` first.
"""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets.files import listed
from datasets.interface import DataError
from datasets.table_text import find_column, find_separator, is_image_name, read_text, split_rows


@dataclass(frozen=True)
class TableFile:
    """The cells of a table by columns, without blanks around them and without empty lines.

    `lines` are the lines that rows end on. `path` and `label` are positions of columns. `has_header` is false for a
    list of images without a first line of names: its columns are called 1, 2, 3, ...
    """

    header: list[str]
    columns: list[list[str]]
    lines: Sequence[int]
    path: int
    label: int
    has_header: bool

    def only(self, kept: Sequence[bool]) -> TableFile:
        """The table with the rows (N,) that are to be kept."""
        columns = [list(itertools.compress(column, kept)) for column in self.columns]
        return replace(self, columns=columns, lines=list(itertools.compress(self.lines, kept)))


def read_table(file: Path, path: str = "path", label: str = "label") -> TableFile:
    """The table in a file; `path` and `label` are names of columns as typed, or their numbers.

    Raises DataError for a file that can't be read, columns missing or named twice, rows too short or too long, no rows.
    """
    text, skipped = read_text(file)
    separator, has_header = find_separator(text, (path, label))
    rows, lines = split_rows(file, text, separator)
    lines = [line + skipped for line in lines] if skipped else lines
    if has_header:
        header = [cell.strip() for cell in rows[0]] if rows else []
        rows, lines = rows[1:], lines[1:]
        example = rows[0] if rows else []
        places = [_place(file, header, name, role, example) for name, role in ((path, "path"), (label, "label"))]
        if None in places:
            raise _lacking(file, header, example, path, label)
        path_place, label_place = (place for place in places if place is not None)
    else:
        header = [str(number + 1) for number in range(len(rows[0]))]
        path_place, label_place = _places_without_header(file, header, rows[0], path, label)
    if path_place == label_place:
        raise DataError(f"{file}: the column {header[path_place]} can't hold both paths and labels. Name another one.")
    if not rows:
        raise DataError(f"{file} has no rows below its header. Add one row per image.")
    rows = _as_wide_as_the_header(file, header, rows, lines)
    columns = [list(map(str.strip, column)) for column in zip(*rows, strict=True)]
    if not all(map(any, zip(columns[path_place], columns[label_place], strict=True))):
        kept = [any(row) for row in zip(*columns, strict=True)]  # a table program's empty rows are commas only
        columns = [[cell for cell, keep in zip(column, kept, strict=True) if keep] for column in columns]
        lines = [line for line, keep in zip(lines, kept, strict=True) if keep]
    twice = sorted(name for name, count in Counter(header).items() if count > 1 and name)
    unnamed = [number for number, name in enumerate(header) if not name and any(columns[number])]
    if twice or len(unnamed) > 1:
        named = ", ".join(map(repr, [*twice, ""] if len(unnamed) > 1 else twice))
        raise DataError(f"{file} names columns twice: {named}. Rename or remove one of each.")
    return TableFile(header, columns, lines, path_place, label_place, has_header)


def typed_table(file: Path, **options: str) -> str:
    """The option that reads a table with these parameters, as a shell takes it."""
    values = ",".join(f"{name}={value}" for name, value in options.items())
    call = f"table[{values}]" if values else "table"
    return f"--dataset {shlex.quote(f'{call}:{file}')}"


def _place(file: Path, header: Sequence[str], name: str, role: str, example: Sequence[str]) -> int | None:
    """The position of the column that holds paths or labels; None where it isn't there."""
    places = find_column(header, name)
    if len(places) > 1:
        names = " and ".join(repr(header[place]) for place in places)
        raise DataError(
            f"{file} names the column {name} twice, as {names}. Say which one is meant, or rename one: "
            f"{typed_table(file, **{role: header[places[0]]})}"
        )
    return places[0] if places else None


def _lacking(file: Path, header: Sequence[str], example: Sequence[str], path: str, label: str) -> DataError:
    """The error for a header without the column of paths or of labels, with what to type if these have other names."""
    missing = [name for name in (path, label) if not find_column(header, name)]
    if not any(header):
        return DataError(f"{file} lacks the column {' and '.join(missing)}: its first line holds nothing.")
    seen = ", ".join(header[:10]) + (f" and {len(header) - 10} more" if len(header) > 10 else "")
    likely = {"path": path, "label": label}
    free = [name for name in header if name and name not in (path, label)]
    if path in missing:
        images = [name for name, cell in zip(header, example, strict=False) if is_image_name(cell)]
        likely["path"] = next(iter(images), free[0] if len(free) == 1 < len(header) else "NAME")
    if label in missing:
        free = [name for name in free if name != likely["path"]]
        likely["label"] = free[0] if len(free) == 1 < len(header) else "NAME"
    options = {role: likely[role] for role, name in (("path", path), ("label", label)) if name in missing}
    return DataError(
        f"{file} lacks the column {' and '.join(missing)}: its first line holds {seen}. "
        f"If the column has another name, type {typed_table(file, **options)} (and images=FOLDER in the brackets if "
        "the paths start elsewhere than beside the table). If that line is an image already, put a line path,label "
        "above it."
    )


def _places_without_header(
    file: Path, header: Sequence[str], first: Sequence[str], path: str, label: str
) -> tuple[int, int]:
    """The columns of paths and labels in a list of images without a header."""
    images = [place for place, cell in enumerate(first) if is_image_name(cell)]
    numbered = [find_column(header, name) for name in (path, label)]
    path_place = numbered[0][0] if numbered[0] else images[0]
    others = [place for place in range(len(header)) if place != path_place]
    if numbered[1]:
        return path_place, numbered[1][0]
    if len(others) > 1:
        raise DataError(
            f"{file} has no header and {len(header)} columns; its first line holds {', '.join(first[:10])}. Say which "
            f"column holds the labels, such as {typed_table(file, label=str(others[0] + 1))}, or put a line of names "
            "above it, with path and label among them."
        )
    return path_place, others[0]


def _as_wide_as_the_header(
    file: Path, header: list[str], rows: list[list[str]], lines: Sequence[int]
) -> list[list[str]]:
    """The rows with as many cells as the header; only cells that are empty, at the end, are cut off or filled up."""
    width = len(header)
    if all(len(row) == width for row in rows):
        return rows
    named = max((number + 1 for number, name in enumerate(header) if name), default=0)

    def fitted(row: list[str]) -> list[str]:
        if len(row) > width and not any(map(str.strip, row[width:])):
            return row[:width]
        return row + [""] * (width - len(row)) if named <= len(row) < width else row

    rows = [fitted(row) for row in rows]
    ragged = [f"line {line}: {len(row)} cells" for row, line in zip(rows, lines, strict=True) if len(row) != width]
    if ragged:
        raise DataError(
            f"{len(ragged)} rows of {file} don't have the header's {width} cells (a comma in a cell needs quotes "
            f"around it):\n{listed(ragged)}"
        )
    return rows


def joined_rows(header: Iterable[str], columns: Iterable[Sequence[str]]) -> str:
    """All cells as one text, for a hash."""
    return "\x1e".join("\x1f".join([name, *cells]) for name, cells in zip(header, columns, strict=True))
