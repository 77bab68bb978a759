"""The text of a table: its encoding, its separator, whether it has a header, and its rows.

Read `read_text`, `find_separator` and `split_rows` first, which are called in this order.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from datasets.image_file import SUFFIXES
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


def read_text(file: Path) -> tuple[str, int]:
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
    encoding = encoding_of(content)
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


def encoding_of(content: bytes) -> str:
    """The encoding of a text, by its first bytes."""
    encoding = next((encoding for mark, encoding in ENCODINGS if content.startswith(mark)), "utf-8")
    for zero, name in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark: every other byte of plain letters is 0
        if len(content) > 4 and content[zero:8:2] == b"\0" * len(content[zero:8:2]):
            encoding = name
    return encoding


def find_separator(text: str, wanted: Sequence[str]) -> tuple[str, bool]:
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


def split_rows(file: Path, text: str, separator: str) -> tuple[list[list[str]], Sequence[int]]:
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
