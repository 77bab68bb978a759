"""The columns of a table of numbers, read a stretch of rows at a time: numbers as float32, everything else as text.

Read `read_text_columns` first; `datasets.parquet_columns` reads the other kind of file, and `datasets.number_table`
makes vectors of what either has found.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError
from datasets.table_labels import is_missing
from datasets.table_text import encoding_of, find_column, find_separator, read_text

ROWS_AT_ONCE = 512
"""So few that their cells stay in a processor's cache, which takes a quarter off the time."""
Numbers = NDArray[np.float32]
Row = tuple[list[str], int]
"""Cells, and the line that they end on."""


@dataclass(frozen=True)
class NumberColumns:
    """The columns of a table by name, each (N,): `numbers`, with NaN where a cell holds none, and `texts`.

    `lines` (N,) are the lines of rows, or their numbers where a file has no lines; `place` is the word for them.
    `mixed` names a cell that is no number of each column that holds numbers elsewhere. `has_header` is false where
    columns are called by their numbers, since the first line is a sample.
    """

    header: tuple[str, ...]
    numbers: dict[str, Numbers]
    texts: dict[str, list[str]]
    lines: Sequence[int]
    mixed: dict[str, str] = field(default_factory=dict)
    place: str = "line"
    has_header: bool = True


def read_text_columns(file: Path, label: str, as_text: Callable[[str], bool]) -> NumberColumns:
    """The columns of a table of text. Those for which `as_text` holds, by their name, stay text whatever they hold.

    `label` is the column of labels as typed, by which the separator is found. Raises DataError for a file that can't be
    read, rows too short or too long, names that stand twice, no rows.
    """
    text, skipped = read_text(file)
    separator, _ = find_separator(text, (label,))
    rows = _split_rows(file, text, separator, skipped)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file} is empty. Give it a line of names of columns, and a line for each sample.")
    header = tuple(cell.strip() for cell in first[0])
    has_header = not (label.isdigit() and _is_sample(header, int(label) - 1))
    if not has_header:
        rows, header = itertools.chain([first], rows), tuple(str(number + 1) for number in range(len(header)))
    twice = sorted(name for name, count in Counter(header).items() if count > 1)
    if twice:
        raise DataError(f"{file} names columns twice: {', '.join(map(repr, twice))}. Rename or remove one of each.")
    kept = [as_text(name) for name in header]
    comma = separator == ";"
    columns = [ColumnCells(kept[place], comma) for place in range(len(header))]
    lines: list[int] = []
    while chunk := list(itertools.islice(rows, ROWS_AT_ONCE)):
        _refuse_ragged(file, chunk, len(header))
        lines += [line for _, line in chunk]
        for column, cells in zip(columns, zip(*(row for row, _ in chunk), strict=True), strict=True):
            column.add(cells)
    if not lines:
        raise DataError(f"{file} has no rows below its header. Add a line for each sample.")
    named = dict(zip(header, columns, strict=True))
    return NumberColumns(
        header,
        {name: column.numbers() for name, column in named.items() if not column.is_text},
        {name: column.texts for name, column in named.items() if column.is_text},
        lines,
        {name: column.strange for name, column in named.items() if not column.is_text and column.strange},
        has_header=has_header,
    )


def first_rows(begin: bytes, label: str) -> list[list[str]]:
    """The cells of the first two rows of a table of text, by the beginning of its file. Raises ValueError if none."""
    text = begin.decode(encoding_of(begin), errors="ignore")
    text = text.partition("\n")[2] if text[:4].casefold() == "sep=" else text
    separator, _ = find_separator(text, (label,))
    rows = _split_rows(Path(), text, separator, 0)
    return [[cell.strip() for cell in row] for row, _ in itertools.islice(rows, 2)]


class ColumnCells:
    """The cells of one column as they come: numbers, or text from the first stretch on that holds mostly text."""

    def __init__(self, is_text: bool, decimal_comma: bool = False) -> None:
        self.is_text = is_text
        self.texts: list[str] = []
        self.strange = ""
        self._parts: list[Numbers] = []
        self._comma = decimal_comma

    def add(self, cells: Sequence[str]) -> None:
        """More cells, below those before."""
        if self.is_text:
            self.texts += map(str.strip, cells)
            return
        try:
            found = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            values, strange = self._parse(cells)
            filled = sum(not is_missing(cell.strip()) for cell in cells)
            if not self._parts and strange and 2 * int(np.isfinite(values).sum()) <= filled:
                self.is_text = True
                self.add(cells)
                return
            self.strange = self.strange or strange
            found = np.array(values)
        with np.errstate(over="ignore"):
            self._parts.append(found.astype(np.float32))

    def numbers(self) -> Numbers:
        """All numbers, float32 (N,)."""
        return np.concatenate(self._parts)

    def _parse(self, cells: Sequence[str]) -> tuple[list[float], str]:
        """The number of each cell, NaN where there is none, and the first cell that is neither empty nor a number."""
        values, strange = [], ""
        for cell in map(str.strip, cells):
            value = float("nan")
            if not is_missing(cell):
                try:
                    value = float(cell.replace(",", ".") if self._comma else cell)
                except ValueError:
                    strange = strange or cell
            values.append(value)
        return values, strange


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    with suppress(ValueError):
        float(cell.replace(",", "."))
        return not is_missing(cell.strip())
    return False


def _is_sample(cells: Sequence[str], label: int) -> bool:
    """Whether a first line is a sample rather than a header: every cell beside its label is a number.

    Whole numbers one after the other are a header that some program has made.
    """
    if any(list(cells) == [str(number + first) for number in range(len(cells))] for first in (0, 1)):
        return False
    others = [cell for place, cell in enumerate(cells) if place != label]
    return bool(others) and all(map(is_number, others))


def _split_rows(file: Path, text: str, separator: str, skipped: int) -> Iterator[Row]:
    """The rows that hold anything, one after the other."""
    if separator == " ":
        for number, line in enumerate(io.StringIO(text), start=1 + skipped):
            if line.strip():
                yield line.split(), number
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            if row and (row[0] or any(map(str.strip, row))):
                yield row, reader.line_num + skipped
    except csv.Error as error:
        raise DataError(f"{file} can't be read: {error}. Is it a CSV file with commas?") from error


def _refuse_ragged(file: Path, rows: Sequence[Row], width: int) -> None:
    """Raise DataError for rows of another width; empty cells at the end are cut off first."""
    for row, _ in rows:
        if len(row) > width and not any(map(str.strip, row[width:])):
            del row[width:]
    wrong = [(len(row), line) for row, line in rows if len(row) != width]
    if wrong:
        cells, line = wrong[0]
        raise DataError(
            f"{len(wrong):,} rows of {file} don't have the {width} cells of its first line (first: line {line}: "
            f"{cells}; a comma in a cell needs quotes around it). Correct them."
        )


def words_of(name: str) -> list[str]:
    """The words of a column's name: "noisy_label2" -> noisy, label."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())


def find_label(file: Path, header: Sequence[str], label: str, typed: Callable[[str], str]) -> str:
    """The name of the column of labels. Raises DataError where there is none, or several; `typed` says what to type."""
    places = find_column(header, label)
    if len(places) == 1:
        return header[places[0]]
    if places:
        names = " and ".join(repr(header[place]) for place in places)
        raise DataError(f"{file} names the column {label} twice, as {names}. Rename one of them.")
    seen = ", ".join(header[:10]) + (f" and {len(header) - 10} more" if len(header) > 10 else "")
    likely = next((name for name in header if set(words_of(name)) & LIKELY), header[-1])
    sample = (
        ""
        if not all(map(is_number, header[:-1]))
        else (f" If that line is a sample already, type the number of the column of labels: {typed(str(len(header)))}.")
    )
    raise DataError(
        f"{file} lacks the column {label}: its first line holds {seen}. If the labels' column has another name, type "
        f"{typed(likely)}.{sample}"
    )


LIKELY = frozenset({"label", "labels", "class", "classes", "target", "y", "diagnosis", "species", "category"})
"""Words by which the column of labels is guessed, for a message only."""
