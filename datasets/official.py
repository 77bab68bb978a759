"""Published sets of image files as their makers give them out: what is declared without data, and where it is found."""

from __future__ import annotations

import hashlib
import inspect
import re
import textwrap
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.data_report import DataReport
from datasets.files import listed
from datasets.interface import UNSEEN, Data, DataError, Description, Labels, Options, Part, Verification
from datasets.listing import ListedImages, Listing
from datasets.selected import Selected, select
from datasets.streaming import Heads

SHOWN = 8
"""Names of a folder's content that an error shows."""


@dataclass(frozen=True)
class ImagePart:
    """Images of one part: `paths` (n) below `folder`, as the set's own lists write them, and labels (n,).

    `without` is a beginning of paths that this copy's folders lack. It changes no content hash.
    """

    folder: Path
    paths: Sequence[str]
    labels: Labels
    without: str = ""

    @property
    def files(self) -> list[str]:
        """Where the images lie (n)."""
        start, without = f"{self.folder}/", self.without
        if not without:
            return [start + path for path in self.paths]
        return [start + path.removeprefix(without) for path in self.paths]


@dataclass(frozen=True)
class SecondTest:
    """Test images of another source, for a second accuracy at the last epoch; rows are ranked by the set's own."""

    name: str
    part: Part


class OfficialImages(ListedImages):
    """Base of them: `read` lists what a copy holds, `describe` declares what everybody knows, without any data.

    The copy is the first folder with one of `marks` in it: `options.root`, or a folder in it that is called like the
    set (case, hyphens and blanks don't matter). `folders` are other names of such a folder. Images are brought to
    `usual_size` unless another size is typed. A copy with other counts than the published ones loads, with a note.
    `access` says where it is asked for, in a phrase.
    """

    marks: ClassVar[tuple[str, ...]]
    folders: ClassVar[tuple[str, ...]] = ()
    usual_size: ClassVar[int]
    second_test: ClassVar[str] = ""
    """What the second test set is called, where `read` lists one."""

    def __init__(
        self, options: Options, argument: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> None:
        sized = options if options.image_size is not None else replace(options, image_size=self.usual_size)
        super().__init__(sized, argument, parameters)

    @abstractmethod
    def describe(self) -> Description:
        """What is known of the set. Its sizes are the published ones, also where a copy has others."""

    @property
    def label(self) -> str:
        return self.recorded_call()

    @property
    def _heads(self) -> Heads:
        size = self.options.image_size or self.usual_size
        return Heads((size, size, 3), [])  # known without a look at a million files

    def report(self) -> DataReport | None:
        return None if self.home is None else super().report()

    @cached_property
    def home(self) -> Path | None:
        """The folder of the copy; None where there is none."""
        return next((place for place in self._places() if any((place / mark).exists() for mark in self.marks)), None)

    def find_home(self) -> Path:
        """The folder of the copy. Raises DataError with where it is had, what it looks like and what was found."""
        if self.home is not None:
            return self.home
        places = self._places()
        found = [f"{place}: {_content_of(place)}" for place in places if place.is_dir()] or [f"{places[0]} isn't there"]
        layout = textwrap.indent(inspect.cleandoc(self.layout), "  ")
        raise DataError(
            f"{self.name} isn't here, and --download doesn't fetch it: {self.access} ({self.homepage}). Then type "
            f"--data-root DATA_ROOT. It must look like this:\n{layout}\nWhat was found:\n{listed(found)}"
        )

    def load(self, split_seed: int) -> Data:
        data = super().load(split_seed)
        if data.train.images.shape[3] != self._shape[2]:
            raise DataError(f"All images of this copy of {self.name} are grey. Get it again from its makers.")
        listing = self._listing
        if listing.second is None:
            return data
        index, images = np.flatnonzero(listing.second), data.train.images
        part = Part(select(images.source if isinstance(images, Selected) else images, index), listing.labels[index])
        return replace(data, second_test=SecondTest(self.second_test, part))

    def _split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        train, test = super()._split(seed)
        second = self._listing.second
        return train, test if second is None else test[~second[test]]

    def _places(self) -> list[Path]:
        """Where a copy may lie, the likeliest first."""
        root = self.options.root if self.options.root is not None else Path("data")
        names = {_letters(name) for name in (self.name, *self.folders)}
        inside = sorted(root.iterdir()) if root.is_dir() else []
        return [root, *(place for place in inside if _letters(place.name) in names and place.is_dir())]

    def join_parts(
        self,
        train: Sequence[ImagePart],
        test: ImagePart,
        classes: tuple[str, ...],
        notes: Sequence[str] = (),
        left_out: Mapping[str, int] | None = None,
        verified: Verification | None = None,
        second: ImagePart | None = None,
    ) -> Listing:
        """The listing of a copy. The training images come first; `verified` is of them, in their order.

        `second` are the images of a second test set, if there is one.
        """
        parts, count = [*train, test, *([] if second is None else [second])], sum(len(part.labels) for part in train)
        written = list(chain.from_iterable(part.paths for part in parts))
        labels = np.concatenate([part.labels for part in parts])
        is_test = np.arange(len(labels)) >= count
        if verified is not None:
            unseen = np.full(len(labels) - count, UNSEEN, dtype=np.int8)
            verified = replace(verified, findings=np.concatenate([verified.findings, unseen]))
        roles = hashlib.sha256(labels.astype("<i8").tobytes() + is_test.tobytes())
        roles.update(b"" if verified is None else verified.findings.tobytes())
        return Listing(
            paths=list(chain.from_iterable(part.files for part in parts)),
            written=written,
            lines=None,
            rows="\n".join(written) + f"\x1d{roles.hexdigest()}",
            classes=classes,
            labels=labels,
            test=is_test,
            left_out=left_out or {},
            notes=(*self._count_notes(count, len(test.labels)), *notes),
            verified=verified,
            second=None if second is None else np.arange(len(labels)) >= count + len(test.labels),
        )

    def _count_notes(self, train: int, test: int) -> list[str]:
        described, found = self.describe(), {"training": train, "test": test}
        published = {"training": described.train_size, "test": described.test_size}
        other = [part for part, count in published.items() if count is not None and count != found[part]]
        if not other:
            return []
        here = " and ".join(f"{found[part]:,} {part} images" for part in other)
        there = " and ".join(f"{published[part]:,}" for part in other)
        return [f"this copy of {self.label} has {here}, the published one has {there}"]


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _content_of(folder: Path) -> str:
    """What lies in a folder, in a line."""
    names = sorted(f"{each.name}/" if each.is_dir() else each.name for each in folder.iterdir())
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "nothing"
