"""The classes of a list of labels: their order, and whether each of them can be learnt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasets.files import listed
from datasets.interface import DataError, Labels


def ordered_classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels, sorted: by value if all are whole numbers, else by name."""
    names = set(labels)
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def check_classes(
    classes: Sequence[str], labels: Labels, test: NDArray[np.bool_] | None, sample: str = "image"
) -> None:
    """Raise DataError where nothing can be learnt from these images: `test` (N,) says which are set aside.

    `sample` is what one of them is called.
    """
    if len(classes) < 2:
        raise DataError(f"All {len(labels)} {sample}s are labelled {classes[0]!r}: at least two classes are needed.")
    sizes = np.bincount(labels, minlength=len(classes))
    if test is None:
        if int(np.maximum(sizes - 1, 0).sum()) == 0:
            raise DataError(f"Every class has one {sample} only, so none can be set aside for testing. Add {sample}s.")
        return
    if test.all() or not test.any():
        part = "training" if test.all() else "test"
        raise DataError(f"No {sample} belongs to the {part} part. Give some, or leave out the split for a seeded one.")
    trained = np.bincount(labels[~test], minlength=len(classes))
    if (trained == 0).any():
        unseen = [classes[number] for number in np.flatnonzero(trained == 0).tolist()]
        raise DataError(f"{len(unseen)} of {len(classes)} classes have no training {sample}:\n{listed(unseen)}")
