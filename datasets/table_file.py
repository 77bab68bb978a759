"""A table of text as people's programs write it: its encoding, its separator, its header or none, its rows.

Read `read_table` first.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from datasets.files import listed
from datasets.images import SUFFIXES
from datasets.interface import DataError

SEPARATORS = ",;\t|"
"""What may stand between cells, besides blanks in a list of images; the first that fits is taken."""
ENCODINGS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
"""Marks at the beginning of a file, and what they say it is written in."""
OTHER_FILES = (
    (b"PK\x03\x04", "an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "Parquet"),
    (b"[{", "JSON"),
    (b'{"', "JSON"),
)
"""Files that people have in place of a table, by their first bytes."""
HEAD = 1 << 20
"""Characters that are looked at for a separator; no header is longer."""


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
    text, skipped = _read_text(file)
    separator, has_header = _find_separator(text, (path, label))
    rows, lines = _rows(file, text, separator)
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


def find_column(header: Sequence[str], name: str) -> list[int]:
    """The positions of a column as typed: by its name, else by its name in another case, else by its number."""
    exact = [place for place, title in enumerate(header) if title == name]
    if exact:
        return exact[:1]
    cased = [place for place, title in enumerate(header) if title.casefold() == name.casefold()]
    if not cased and name.isascii() and name.isdigit() and 1 <= int(name) <= len(header):
        return [int(name) - 1]
    return cased


def is_image_name(cell: str) -> bool:
    """Whether a cell ends as the names of image files do."""
    return any(cell.rstrip().lower().endswith(suffix) for suffix in SUFFIXES)


def typed_table(file: Path, **options: str) -> str:
    """The option that reads a table with these parameters, as a shell takes it."""
    values = ",".join(f"{name}={value}" for name, value in options.items())
    call = f"table[{values}]" if values else "table"
    return f"--dataset {shlex.quote(f'{call}:{file}')}"


def _read_text(file: Path) -> tuple[str, int]:
    """The file's text, and how many lines before it say something about it only (Excel's `sep=;`)."""
    if not file.is_file():
        wrong = "is a folder, not a CSV file" if file.is_dir() else "isn't there"
        raise DataError(f"{file} {wrong}. Type --dataset table:FILE.csv.")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror}.") from error
    for mark, kind in OTHER_FILES:
        if content.startswith(mark):
            raise DataError(f"{file} is no table of text but {kind}. Save it as CSV in UTF-8, a line for each image.")
    encoding = next((encoding for mark, encoding in ENCODINGS if content.startswith(mark)), "utf-8")
    for zero, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark: every other byte of plain letters is 0
        if len(content) > 4 and content[zero:8:2] == b"\0" * len(content[zero:8:2]):
            encoding = name
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        said = encoding.upper().removesuffix("-SIG")
        raise DataError(
            f"{file} isn't text in {said} ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error
    if re.match(r"sep=.\r?\n", text, re.IGNORECASE):
        return text.partition("\n")[2], 1
    return text, 0


def _find_separator(text: str, wanted: Sequence[str]) -> tuple[str, bool]:
    """What separates the cells, and whether the first line is a header. A blank stands for any number of them."""
    text = text[:HEAD]
    first = next((line for line in text.splitlines() if line.strip()), "")
    heads = {separator: _cells(text, separator) for separator in SEPARATORS} | {" ": first.split()}
    for separator, head in heads.items():
        if all(find_column(head, name) and not is_image_name(name) for name in wanted) and not _lists_images(head):
            return separator, True
    for separator in SEPARATORS:
        if _lists_images(heads[separator]):
            return separator, False
    if _lists_images(_words(first, *_words_around_path(first))):
        return " ", False
    return max(SEPARATORS, key=lambda separator: len(heads[separator])), True


def _lists_images(cells: Sequence[str]) -> bool:
    """Whether cells are a row of a list without a header: several, one of them an image's name."""
    return len(cells) > 1 and any(map(is_image_name, cells)) and not {"path", "label"} <= set(cells)


def _cells(text: str, separator: str) -> list[str]:
    """The cells of the first row that isn't empty; none where it can't be read."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        return [cell.strip() for cell in next((row for row in rows if any(map(str.strip, row))), [])]
    except csv.Error:
        return []


def _words_around_path(first: str) -> tuple[int, int]:
    """How many words stand before and after the path in a line that blanks separate, by the first one.

    In a header the path is the word path, elsewhere what goes up to the last image's name, or what follows the first
    word if nothing stands behind that.
    """
    words = first.split()
    names = [word.casefold() for word in words]
    if "path" in names:
        return names.index("path"), len(words) - 1 - names.index("path")
    after = next((number for number, word in enumerate(reversed(words)) if is_image_name(word)), len(words) - 1)
    return (0, after) if after else (1, 0)


def _words(line: str, before: int, after: int) -> list[str]:
    """The cells of a line that blanks separate: words, and between them the path, which may hold blanks itself."""
    words = line.split(None, before)
    if len(words) <= before:
        return words
    inner = words[-1].rstrip().rsplit(None, after)
    return [*words[:-1], *inner]


def _rows(file: Path, text: str, separator: str) -> tuple[list[list[str]], Sequence[int]]:
    """The rows that aren't empty, and the line that each ends on."""
    if separator == " ":
        numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        before, after = _words_around_path(numbered[0][1])
        return [_words(line, before, after) for _, line in numbered], [number for number, _ in numbered]
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = list(reader)
        lines: Sequence[int] = range(1, len(rows) + 1)
        if reader.line_num != len(rows):  # some cell goes over several lines
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
            lines = [reader.line_num for _ in reader]
    except csv.Error as error:
        raise DataError(f"{file} can't be read: {error}. Is it a CSV file with commas?") from error
    if [] in rows:
        lines = [line for row, line in zip(rows, lines, strict=True) if row]
        rows = [row for row in rows if row]
    return rows, lines


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
