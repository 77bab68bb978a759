"""A user's own image files: what is listed of them, and the data set that comes of a list."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.arrays import channel_statistics, check_size, statistics
from datasets.classes import check_classes
from datasets.copies import Copies, find_copies
from datasets.data_report import COPIES, COPIES_IN_TEST, UNREADABLE, DataReport, count_by_class, count_of
from datasets.files import digests, known_as, listed, path_bytes, remembered, states
from datasets.images import DECODER, decoded, drop_damaged
from datasets.interface import (
    Data,
    DataError,
    DataSet,
    Description,
    Images,
    Labels,
    Options,
    Outline,
    Part,
    Verification,
)
from datasets.protocols import protocol
from datasets.samples import Pixels
from datasets.selected import select
from datasets.splits import TEST_SHARE, stratified
from datasets.streaming import Heads, ImageFiles, Sums, outline, streamed
from datasets.unreadable import find_unreadable, without

if TYPE_CHECKING:
    from datasets.copy_check import CopyCheck


@dataclass(frozen=True)
class Listing:
    """The images of a data set, in order.

    `paths` (N) are the files, `written` (N) as the user knows them, `lines` (N) where the user wrote them, `rows` the
    text that goes into the content hash, `labels` (N,) ids into `classes`, `test` (N,) whether each is a test image
    (None: a seeded split decides), `columns` further labels (N,), -1 where a test row has none. `verified` is what
    people found of the labels, over all N images; `second` (N,) says which test images are of a second test set.

    What the user should know of the list goes into `unused_columns`, `left_out` and `notes`, which become those of
    `DataReport`.
    """

    paths: Sequence[str]
    written: Sequence[str]
    lines: Sequence[int] | None
    rows: str
    classes: tuple[str, ...]
    labels: Labels
    test: NDArray[np.bool_] | None
    columns: Mapping[str, Labels] = field(default_factory=dict)
    unused_columns: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    verified: Verification | None = None
    second: NDArray[np.bool_] | None = None

    def name(self, number: int) -> str:
        """What to call the image at a position in an error."""
        return self.written[number] if self.lines is None else f"line {self.lines[number]}: {self.written[number]}"


class ListedImages(DataSet):
    """Base of the data sets that a user lists: `read` says what there is, everything else follows.

    Nothing but the images tells their size, so `describe` looks at the beginning of each file, once. `load` decodes
    them once, into a cache that later ones open; with `options.stream` it only goes through them, and each is decoded
    whenever it is asked for.
    """

    file_size: ClassVar[tuple[int, int] | None] = None
    """Height and width of every file, where the maker says so."""

    def __init__(
        self, options: Options, argument: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(options, argument, parameters)
        check_size(options.image_size)

    @abstractmethod
    def read(self) -> Listing:
        """What the folder or the table lists. Raises DataError naming all that is wrong with it."""

    def explain_missing(self, paths: Sequence[str]) -> str:
        """What to do about image files that don't exist, in a sentence or two; empty where the paths say all."""
        return ""

    @property
    @abstractmethod
    def label(self) -> str:
        """The data set's name in records and boards, without folders."""

    def describe(self) -> Description:
        listing, shape = self._listing, self._shape
        train, test = self._split(0)
        return Description(
            name=self.label,
            classes=listing.classes,
            image_shape=shape,
            train_size=len(train),
            test_size=len(test),
            protocol=protocol(shape, len(listing.classes)),
            columns=tuple(listing.columns),
            unused_columns=tuple(listing.unused_columns.items()),
            seeded_split=listing.test is None,
            clean_labels=False,
            licence="the owner's",
        )

    def content_hash(self) -> str:
        return self._content[0]

    def outline(self, split_seed: int) -> Outline:
        listing = self._listing
        train, test = self._split(split_seed)
        columns = {name: values[train] for name, values in listing.columns.items()}
        return Outline(listing.labels[train], len(test), self._shape, columns)

    def paths(self, split_seed: int) -> Sequence[str] | None:
        return [self._listing.written[number] for number in self._split(split_seed)[0]]

    def report(self) -> DataReport | None:
        listing, copies = self._listing, self._content[1]
        parts = dict(zip(("train", "test"), self._split(0), strict=True))
        left_out, notes = dict(listing.left_out), listing.notes
        if copies.count:
            left_out[COPIES if listing.test is None else COPIES_IN_TEST] = copies.count
            names = listing.written[copies.first], listing.written[copies.original]
            notes = (*notes, copies.note(names, seeded=listing.test is None))
        images = {part: count_by_class(listing.labels[index], listing.classes) for part, index in parts.items()}
        several = [listing.written[number] for number in self._heads.several]
        if several:
            one, many = "file holds several frames or pages", "files hold several frames or pages"
            notes = (*notes, count_of(several, f"{one}: the first is taken", f"{many}: the first of each is taken"))
        untested = [name for name, count in images["test"].items() if count == 0]
        if untested and listing.test is not None:
            without_part = "and no part in the test accuracy"
            one, many = f"class has no test image, {without_part}", f"classes have no test images, {without_part}"
            notes = (*notes, count_of(untested, one, many))
        return DataReport(
            images=images,
            columns=tuple(listing.columns),
            unused_columns=dict(listing.unused_columns),
            left_out=left_out,
            notes=notes,
        )

    def check(self) -> CopyCheck:
        from datasets.copy_check import check_copy, check_listed

        return check_copy(self, lambda found: check_listed(self, found))

    def prepare(self) -> None:
        if not self.options.stream:
            drop_damaged(self._content[0], self.options)
        _ = self._streamed if self.options.stream else self._images

    def load(self, split_seed: int) -> Data:
        listing, description = self._listing, self.describe()
        train, test = self._split(split_seed)
        images: Pixels = self._streamed[0] if self.options.stream else self._images
        if description.mean is not None and description.std is not None:
            mean, std = description.mean, description.std
        elif self.options.stream:
            sums = self._streamed[1]
            mean, std = statistics(sums[train].sum(axis=0), len(train) * images.shape[1] * images.shape[2])
        else:
            mean, std = channel_statistics(self._images, train)
        return Data(
            description,
            Part(select(images, train), listing.labels[train]),
            Part(select(images, test), listing.labels[test]),
            mean,
            std,
            {name: values[train] for name, values in listing.columns.items()},
            self.report(),
            None if listing.verified is None else listing.verified.only(train),
        )

    @cached_property
    def _listing(self) -> Listing:
        if known_as(self.label) != self.label:
            raise DataError(
                f"{known_as(self.label)}: the name isn't UTF-8, which records and boards are written in. Rename it."
            )
        listing = self.read()
        check_classes(listing.classes, listing.labels, listing.test)
        if not self.options.skip_unreadable:
            return listing
        missing = states(listing.paths)[1]
        if len(missing) == len(listing.paths):
            return listing  # a wrong folder more likely than broken images
        bad = dict.fromkeys(missing, "it isn't there")
        rest = without(listing, bad)
        places = np.delete(np.arange(len(listing.paths)), missing)
        found = find_unreadable(rest.paths, self._content_of(rest, self._states_of(rest))[0], self.options)
        bad |= {int(places[number]): reason for number, reason in found.items()}
        listing = without(listing, dict(sorted(bad.items())))
        check_classes(listing.classes, listing.labels, listing.test)
        return listing

    @cached_property
    def _states(self) -> NDArray[np.int64]:
        """Size and time of change of each file, as they were when the content was hashed."""
        return self._states_of(self._listing)

    def _states_of(self, listing: Listing) -> NDArray[np.int64]:
        found, missing = states(listing.paths)
        if missing:
            gone = [listing.paths[number] for number in missing if not Path(listing.paths[number]).exists()]
            hint = self.explain_missing(gone) if gone else ""
            way_out = "" if len(missing) == len(listing.paths) else "To go on without them, type --skip-unreadable."
            advice = " ".join(filter(None, [hint, way_out]))
            raise DataError("\n".join(filter(None, [_say_what_is_missing(listing, missing), advice])))
        return found

    @cached_property
    def _content(self) -> tuple[str, Copies]:
        """The content hash, and the images that are copies of each other."""
        return self._content_of(self._listing, self._states)

    def _content_of(self, listing: Listing, known: NDArray[np.int64]) -> tuple[str, Copies]:
        rows = hashlib.sha256(path_bytes(listing.rows)).digest()
        roles = listing.labels.tobytes() + (b"" if listing.test is None else listing.test.tobytes())
        fingerprint = hashlib.sha256(rows + path_bytes("\n".join(listing.paths)) + known.tobytes() + roles).hexdigest()

        def look() -> str:
            found = digests(listing.paths, self.options.progress)
            copies = find_copies(found, listing.labels, listing.test)
            return json.dumps([hashlib.sha256(rows + found).hexdigest(), asdict(copies)])

        skipped = listing.left_out.get(UNREADABLE, 0)
        place = f"content\n{type(self).__name__}\n{self.argument_value}\n{listing.paths[0]}\n{bool(skipped)}"
        sha256, copies = json.loads(remembered(self.options, place, fingerprint, look))
        return sha256, Copies(**copies)

    @cached_property
    def _images(self) -> Images:
        listing = self._listing
        return decoded(listing.paths, listing.name, self._content[0], self.options)

    @cached_property
    def _streamed(self) -> tuple[ImageFiles, Sums]:
        listing = self._listing
        return streamed(listing.paths, listing.name, self._content[0], self.options, self._states)

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of all images; raises DataError naming what keeps them from having one."""
        return self._heads.shape

    @cached_property
    def _heads(self) -> Heads:
        what = f"heads\n{self._content[0]}\n{self.options.image_size}"
        shape, several = json.loads(remembered(self.options, what, f"{DECODER}", self._look))
        return Heads(tuple(shape), several)

    def _look(self) -> str:
        found = outline(self._listing.paths, self.options.image_size)
        if found is None:
            self.prepare()  # which names all that is wrong
            height, width, channels = self._streamed[0].shape[1:] if self.options.stream else self._images.shape[1:]
            found = Heads((height, width, channels), [])
        return json.dumps(found)

    def _split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        listing = self._listing
        if listing.test is not None:
            return np.flatnonzero(~listing.test), np.flatnonzero(listing.test)
        size = max(1, round(TEST_SHARE * len(listing.labels)))
        return stratified(listing.labels, len(listing.classes), size, seed)


def _say_what_is_missing(listing: Listing, missing: Sequence[int]) -> str:
    """The files at the positions `missing`: those that aren't there, and those that are something else than a file."""
    there = {number for number in missing if Path(listing.paths[number]).exists()}
    gone = [listing.name(number) for number in missing if number not in there]
    others = [listing.name(number) for number in missing if number in there]
    of_all = f"of {len(listing.paths)} image files"
    parts = [f"{len(gone)} {of_all} don't exist:\n{listed(gone)}"] if gone else []
    if others:
        parts.append(f"{len(others)} {of_all} aren't files, but folders, pipes or devices:\n{listed(others)}")
    return "\n".join(parts)
