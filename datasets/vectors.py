"""A user's own vectors: what a file holds of them, and the data set that comes of it.

`datasets.vector_listing` says what a subclass reads from its file, once, and `datasets.vector_cache` keeps it.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from functools import cached_property
from pathlib import Path

from datasets.arrays import feature_statistics
from datasets.classes import check_classes
from datasets.data_report import DataReport, count_by_class
from datasets.files import digests, remembered, states
from datasets.interface import Data, DataError, DataSet, Description, Outline, Part
from datasets.protocols import vector_protocol
from datasets.samples import vector_shape
from datasets.selected import select
from datasets.vector_cache import kept_listing
from datasets.vector_listing import VectorListing


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
        return kept_listing(self._sha256, self.label, self.options, self._read_whole)

    def _read_whole(self) -> VectorListing:
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
