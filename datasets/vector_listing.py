"""What a user's file of vectors holds, before any of it is drawn or split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels, Part
from datasets.samples import Vectors
from datasets.selected import select
from datasets.splits import TEST_SHARE, stratified


@dataclass(frozen=True)
class VectorListing:
    """What a file holds: vectors (N, V, D) in order, labels (N,) ids into `classes`, further labels `columns` (N,).

    `test` (N,) says which are for testing (None: a seeded split decides, or there are `test_vectors` (M, 1, D) of their
    own with `test_labels`). `rows` are the numbers or lines by which the user knows the vectors. What the user should
    know of the file goes into the last three, which become those of `DataReport`.
    """

    vectors: Vectors
    classes: tuple[str, ...]
    labels: Labels
    test: NDArray[np.bool_] | None = None
    test_vectors: Vectors | None = None
    test_labels: Labels | None = None
    columns: Mapping[str, Labels] = field(default_factory=dict)
    unused_columns: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def seeded_split(self) -> bool:
        """Whether a seed decides which vectors are for testing."""
        return self.test is None and self.test_vectors is None

    def split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the training and the test vectors among `vectors`; no test ones where they stand apart."""
        if self.test_vectors is not None:
            return np.arange(len(self.labels)), np.zeros(0, dtype=np.int64)
        if self.test is not None:
            return np.flatnonzero(~self.test), np.flatnonzero(self.test)
        size = max(1, round(TEST_SHARE * len(self.labels)))
        return stratified(self.labels, len(self.classes), size, seed)

    def test_part(self, test: NDArray[np.int64]) -> Part:
        """The test vectors, plain views only: those that stand apart, or those at the positions `test`."""
        if self.test_vectors is not None and self.test_labels is not None:
            return Part(self.test_vectors, self.test_labels)
        return Part(select(self.vectors[:, :1], test), self.labels[test])
