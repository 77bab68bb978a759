"""What many people said of each test image: CIFAR-10H (Peterson et al., ICCV 2019, arXiv 1908.07086).

A reference for how unsure a method ought to be; nothing is trained on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise.files import parse_npy, read_bytes

SOURCE = "github.com/jcpeterson/cifar-10h, folder data (CC BY-NC-SA 4.0: not for commercial use)"
FOLDERS = (".", "data", "cifar-10h/data", "cifar-10h-master/data")
LEAST_AGREEMENT = 0.9
"""Share of images whose commonest answer is their label. In CIFAR-10H nearly all; a tenth in another order."""


@dataclass(frozen=True, eq=False)
class Opinions:
    """`counts` int64 (N, K): how many people chose each class for each test image. `sha256` is that of the file."""

    counts: NDArray[np.int64]
    sha256: str


def read_opinions(path: Path, labels: Labels, classes: int) -> Opinions:
    """The counts of a file for test images with these labels (N,). Raises DataError where they can't be theirs."""
    content = read_bytes(path)
    counts = parse_npy(path, content)
    wanted = (len(labels), classes)
    if counts.shape != wanted or counts.dtype.kind not in "iu" or counts.min() < 0 or not counts.sum(axis=1).all():
        raise DataError(
            f"{path} holds {counts.dtype} values {' x '.join(map(str, counts.shape))}, and not how many people chose "
            f"each class for each test image ({wanted[0]:,} x {wanted[1]} whole numbers, some in each row). The right "
            f"file is cifar10h-counts.npy of {SOURCE}."
        )
    agreement = float((counts.argmax(axis=1) == labels).mean())
    if agreement < LEAST_AGREEMENT:
        raise DataError(
            f"{path} is in another order: the commonest answer is the label of only {agreement:.0%} of the test "
            f"images. Take the file of {SOURCE}."
        )
    return Opinions(counts.astype(np.int64), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class OpinionFile:
    """A file of counts below `roots`, if it is there and fits."""

    name: str
    roots: Sequence[Path]
    classes: int

    @cached_property
    def path(self) -> Path | None:
        """The file; None where there is none."""
        places = dict.fromkeys(root / folder / self.name for root in self.roots for folder in FOLDERS)
        return next((path for path in places if path.is_file()), None)

    def of(self, labels: Labels) -> Opinions | None:
        """The opinions on test images with these labels (N,); None without a file that fits."""
        if self.path is None:
            return None
        try:
            return read_opinions(self.path, labels, self.classes)
        except DataError:
            return None

    def problem(self, labels: Labels) -> str:
        """Why a file that is there isn't used, in a sentence without its full stop; else an empty text."""
        if self.path is None:
            return ""
        try:
            read_opinions(self.path, labels, self.classes)
        except DataError as error:
            return str(error).rstrip(".")
        return ""
