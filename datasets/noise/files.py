"""Reads matrices and label lists from CSV and npy files; every mistake is answered with its reason."""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from datasets.files import read_regular_file
from datasets.interface import DataError

NPY = b"\x93NUMPY"
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,18})(?:[.,]0*)?")


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers (R, C) as read from a file, and the class names that stood over its columns and beside its rows.

    `decimal_commas` counts the numbers that were written as 0,5.
    """

    path: Path
    values: NDArray[Any]
    columns: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None
    decimal_commas: int = 0

    def ordered(self, classes: tuple[str, ...]) -> NDArray[Any]:
        """The numbers with rows and columns in the order of `classes`; DataError where the names aren't these."""
        values = self.values
        rows = self.rows if self.rows is not None else self.columns
        columns = self.columns if self.columns is not None else self.rows
        if columns is not None:
            values = values[:, self._places(columns, classes)]
        if rows is not None and len(rows) == len(values):
            values = values[self._places(rows, classes)]
        return values

    def _places(self, names: tuple[str, ...], classes: tuple[str, ...]) -> list[int]:
        ids = tuple(str(each) for each in range(len(classes)))
        known = classes if sorted(names) != sorted(ids) else ids
        if sorted(names) == sorted(known):
            return [names.index(each) for each in known]
        strange = [each for each in names if each not in classes]
        missing = [each for each in classes if each not in names]
        said = [f"{_some(strange)} is no class of it"] * bool(strange) + [f"{_some(missing)} is missing"] * bool(
            missing
        )
        raise DataError(
            f"The class names in {self.path} aren't those of the data set: {', '.join(said) or 'a name stands twice'}. "
            f"It needs {_some(list(classes))}, or no names at all."
        )


def read_matrix(path: Path) -> Table:
    """The numbers and names of a CSV (comma, semicolon, tab or space) or npy file.

    Whether it is a transition matrix is `matrices.validate`'s to say. Raises DataError with the reason where the file
    can't be read, or holds words, ragged rows or nothing.
    """
    content = read_bytes(path)
    if content.startswith(NPY):
        return Table(path, parse_npy(path, content))
    lines = parse_csv(path, content)
    width = len(lines[0][1])
    for number, cells in lines:
        if len(cells) != width:
            raise DataError(
                f"{path}: line {number} has {len(cells)} cells, line {lines[0][0]} has {width}. It needs equal rows."
            )
    table = [cells for _, cells in lines]
    has_header, has_side = _names(table)
    body = [row[has_side:] for row in table[has_header:]]
    wrong = [
        f"line {number}, cell {place + 1 + has_side}: {cell!r}"
        for (number, _), row in zip(lines[has_header:], body, strict=True)
        for place, cell in enumerate(row)
        if not _is_number(cell)
    ]
    if wrong:
        more = f"\n  ... and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise DataError(f"{path} holds what is no number:\n  " + "\n  ".join(wrong[:10]) + more)
    if not body or not body[0]:
        raise DataError(f"{path} holds names only. A transition matrix needs a row of numbers for each class.")
    return Table(
        path,
        np.array([[float(cell.replace(",", ".")) for cell in row] for row in body]),
        columns=tuple(table[0][has_side:]) if has_header else None,
        rows=tuple(row[0] for row in table[has_header:]) if has_side else None,
        decimal_commas=sum("," in cell for row in body for cell in row),
    )


def _names(cells: list[list[str]]) -> tuple[int, int]:
    """Whether the first row and the first column are class names (0 or 1 each). Class names may be numbers.

    A square table has both if its corner is no number, one with a row more than columns has a header, one with a column
    more has names beside the rows, as long as these could be names: words, or whole numbers that are all different.
    """
    height, width = len(cells), len(cells[0])
    if height == width and height > 1 and not _is_number(cells[0][0]):
        others = [*cells[0][1:], *(row[0] for row in cells[1:])]
        if all(not _is_number(cell) or cell.isdigit() for cell in others):
            return 1, 1
    if height == width + 1 and _could_be_names(cells[0]):
        return 1, 0
    if width == height + 1 and _could_be_names([row[0] for row in cells]):
        return 0, 1
    return 0, 0


def _could_be_names(cells: list[str]) -> bool:
    words = all(not _is_number(cell) for cell in cells)
    return words or (len(set(cells)) == len(cells) and all(not _is_number(cell) or cell.isdigit() for cell in cells))


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises DataError where it isn't there, is a folder, is empty or can't be read."""
    if path.is_dir():
        raise DataError(f"{path} is a folder. Name the file in it.")
    try:
        content = read_regular_file(path)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}. Give its path from {Path.cwd()}, or a full one.") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}.") from error
    if not content.strip():
        raise DataError(f"{path} is empty.")
    return content


def parse_npy(path: Path, content: bytes) -> NDArray[Any]:
    """The array of an npy file. Raises DataError for pickled objects, which may run any code, and for broken files."""
    stream = io.BytesIO(content)
    try:
        with warnings.catch_warnings(action="ignore"):
            shape, dtype = _read_npy_header(stream)
            if dtype.hasobject:
                raise DataError(
                    f"{path} holds pickled Python objects, which may run any code when read. "
                    "Save plain numbers by numpy.save."
                )
            # Before NumPy asks for the memory: a header of a few bytes may promise any number of values.
            promised, present = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
            if promised != present:
                raise DataError(
                    f"{path} is no complete npy file: its header promises {promised:,} bytes, and {present:,} follow."
                )
            stream.seek(0)
            array: NDArray[Any] = np.load(stream, allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # NumPy reads a header as Python source: its parser raises whatever it stumbles over
        raise DataError(f"{path} is no complete npy file: {first_line(error)}") from error
    return array


def _read_npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type as an npy file's header states them; leaves `stream` where the values begin."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def first_line(error: Exception) -> str:
    """The first line of an error's message, at most 200 characters of it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def parse_csv(path: Path, content: bytes) -> list[tuple[int, list[str]]]:
    """(line number, cells) of each line that isn't empty; separated by commas, semicolons, tabs or spaces.

    Where a comma can only be a decimal one (0,5;0,5), it separates nothing. Raises DataError where there is no such
    line, or the bytes are no text.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is neither an npy file nor text. Save it as CSV, or by numpy.save.") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = _separator(first)
    if separator is None:
        lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1)]
    else:
        reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        try:
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        except csv.Error as error:
            raise DataError(f"{path} is no CSV: {error} (line {reader.line_num}).") from None
    filled = [(number, cells) for number, cells in lines if any(cells)]
    if not filled:
        raise DataError(f"{path} is empty.")
    return filled


def _separator(line: str) -> str | None:
    """The separator of a line's cells; None for blanks."""
    for separator in (";", "\t", None):
        cells = line.split(separator)
        numbers = [cell.strip().strip('"') for cell in cells if "," in cell]
        if len(cells) > 1 and numbers and all(map(DECIMAL_COMMA.fullmatch, numbers)):
            return separator
    return next((each for each in ",;\t" if each in line), None)


def whole_number(cell: str) -> int | None:
    """The whole number that a cell holds, also as 3.0; None for anything else, or beyond 18 digits."""
    found = WHOLE_NUMBER.fullmatch(cell)
    return None if found is None else int(found[1])


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell)
    except ValueError:
        return False
    return True


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
