"""The parts that people's own data comes in, under the names that they give them, and what each is used for.

`part_of` knows a name, `assign_parts` says which images are for training, which for testing, and which take no part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datasets.files import listed
from datasets.interface import DataError

PartName = Literal["train", "validation", "test"]

NAMES: Mapping[str, PartName] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "devel"), "validation"),
    **dict.fromkeys(("development", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tests", "tst"), "test"),
}
FILLERS = frozenset({"set", "sets", "data", "dataset", "image", "images", "img", "imgs", "split", "part", "partition"})
"""Words beside a part's name that say no more: train_images, Test Set."""
TRUE, FALSE = frozenset({"true", "t", "yes", "y", "1", "1.0"}), frozenset({"false", "f", "no", "n", "0", "0.0"})


def part_of(name: str) -> PartName | None:
    """The part that a folder, a cell or a column means: "Training", "val", "test_set", "train2017"; None for none."""
    words = [word for word in _words(name) if word not in FILLERS]
    return NAMES.get(words[0].removesuffix("set")) if len(words) == 1 else None


def has_part_word(name: str) -> bool:
    """Whether some word of a name is one of a part's, as in "seg_train"."""
    return any(word.removesuffix("set") in NAMES for word in _words(name))


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_\d]+", name.casefold()) if word]


@dataclass(frozen=True)
class PartPlan:
    """What becomes of N images: `kept` (N,) says which take part (None: all), `test` which of these are for testing.

    `test` is None where nothing says so and a seeded split decides. `columns` are those that said it; `marker` goes
    into the content hash wherever parts are told by more than the words train and test.
    """

    kept: NDArray[np.bool_] | None = None
    test: NDArray[np.bool_] | None = None
    columns: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    marker: str = ""


def assign_parts(parts: Sequence[PartName], names: Sequence[str], marker: str, columns: Sequence[str] = ()) -> PartPlan:
    """What becomes of images whose parts and names (N) are known.

    Validation images are the test images where there are no others. Beside test images they take no part: the hold-out
    by which anything is chosen is drawn from the training images, with their noisy labels, so that it is as large and
    as noisy for every data set and method.
    """
    found = np.array(parts)
    validation, test = found == "validation", found == "test"
    if not validation.any():
        return PartPlan(None, test, tuple(columns), marker=marker)
    count, first = int(validation.sum()), names[int(validation.argmax())]
    if not test.any():
        note = f"there is no test part, so the {count:,} validation images are the test images (first: {first})"
        return PartPlan(None, validation, tuple(columns), notes=(note,), marker=marker or "validation is test")
    note = (
        f"{count:,} validation images take no part (first: {first}): beside a test part, the hold-out is drawn from "
        "the training images. Move them to the training part to train on them"
    )
    left_out = {"validation images": count}
    return PartPlan(~validation, test[~validation], tuple(columns), left_out, (note,), marker)


def parts_of_columns(
    file: Path, cells: Mapping[str, Sequence[str]], lines: Sequence[int], paths: Sequence[str]
) -> PartPlan:
    """The parts that a table's columns say: `split`, or else is_valid, is_test and is_train with yes or no in them.

    Args:
        cells: every column (N) by its name.
        lines: where each row ends.
        paths: the name of each row's image.

    Raises:
        DataError: rows that name no part, or two at once.
    """
    if "split" in cells:
        return _by_names(file, cells["split"], lines, paths)
    flags = {name: part for name in cells if (part := _flagged_part(name)) and _are_flags(cells[name])}
    return _by_flags(file, {name: cells[name] for name in flags}, flags, lines, paths) if flags else PartPlan()


def _by_names(file: Path, cells: Sequence[str], lines: Sequence[int], paths: Sequence[str]) -> PartPlan:
    known = {cell: part_of(cell) for cell in set(cells)}
    parts = [part for cell in cells if (part := known[cell])]
    if len(parts) < len(cells):
        unknown = [f"line {line}: {cell!r}" for cell, line in zip(cells, lines, strict=True) if not known[cell]]
        raise DataError(
            f"{len(unknown)} rows of {file} have a split that is neither train, val nor test. Correct them, or leave "
            f"the column out for a seeded split:\n{listed(unknown)}"
        )
    return assign_parts(parts, paths, "" if known.keys() <= {"train", "test"} else "split", ("split",))


def _by_flags(
    file: Path,
    cells: Mapping[str, Sequence[str]],
    flags: Mapping[str, PartName],
    lines: Sequence[int],
    paths: Sequence[str],
) -> PartPlan:
    raised = {name: np.array([cell.casefold() in TRUE for cell in column]) for name, column in cells.items()}
    both = np.flatnonzero(np.sum(list(raised.values()), axis=0) > 1)
    if len(both):
        rows = [f"line {lines[number]}: {paths[number]}" for number in both.tolist()]
        raise DataError(f"{len(both)} rows of {file} are of two parts by {' and '.join(cells)}:\n{listed(rows)}")
    others: PartName = "test" if set(flags.values()) == {"train"} else "train"
    if others == "train" and "train" in flags.values():
        nowhere = np.flatnonzero(np.sum(list(raised.values()), axis=0) == 0)
        if len(nowhere):
            rows = [f"line {lines[number]}: {paths[number]}" for number in nowhere.tolist()]
            raise DataError(f"{len(nowhere)} rows of {file} are of no part by {' and '.join(cells)}:\n{listed(rows)}")
    if not any(rows_raised.any() for rows_raised in raised.values()):
        note = f"no row of {file.name} is marked by {' or '.join(cells)}, so a seeded split is drawn"
        return PartPlan(columns=tuple(cells), notes=(note,))
    parts = np.full(len(lines), others, dtype=object)
    for name, rows_raised in raised.items():
        parts[rows_raised] = flags[name]
    plan = assign_parts(parts.tolist(), paths, " ".join(sorted(cells)), tuple(cells))
    said = f"the parts of {file.name} are those that {' and '.join(cells)} {'says' if len(cells) == 1 else 'say'}"
    return replace(plan, notes=(said, *plan.notes))


def _flagged_part(column: str) -> PartName | None:
    """The part whose images a column of yes and no marks: is_valid, isTest."""
    found = re.fullmatch(r"is[\W_]*(.+)", column.casefold())
    return part_of(found[1]) if found else None


def _are_flags(cells: Sequence[str]) -> bool:
    words = {cell.casefold() for cell in set(cells)}
    return words <= TRUE | FALSE


def names_parts(cells: Sequence[str]) -> bool:
    """Whether a column's cells are names of parts, training among them."""
    parts = {part_of(cell) for cell in set(cells)}
    return None not in parts and "train" in parts and len(parts) > 1
