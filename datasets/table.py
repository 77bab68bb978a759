"""A CSV table of image files and labels."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.files import listed
from datasets.interface import DataError, Labels
from datasets.listing import ListedImages, Listing, ordered_classes
from datasets.parts import names_parts, parts_of_columns

OWN = ("path", "label", "split")
NO_SPLIT = "it names parts: call it split, and they are used"


class Table(ListedImages):
    """Columns `path` (relative to the table), `label` (class names), and if you like `split`.

    `split` says train, val or test by any usual name; without it, so may columns such as is_valid and is_test, with
    true or false. Without any of them, a stratified split of 80/20 by the split seed. Every further column whose
    training rows all hold a class, by name or by id, is usable as `--noise column:NAME`; test rows may leave it empty.
    """

    name = "table"
    summary = "your own images by a CSV table: path, label, optional split, further columns as noisy labels"
    source = "yours"
    argument = "FILE.csv"

    @property
    def label(self) -> str:
        return f"table:{Path(self.argument_value or '').name}"

    def read(self) -> Listing:
        file = Path(self.argument_value or "").expanduser()
        header, columns, lines = read_csv(file)
        cells = dict(zip(header, columns, strict=True))
        _refuse_empty(file, "path", cells["path"], lines)
        _refuse_empty(file, "label", cells["label"], lines)
        _refuse_twice(file, cells["path"], lines)
        rows = "\x1e".join("\x1f".join([name, *cells[name]]) for name in header)
        plan = parts_of_columns(file, cells, lines, cells["path"])
        if plan.kept is not None:
            kept = plan.kept.tolist()
            cells = {name: list(compress(column, kept)) for name, column in cells.items()}
            lines = list(compress(lines, kept))
        classes = ordered_classes(cells["label"])
        numbers = {name: number for number, name in enumerate(classes)}
        further, unused = {}, {}
        for name in header:
            if name not in OWN and name not in plan.columns:
                labels = _column(file, name, cells[name], lines, numbers, plan.test)
                if isinstance(labels, str):
                    unused[name] = NO_SPLIT if names_parts(cells[name]) else labels
                else:
                    further[name] = labels
        base = str(file.parent)
        return Listing(
            paths=[f"{base}/{path}" if not path.startswith("/") else path for path in cells["path"]],
            written=cells["path"],
            lines=lines,
            rows=f"{rows}\x1dparts by {plan.marker}" if plan.marker else rows,
            classes=classes,
            labels=np.array([numbers[name] for name in cells["label"]], dtype=np.int64),
            test=plan.test,
            columns=further,
            unused_columns=unused,
            left_out=plan.left_out,
            notes=(*plan.notes, *_unused_note(file, unused)),
        )


def read_csv(file: Path) -> tuple[list[str], list[list[str]], Sequence[int]]:
    """Header, columns and the line that each row ends on; cells without blanks around them, empty lines left out.

    Raises DataError for a file that can't be read, columns missing or named twice, rows too short or too long, no rows.
    """
    if not file.is_file():
        wrong = "is a folder, not a CSV file" if file.is_dir() else "isn't there"
        raise DataError(f"{file} {wrong}. Type --dataset table:FILE.csv.")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            table = list(reader)
            lines: Sequence[int] = range(1, len(table) + 1)
            if reader.line_num != len(table):  # some cell goes over several lines
                stream.seek(0)
                reader = csv.reader(stream, strict=True)
                lines = [reader.line_num for _ in reader]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} isn't text in UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{file} can't be read: {error}. Is it a CSV file with commas?") from error
    if [] in table:
        lines = [line for row, line in zip(table, lines, strict=True) if row]
        table = [row for row in table if row]
    header = [cell.strip() for cell in table[0]] if table else []
    missing = [name for name in ("path", "label") if name not in header]
    if missing:
        seen = ", ".join(header[:10]) or "nothing"
        raise DataError(f"{file} lacks the column {' and '.join(missing)}: its first line holds {seen}.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{file} names columns twice: {', '.join(map(repr, twice))}. Rename or remove one of each.")
    table, lines = table[1:], lines[1:]
    if not table:
        raise DataError(f"{file} has no rows below its header. Add one row per image.")
    if any(len(row) != len(header) for row in table):
        numbered = zip(table, lines, strict=True)
        ragged = [f"line {line}: {len(row)} cells" for row, line in numbered if len(row) != len(header)]
        raise DataError(
            f"{len(ragged)} rows of {file} don't have the header's {len(header)} cells (a comma in a cell needs quotes "
            f"around it):\n{listed(ragged)}"
        )
    columns = [list(map(str.strip, column)) for column in zip(*table, strict=True)]
    return header, columns, lines


def _refuse_empty(file: Path, column: str, cells: Sequence[str], lines: Sequence[int]) -> None:
    empty = [f"line {line}" for cell, line in zip(cells, lines, strict=True) if not cell]
    if empty:
        raise DataError(
            f"{len(empty)} rows of {file} have an empty {column}. Fill them or remove them:\n{listed(empty)}"
        )


def _refuse_twice(file: Path, paths: Sequence[str], lines: Sequence[int]) -> None:
    if len(set(paths)) == len(paths):
        return
    first: dict[str, int] = {}
    twice = [
        f"line {line}: {path}, as line {first[path]}"
        for path, line in zip(paths, lines, strict=True)
        if first.setdefault(path, line) != line
    ]
    raise DataError(
        f"{len(twice)} rows of {file} name an image that an earlier row names. Keep one row per image (other opinions "
        f"belong in further columns):\n{listed(twice)}"
    )


def _column(
    file: Path,
    name: str,
    cells: Sequence[str],
    lines: Sequence[int],
    numbers: dict[str, int],
    test: NDArray[np.bool_] | None,
) -> Labels | str:
    """Labels (N,) of a further column, -1 where a test row leaves it empty; or why it can't be used.

    Raises DataError where a column of class names, by more than half of its training rows, has cells that are none.
    """
    labels = np.array([numbers.get(cell, -1) for cell in cells], dtype=np.int64)
    filled = np.array([bool(cell) for cell in cells])
    train = np.ones(len(cells), dtype=np.bool_) if test is None else ~test
    wrong = filled & (labels < 0)
    if not wrong.any() and (filled | ~train).all():
        return labels
    named = (labels >= 0) & train
    if 2 * int(named.sum()) > int(train.sum()) and not all(cell.isdigit() for cell in numbers) and wrong.any():
        strange = [f"line {lines[number]}: {cells[number]!r}" for number in map(int, np.flatnonzero(wrong))]
        raise DataError(
            f"{len(strange)} rows of {file} have a {name} that isn't one of the {len(numbers)} classes of the column "
            f"label. Correct them or remove the column:\n{listed(strange)}"
        )
    empty = np.flatnonzero(~filled & train)
    if len(empty):
        return f"{len(empty):,} training rows are empty, the first on line {lines[int(empty[0])]}"
    ids = np.array([int(cell) if cell.isascii() and cell.isdigit() else len(numbers) for cell in cells])
    none = np.flatnonzero(filled & (ids >= len(numbers)))
    if len(none):
        first = int(none[0])
        return f"{len(none):,} rows hold no class, the first on line {lines[first]}: {cells[first]!r}"
    return np.where(filled, ids, -1).astype(np.int64)


def _unused_note(file: Path, unused: Mapping[str, str]) -> Iterator[str]:
    """A sentence on the columns that aren't used, if there are any."""
    if not unused:
        return
    name, reason = next(iter(unused.items()))
    if len(unused) == 1:
        yield f"1 column of {file.name} can't be used as labels: {name} ({reason})"
    else:
        yield (
            f"{len(unused)} columns of {file.name} can't be used as labels, such as {name} ({reason}); show dataset "
            f"table:{file} has them all"
        )
