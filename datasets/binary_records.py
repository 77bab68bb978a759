"""Files of fixed-length records, an image each, as the maker of ANIMAL-10N writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.arrays import BLOCK_BYTES
from datasets.files import states
from datasets.interface import DataError, Images, Labels


@dataclass(frozen=True)
class Records:
    """The records of some files together, ordered by id: labels (N,), and images that are read when they are asked for.

    `notes` are sentences on ids that aren't 0..N-1. `places` (N,) is the place in that order of each record of `files`.
    """

    labels: Labels
    notes: Sequence[str]
    files: Sequence[NDArray[Any]]
    places: NDArray[np.int64]

    def images(self) -> Images:
        """All images, uint8 (N, H, W, 3)."""
        _, height, width = self.files[0].dtype["pixels"].shape
        found = np.empty((len(self.labels), height, width, 3), dtype=np.uint8)
        step, start = max(1, BLOCK_BYTES // self.files[0].dtype.itemsize), 0
        for file in self.files:
            for first in range(0, len(file), step):
                block = file["pixels"][first : first + step].transpose(0, 2, 3, 1)
                found[self.places[start + first : start + first + len(block)]] = block
            start += len(file)
        return found


def open_records(files: Sequence[Path], side: int, classes: int) -> Records:
    """The records of some files.

    A record is its id and its label, four bytes each with the highest first, then the planes of red, green and blue,
    row by row. Ids are 0..N-1 in any order, over all files; others are taken in their order, with a note.

    Raises:
        DataError: a file that is no whole number of records, a label that there isn't, or an id that comes twice.
    """
    form = np.dtype([("id", ">i4"), ("label", ">i4"), ("pixels", "u1", (3, side, side))])
    sizes, missing = states([str(file) for file in files])
    if missing:
        raise DataError(f"{files[missing[0]]} isn't there. Get it again from its maker.")
    for file, (size, _) in zip(files, sizes.tolist(), strict=True):
        if not size or size % form.itemsize:
            raise DataError(
                f"{file} has {size:,} bytes, which is no whole number of records of {form.itemsize:,}. Get it again."
            )
    maps = [np.memmap(file, dtype=form, mode="r") for file in files]
    ids = np.concatenate([each["id"] for each in maps]).astype(np.int64)
    labels = np.concatenate([each["label"] for each in maps]).astype(np.int64)
    named = ", ".join(file.name for file in files)
    order = np.argsort(ids, kind="stable")
    twice = int((np.diff(ids[order]) == 0).sum())
    if twice:
        raise DataError(f"{twice:,} ids of {named} come twice. Get these files again.")
    strange = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(strange):
        first = int(strange[0])
        raise DataError(
            f"{len(strange):,} records of {named} have no label from 0 to {classes - 1}; the first is record "
            f"{first + 1:,} with {labels[first]}. Get these files again."
        )
    places = np.empty(len(ids), dtype=np.int64)
    places[order] = np.arange(len(ids))
    whole = np.array_equal(places, ids)
    notes = [] if whole else [f"ids of {named} aren't 0 to {len(ids) - 1:,}: images are taken in their order"]
    return Records(labels[order], notes, maps, places)
