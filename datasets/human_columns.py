"""Label columns of CIFAR that people made, from the file of CIFAR-10N or CIFAR-100N in the data root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from datasets.human_labels import SOURCE, TFDS_REASON, read_human_labels
from datasets.interface import DataError, Labels
from datasets.label_columns import LabelColumns

FOLDERS = (".", "data", "cifar-10-100n/data", "cifar-10-100n-main/data")
"""Where the file lies below the data root: on its own, or in a copy of its repository."""


@dataclass(frozen=True)
class HumanFile:
    """The file of one task: which of its lists are columns, and which one holds the data set's own labels.

    `classes` is how many different values each list must have, None for any number.
    """

    name: str
    clean: str
    columns: Mapping[str, str]
    """The column's name, and its key in the file."""
    classes: int | None = None


@dataclass(frozen=True)
class HumanColumns:
    """The columns of a `HumanFile` below `roots`, as far as they are there."""

    file: HumanFile
    roots: Sequence[Path]

    @cached_property
    def path(self) -> Path | None:
        """The file; None where there is none."""
        return next((path for path in self._places(self.file.name) if path.is_file()), None)

    @cached_property
    def problem(self) -> str | None:
        """Why there are no columns, in a sentence without its full stop; None where there are."""
        if self.path is None:
            return self._missing()
        try:
            self._read(self.path)
        except DataError as error:
            return str(error).rstrip(".")
        return None

    def of(self, labels: Labels, data_set: str) -> LabelColumns:
        """The columns of training images with these labels (N,), unread. A file of other data fails when it is read."""
        path = self.path
        if path is None or self.problem is not None:
            return LabelColumns({})

        def column(key: str) -> Labels:
            read = self._read(path)
            _check_order(path, read[self.file.clean], labels, data_set)
            return read[key]

        return LabelColumns({name: partial(column, key) for name, key in self.file.columns.items()})

    def _read(self, path: Path) -> Mapping[str, Labels]:
        read = read_human_labels(path)
        wanted = (self.file.clean, *self.file.columns.values())
        missing = [key for key in wanted if key not in read]
        if missing:
            raise DataError(f"{path} has no {missing[0]} (it has {', '.join(read)}). Fetch it: {SOURCE}.")
        for key in wanted if self.file.classes is not None else ():
            values = len(np.unique(read[key]))
            if values != self.file.classes:
                raise DataError(
                    f"{path}: {key} holds {values} different classes, and there are {self.file.classes}. The file that "
                    f"was published first is wrong so; fetch the present one: {SOURCE}."
                )
        return read

    def _places(self, name: str) -> list[Path]:
        return list(dict.fromkeys(root / folder / name for root in self.roots for folder in FOLDERS))

    def _missing(self) -> str:
        ordered = self.file.name.replace(".pt", "_ordered.npy")
        found = next((path for path in self._places(ordered) if path.is_file()), None)
        if found is not None:
            return f"{found} {TFDS_REASON}"
        return f"there is no {self.file.name} in {self.roots[0]}. Put it there; it is to be had from {SOURCE}"


def _check_order(path: Path, theirs: Labels, labels: Labels, data_set: str) -> None:
    """Raise DataError where a file's clean labels aren't the data set's own, one by one."""
    if len(theirs) != len(labels):
        raise DataError(f"{path} has {len(theirs):,} labels, and {data_set} has {len(labels):,} training images.")
    wrong = np.flatnonzero(theirs != labels)
    if len(wrong):
        first = wrong[0]
        raise DataError(
            f"{path} is of other images or in another order: for {len(wrong):,} of {len(labels):,} training images its "
            f"clean label isn't {data_set}'s own (first: place {first}, {theirs[first]} there, {labels[first]} here). "
            f"Take the file from {SOURCE}."
        )
