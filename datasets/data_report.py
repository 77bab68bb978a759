"""What was found when a user's own data was listed, and what was left out, guessed or not used. Plain values only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from datasets.interface import Labels

UNREADABLE = "unreadable images"
"""In `left_out`: what `--skip-unreadable` goes on without."""
COPIES_IN_TEST = "test images that are copies of training images"
COPIES = "images that are copies of others"
"""In `left_out`, though they aren't: the second where a split by a seed may put them into both parts."""

MISSING = "images that the copy lacks"
"""In `left_out`: images of a published set that are not in this copy, where a copy without them is good for use."""


@dataclass(frozen=True)
class DataReport:
    """What a user should know of a data set of their own before believing a board.

    Whatever lists data puts its sentences into `Listing.notes`, and why a column is no labelling into
    `Listing.unused_columns`; the report is made of them. `show dataset` prints it, `run` prints the notes, and a record
    keeps all of it under `provenance`.
    """

    images: Mapping[str, Mapping[str, int]]
    """Images of each class by part: {"train": {"cat": 16, "dog": 9}, "test": {"cat": 4, "dog": 2}}. Where the split
    is drawn by a seed, those of seed 0."""
    columns: tuple[str, ...] = ()
    """The columns that `--noise column:NAME` takes."""
    unused_columns: Mapping[str, str] = field(default_factory=dict)
    """The other columns, each with the reason why it can't be used."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Counts of what takes no part or is doubtful, by a short name, such as {"validation images": 32}."""
    notes: tuple[str, ...] = ()
    """Whole sentences for people, without "note:", each with a count and the first name."""

    @property
    def unreadable(self) -> int:
        """Images that can't be read and that the user goes on without."""
        return self.left_out.get(UNREADABLE, 0)

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {**asdict(self), "columns": list(self.columns), "notes": list(self.notes)}


def count_by_class(labels: Labels, classes: Sequence[str]) -> dict[str, int]:
    """Images of each class, by its name, of labels (N,)."""
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def count_of(items: Sequence[str], one: str, many: str) -> str:
    """A count, what is said of one or of many, and the first name: "3 files are empty (first: a.txt)"."""
    return f"1 {one} ({items[0]})" if len(items) == 1 else f"{len(items):,} {many} (first: {items[0]})"


def alike_note(classes: Sequence[str]) -> list[str]:
    """A sentence on classes whose names differ in case, blanks or the like only; none where there are no such."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        key = re.sub(r"(?<=\w)[\s_-]+(?=\w)", " ", unicodedata.normalize("NFKC", name)).casefold()
        groups.setdefault(key, []).append(name)
    alike = ["/".join(map(repr, names)) for names in groups.values() if len(names) > 1]
    if not alike:
        return []
    said = ", ".join(alike[:10]) + (f" and {len(alike) - 10} more" if len(alike) > 10 else "")
    noun = "name is" if len(alike) == 1 else "names are"
    return [
        f"{len(alike)} class {noun} written in several ways and taken for different classes ({said}): write each in "
        f"one way if they are the same; there are {len(classes)} classes"
    ]
