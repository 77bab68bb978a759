"""A user's own vectors: what a file holds of them, and the data set that comes of it.

Read `ListedVectors` first; `VectorListing` is what a subclass reads from its file, once, and `vector_cache` keeps it.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.arrays import feature_statistics
from datasets.classes import check_classes
from datasets.data_report import DataReport, count_by_class
from datasets.files import digests, remembered, states
from datasets.interface import Data, DataError, DataSet, Description, Labels, Outline, Part
from datasets.protocols import vector_protocol
from datasets.samples import Vectors, vector_shape
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


class ListedVectors(DataSet):
    """Base of the data sets whose vectors a user's file holds: `read` says what there is, everything else follows."""

    @abstractmethod
    def read(self) -> VectorListing:
        """What the file holds. Raises DataError naming all that is wrong with it."""

    @property
    @abstractmethod
    def file(self) -> Path:
        """The user's file."""

    @property
    def reading(self) -> str:
        """Everything beside the file's bytes that says how they are read, for the content hash."""
        return ""

    @property
    def label(self) -> str:
        """The data set's name in records and boards, without folders."""
        return f"{self.recorded_call()}:{self.file.name}"

    def describe(self) -> Description:
        listing = self.listing
        train, test = listing.split(0)
        shape = vector_shape(listing.vectors)
        return Description(
            name=self.label,
            classes=listing.classes,
            image_shape=None,
            vectors=shape,
            train_size=len(train),
            test_size=len(listing.test_part(test)),
            protocol=vector_protocol(len(listing.classes), shape.views),
            columns=tuple(listing.columns),
            unused_columns=tuple(listing.unused_columns.items()),
            seeded_split=listing.seeded_split,
            clean_labels=False,
            licence="the owner's",
        )

    def content_hash(self) -> str:
        return self._sha256

    def outline(self, split_seed: int) -> Outline:
        listing = self.listing
        train, test = listing.split(split_seed)
        shape = vector_shape(listing.vectors)
        columns = {name: values[train] for name, values in listing.columns.items()}
        return Outline(listing.labels[train], len(listing.test_part(test)), shape.image_shape, columns, shape)

    def report(self) -> DataReport:
        listing = self.listing
        train, test = listing.split(0)
        labels = {"train": listing.labels[train], "test": listing.test_part(test).labels}
        return DataReport(
            images={part: count_by_class(values, listing.classes) for part, values in labels.items()},
            columns=tuple(listing.columns),
            unused_columns=dict(listing.unused_columns),
            left_out=dict(listing.left_out),
            notes=listing.notes,
        )

    def load(self, split_seed: int) -> Data:
        listing = self.listing
        train, test = listing.split(split_seed)
        mean, std = feature_statistics(listing.vectors, train)
        return Data(
            self.describe(),
            Part(select(listing.vectors, train), listing.labels[train]),
            listing.test_part(test),
            mean,
            std,
            {name: values[train] for name, values in listing.columns.items()},
            self.report(),
        )

    def prepare(self) -> None:
        _ = self.listing

    @cached_property
    def listing(self) -> VectorListing:
        """What the file holds, checked."""
        if self.options.image_size is not None:
            raise DataError(f"--image-size is for images, and {self.file} holds vectors. Leave it out.")
        listing = self.read()
        check_listing(self.file, listing)
        return listing

    @cached_property
    def _sha256(self) -> str:
        found, missing = states([str(self.file)])
        if missing:
            raise DataError(f"{self.file} isn't there, or isn't a file. Type --dataset {self.name}:{self.argument}.")
        place = f"content\n{type(self).__name__}\n{self.argument_value}\n{self.reading}"
        return remembered(self.options, place, found.tobytes().hex(), self._hash)

    def _hash(self) -> str:
        reading = hashlib.sha256(f"vectors 1\n{self.reading}\n".encode())
        reading.update(digests([str(self.file)], self.options.progress))
        return reading.hexdigest()


def check_listing(file: Path, listing: VectorListing) -> None:
    """Raise DataError where nothing can be learnt from a listing, or it holds numbers that are none."""
    check_classes(listing.classes, listing.labels, listing.test, "vector")
    if listing.test_labels is not None and not len(listing.test_labels):
        raise DataError(f"{file} has no test vector. Leave out the test arrays for a split by a seed.")
