"""Images that are the same file twice, by the hashes of their bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels


@dataclass(frozen=True)
class Copies:
    """Images that are copies: how many, how many of them under another label, and the first with its original.

    With a test part these are test images that training images equal; without one, images that an earlier one equals,
    since a split by a seed may put them on both sides.
    """

    count: int = 0
    relabelled: int = 0
    first: int = -1
    original: int = -1

    def note(self, names: tuple[str, str], seeded: bool) -> str:
        """A sentence; `names` are those of the first and of its original."""
        one = self.count == 1
        if seeded:
            are = "image is a copy of another" if one else "images are copies of others"
        else:
            are = "test image is a copy of a training image" if one else "test images are copies of training images"
        others = f", {self.relabelled:,} of them under another label" if self.relabelled else ""
        others = ", under another label" if one and self.relabelled else others
        why = "which a split by a seed may put into both parts" if seeded else "so part of the test accuracy is memory"
        return f"{self.count:,} {are}{others} (first: {names[0]}, of {names[1]}), {why}"


def find_copies(digests: bytes, labels: Labels, test: NDArray[np.bool_] | None) -> Copies:
    """The copies among N images.

    Args:
        digests: SHA-256 of each file, one after the other (32 N bytes).
        labels: (N,).
        test: (N,) whether each is a test image; None where a seeded split decides.
    """
    kinds, content = np.unique(np.frombuffer(digests, dtype="S32"), return_inverse=True)
    size, positions = len(labels), np.arange(len(labels))
    if len(kinds) == size:
        return Copies()
    sources = positions if test is None else np.flatnonzero(~test)
    original = np.full(len(kinds), size)
    original[content[sources[::-1]]] = sources[::-1]  # the last to be written is the first of its content
    original = original[content]
    is_copy = (original < positions) if test is None else test & (original < size)
    copies = np.flatnonzero(is_copy)
    if not len(copies):
        return Copies()
    labelled = content * (int(labels.max()) + 1) + labels
    if test is None:
        other = labels[copies] != labels[original[copies]]
    else:
        other = ~np.isin(labelled[copies], labelled[sources])
    first = int(copies[0])
    return Copies(len(copies), int(other.sum()), first, int(original[first]))
