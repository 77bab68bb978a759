"""The cells of a table as labels: whole numbers, missing ones, classes that are written almost alike, further columns.

Read `read_classes` (the column of labels) and `read_column` (a further column) first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.classes import ordered_classes
from datasets.files import listed
from datasets.interface import DataError, Labels

MISSING = frozenset(
    ("nan", "NaN", "NAN", "-nan", "-NaN", "<NA>", "NaT", "NA", "N/A", "n/a", "#N/A", "#NA", "#NULL!", "NULL", "null")
) | {"None", "1.#QNAN", "-1.#IND", "\\N"}
"""Words that pandas, R, spreadsheets and databases write where a cell is empty. A class may be called so as well."""
WHOLE = re.compile(r"([+-]?\d+)[.,]0*|([+-]?\d+[.,]\d*[eE][+-]?\d+)")
"""A number that isn't written as a whole one, but may be one: 3.0, 3., 3,0 or 3.0e+00."""
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


@dataclass(frozen=True)
class Classes:
    """The classes of a table, in order, and the class of each row. `numbers` gives a cell's id.

    `written` are the cells where such as 3.0 were read as 3. `renumbered`: ids are others than those of the text.
    """

    names: tuple[str, ...]
    labels: Labels
    numbers: Mapping[str, int]
    written: frozenset[str] = frozenset()
    renumbered: bool = False

    @property
    def of_numbers(self) -> bool:
        """Whether all classes are whole numbers."""
        return all(INTEGER.fullmatch(name) for name in self.names)

    def reads_otherwise(self, columns: Iterable[Sequence[str]]) -> bool:
        """Whether labels or these columns have other ids than their text has, for the content hash.

        As long as they don't, what was recorded of a table stays true. A column that doesn't repeat the text of the
        labels was read by ids, which are the classes themselves only where these count from 0.
        """
        if self.renumbered or not self.written or self.names == tuple(map(str, range(len(self.names)))):
            return self.renumbered
        return any(not self.written.union(MISSING, [""]).issuperset(cells) for cells in columns)


def is_missing(cell: str) -> bool:
    """Whether a cell is empty, in the words of any program that writes tables."""
    return not cell or cell in MISSING


def whole_number(cell: str) -> str:
    """A whole number as it is usually written ("3" for "3.0", "3," or "3.0e+00"); any other cell as it is."""
    found = WHOLE.fullmatch(cell)
    if found is None:
        return cell
    if found[1] is not None:
        return str(int(found[1]))
    value = float(cell.replace(",", "."))
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else cell


def read_classes(cells: Sequence[str]) -> Classes:
    """The classes of a column's cells. If all are whole numbers, 3.0 is 3; else each text is a class of its own."""
    written = set(cells)
    whole = {cell: whole_number(cell) for cell in written}
    if all(INTEGER.fullmatch(name) for name in whole.values()) and written != set(whole.values()):
        names = tuple(sorted(set(whole.values()), key=lambda name: (int(name), name)))
        numbers = {name: number for number, name in enumerate(names)}
        numbers |= {cell: numbers[name] for cell, name in whole.items()}
        labels = np.array([numbers[cell] for cell in cells], dtype=np.int64)
        by_text = tuple(map(whole_number, ordered_classes(cells)))
        return Classes(names, labels, numbers, frozenset(written), by_text != names)
    names = ordered_classes(cells)
    numbers = {name: number for number, name in enumerate(names)}
    return Classes(names, np.array([numbers[cell] for cell in cells], dtype=np.int64), numbers)


def read_column(
    file: Path,
    name: str,
    cells: Sequence[str],
    lines: Sequence[int],
    classes: Classes,
    test: NDArray[np.bool_] | None,
) -> Labels | str:
    """Labels (N,) of a further column, -1 where a row has none; or why it can't be used as labels.

    The cells are classes by name, or all of them ids. Raises DataError where a column of class names, by more than half
    of the training rows, has cells that are none.
    """
    written = set(cells)
    empty = {cell for cell in written if is_missing(cell) and cell not in classes.numbers}
    named = {cell: _named(cell, classes) for cell in written}
    ids = {cell: number for cell, number in named.items() if number >= 0}
    labels = np.array([named[cell] for cell in cells], dtype=np.int64)
    filled = np.array([cell not in empty for cell in cells])
    train = np.ones(len(cells), dtype=np.bool_) if test is None else ~test
    if not (filled & train).any():
        return "it is empty in all training rows"
    strange = filled & (labels < 0)
    if not strange.any():
        return labels
    if 2 * int(((labels >= 0) & train).sum()) > int(train.sum()) and not classes.of_numbers:
        places = [f"line {lines[number]}: {cells[number]!r}" for number in map(int, np.flatnonzero(strange))]
        raise DataError(
            f"{len(places)} rows of {file} have a {name} that isn't one of the {len(classes.names)} classes of the "
            f"column label. Correct them, empty them (they then stay out of training with --noise column:{name}) or "
            f"remove the column:\n{listed(places)}"
        )
    ids = {cell: _id(cell, len(classes.names)) for cell in written}
    labels = np.array([ids[cell] for cell in cells], dtype=np.int64)
    strange = filled & (labels < 0)
    if strange.any():
        first = int(np.flatnonzero(strange)[0])
        cased = next((name for name in classes.names if name.casefold() == cells[first].casefold()), None)
        hint = "" if cased is None else f", where label has {cased!r}"
        if all(re.fullmatch(r"\d+", whole_number(cell)) for cell in written - empty):
            hint = f", and ids go from 0 to {len(classes.names) - 1}"
        return f"{int(strange.sum()):,} rows hold no class, the first on line {lines[first]}: {cells[first]!r}{hint}"
    return labels


def gaps_note(
    classes: Classes, columns: Mapping[str, Labels], test: NDArray[np.bool_] | None, lines: Sequence[int], table: str
) -> list[str]:
    """A sentence on the columns that have no label in some of the training rows."""
    train = np.ones(len(lines), dtype=np.bool_) if test is None else ~test
    gaps = {name: np.flatnonzero(train & (labels < 0)) for name, labels in columns.items()}
    gaps = {name: places for name, places in gaps.items() if len(places)}
    if not gaps:
        return []
    name, places = next(iter(gaps.items()))
    count = f"{len(places):,} of {int(train.sum()):,} {'training ' * (test is not None)}rows"
    first = f"{name} of {table} has no label in {count} (first: line {lines[int(places[0])]})"
    unseen = set(classes.labels[train].tolist()) - set(classes.labels[train & (columns[name] >= 0)].tolist())
    if unseen:
        first += f", and so in all of {', '.join(classes.names[number] for number in sorted(unseen)[:10])}"
    others = f", and {len(gaps) - 1} more columns have gaps" if len(gaps) > 1 else ""
    return [f"column {first}{others}: with --noise column:{name} these rows stay out of training"]


def disagreement_note(classes: Classes, columns: Mapping[str, Labels], test: NDArray[np.bool_] | None) -> list[str]:
    """A sentence on the columns that agree with the labels less often than chance, or would in another order."""
    train = np.ones(len(classes.labels), dtype=np.bool_) if test is None else ~test
    doubtful = {
        name: found
        for name, labels in columns.items()
        if (found := _doubtful(classes.labels[train], labels[train], len(classes.names))) is not None
    }
    if not doubtful:
        return []
    name, (share, chance, ordered) = next(iter(doubtful.items()))
    others = f"; {len(doubtful) - 1} more columns are as doubtful" if len(doubtful) > 1 else ""
    than = f"less than chance ({chance:.0%})" if share < chance else f"and in {ordered:.0%} in another order of classes"
    return [
        f"column {name} agrees with label in {share:.0%} of the training rows, {than}: are its ids in another order?"
        f"{others}"
    ]


def _doubtful(clean: Labels, given: Labels, classes: int) -> tuple[float, float, float] | None:
    """The share of equal labels, the share by chance, and the most that another order gives; None if nothing is odd.

    Chance is what independent labels with these frequencies give. Another order of the classes counts if each class has
    one of its own that most of its rows hold, and fewer than half of all rows agree.
    """
    known = given >= 0
    pairs = np.bincount(clean[known] * classes + given[known], minlength=classes * classes).reshape(classes, classes)
    total = int(pairs.sum())
    share = float(np.trace(pairs)) / total
    chance = float(pairs.sum(axis=0) @ pairs.sum(axis=1)) / total**2
    likely = pairs.argmax(axis=1)
    ordered = float(pairs.max(axis=1).sum()) / total
    reordered = len(set(likely.tolist())) == classes and share < 0.5 < ordered
    return (share, chance, ordered) if share < chance or reordered else None


def _named(cell: str, classes: Classes) -> int:
    """The id of the class that a cell names; -1 where there is none."""
    number = classes.numbers.get(cell, -1)
    return number if number >= 0 else classes.numbers.get(whole_number(cell), -1)


def _id(cell: str, count: int) -> int:
    """The id that a cell is; -1 where it is none of `count` classes."""
    number = whole_number(cell)
    return int(number) if number.isascii() and number.isdigit() and int(number) < count else -1
