"""Lists of image files as published data sets have them: a path and a label on each line, or a path alone.

Read `read_labelled` and `read_paths`. Every line is checked, and those that are wrong are named with their numbers. A
million lines take a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from datasets.data_report import count_of
from datasets.files import listed, read_regular_file
from datasets.interface import DataError, Labels


@dataclass(frozen=True)
class PathList:
    """The lines of a list: paths (N) as written, and the number of each line, from 1."""

    file: Path
    paths: Sequence[str]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, number: int) -> str:
        """What to call the line at a position in an error."""
        return f"line {self.lines[number]}: {self.paths[number]}"


@dataclass(frozen=True)
class LabelledList(PathList):
    """A list with labels (N,)."""

    labels: Labels

    def only(self, kept: Sequence[bool]) -> LabelledList:
        """Some of the lines; `kept` (N) says which."""
        paths, lines = list(compress(self.paths, kept)), list(compress(self.lines, kept))
        return LabelledList(self.file, paths, lines, self.labels[np.array(kept, dtype=np.bool_)])


def read_lines(file: Path) -> list[str]:
    """The lines of a text without their ends; empty ones at its end don't count, and the last may lack its end.

    Raises DataError where the file can't be read, isn't text in UTF-8, or holds nothing.
    """
    try:
        text = read_regular_file(file).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file} isn't text in UTF-8 (line {line}). Get it again from its maker.") from error
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if lines == [""]:
        raise DataError(f"{file} is empty. Get it again from its maker.")
    return lines


def read_paths(file: Path) -> tuple[PathList, list[str]]:
    """The paths of a list that has one on each line, each once, and a sentence on those that came again.

    Raises DataError for lines that are empty and for paths that leave the folder.
    """
    paths = [line.strip() for line in read_lines(file)]
    _check_paths(file, paths, range(1, len(paths) + 1))
    first = {path: len(paths) - number for number, path in enumerate(reversed(paths))}  # the last to be written stays
    if len(first) == len(paths):
        return PathList(file, paths, range(1, len(paths) + 1)), []
    again = [path for number, path in enumerate(paths, 1) if first[path] != number]
    lines = sorted(first.values())
    one, many = "names a file that an earlier line names", "name files that earlier lines name"
    note = count_of(again, f"line of {file.name} {one}", f"lines of {file.name} {many}")
    return PathList(file, [paths[line - 1] for line in lines], lines), [note]


def read_labelled(file: Path, classes: int, skip: int = 0, inside: Iterable[str] | None = None) -> LabelledList:
    """The paths and labels of a list; the label is the last word of each line, an id below `classes`.

    Args:
        file: text; a path may hold blanks and commas.
        classes: number of classes.
        skip: lines at the beginning that are a header.
        inside: labels are these words, in the order of their ids, in place of numbers.

    Raises:
        DataError: lines without a label or with an impossible one, empty paths, paths that leave the folder.
    """
    lines = read_lines(file)[skip:]
    first = 1 + skip
    rows = [line.rsplit(None, 1) for line in lines]
    words = [row[1] if len(row) == 2 else "" for row in rows]
    names = None if inside is None else {name: number for number, name in enumerate(inside)}
    ids = {word: _label(word, classes) if names is None else names.get(word, -1) for word in set(words)}
    labels = np.fromiter(map(ids.__getitem__, words), dtype=np.int64, count=len(words))
    if (labels < 0).any():
        wrong = [f"line {first + place}: {lines[place][:200]!r}" for place in np.flatnonzero(labels < 0).tolist()]
        what = f"a label from 0 to {classes - 1}" if names is None else f"one of {', '.join(names)}"
        raise DataError(
            f"{len(wrong):,} of {len(lines):,} lines of {file} lack their label, {what} behind the path. Correct them, "
            f"remove them, or get the list again from its maker:\n{listed(wrong)}"
        )
    paths = [row[0] for row in rows]
    numbers = range(first, first + len(lines))
    _check_paths(file, paths, numbers)
    return LabelledList(file, paths, numbers, labels)


def _label(word: str, classes: int) -> int:
    """The id that a word is; -1 where it is none below `classes`."""
    return int(word) if word.isascii() and word.isdigit() and len(word) < 10 and int(word) < classes else -1


def _check_paths(file: Path, paths: Sequence[str], lines: Sequence[int]) -> None:
    """Raise DataError for empty paths and for such as lead out of the folder that they start from."""
    if "" in paths:
        _refuse(file, paths, lines, lambda path: not path, "are empty")
    text = "\n".join(paths)
    if text.startswith("/") or "\n/" in text or ".." in text:  # a million paths are looked at one by one only then
        _refuse(file, paths, lines, _leaves, "lead out of the data set's folder")


def _refuse(file: Path, paths: Sequence[str], lines: Sequence[int], is_wrong: Callable[[str], bool], how: str) -> None:
    wrong = [f"line {line}: {path!r}" for path, line in zip(paths, lines, strict=True) if is_wrong(path)]
    if wrong:
        raise DataError(f"{len(wrong):,} lines of {file} {how}. Correct or remove them:\n{listed(wrong)}")


def _leaves(path: str) -> bool:
    return path.startswith("/") or (".." in path and ".." in path.split("/"))


def by_path(pairs: LabelledList) -> dict[str, int]:
    """The label of each path. Raises DataError for paths that come twice with two labels."""
    found = dict(zip(pairs.paths, pairs.labels.tolist(), strict=True))
    if len(found) < len(pairs):
        other = [
            pairs.name(number)
            for number, (path, label) in enumerate(zip(pairs.paths, pairs.labels.tolist(), strict=True))
            if found[path] != label
        ]
        if other:
            raise DataError(
                f"{len(other):,} lines of {pairs.file} give an image a label, and a later line another one. Keep one "
                f"of them:\n{listed(other)}"
            )
    return found
