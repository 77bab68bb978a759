"""Whether a copy of a data set is whole: its files, counts, checksums, labels, and every image decoded."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from datasets.files import in_order, states
from datasets.images import DECODED_AT_ONCE, Chunk, decode_chunk
from datasets.interface import Data, DataError, DataSet, Description, Labels

if TYPE_CHECKING:
    from datasets.listing import ListedImages, Listing

CHECKING = "checking images"
SIZES_NAMED = 3


@dataclass
class CopyCheck:
    """What was found in a copy: facts by name, what is wrong with it, and what isn't wrong but worth knowing."""

    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, name: str, found: int, expected: int | None) -> None:
        """A fact that is a count, and a problem where another one is expected."""
        self.facts[name] = f"{found:,}" if expected is None or found == expected else f"{found:,} of {expected:,}"
        if expected is not None and found != expected:
            self.problems.append(f"{found:,} {name} where there should be {expected:,}")


def check_copy(data_set: DataSet, check: Callable[[CopyCheck], None]) -> CopyCheck:
    """The known files of a copy, and whatever `check` looks at. A DataError becomes a problem as well."""
    found = CopyCheck()
    steps: tuple[Callable[[CopyCheck], None], ...] = (partial(_check_known_files, data_set), check)
    for step in steps:
        try:
            step(found)
        except DataError as error:
            if str(error) not in found.problems:
                found.problems.append(str(error))
    return found


def check_loaded(data_set: DataSet, found: CopyCheck) -> None:
    """Load a data set, and compare it with its description. For one that comes as arrays."""
    described = data_set.describe()
    data_set.options.progress(CHECKING, 0, 1)
    data = data_set.load(0)
    found.count("training images", len(data.train), described.train_size)
    found.count("test images", len(data.test), described.test_size)
    shape = tuple(data.train.images.shape[1:])
    if len(shape) == 2:
        views = "" if shape[0] == 1 else f", {shape[0]} views of each training vector"
        found.facts["vectors"] = f"{shape[1]:,} numbers{views}"
    else:
        found.facts["image shape"] = " x ".join(map(str, shape)) + " (height, width, channels)"
    if described.image_shape is not None and shape != described.image_shape:
        found.problems.append(f"the images' shape is {shape} where it should be {described.image_shape}")
    _check_labels(data, found)
    data_set.options.progress(CHECKING, 1, 1)


def check_listed(data_set: ListedImages, found: CopyCheck) -> None:
    """Check the list of a copy's images, then decode each of them; all that is wrong is found in one go."""
    listing = data_set.read()
    found.notes += listing.notes
    found.facts["classes"] = f"{len(listing.classes)}"
    # of a user's own data, the list is all that is known
    _check_counts(listing, data_set.describe() if data_set.argument is None else None, found)
    sizes = np.bincount(listing.labels, minlength=len(listing.classes))
    found.facts["images of a class"] = f"{sizes.min():,} to {sizes.max():,}"
    _check_images(data_set, listing, found)


def _check_counts(listing: Listing, described: Description | None, found: CopyCheck) -> None:
    expected = (None, None) if described is None else (described.train_size, described.test_size)
    if listing.test is None:
        found.count("images", len(listing.labels), None if None in expected else sum(filter(None, expected)))
        return
    tests, second = int(listing.test.sum()), 0 if listing.second is None else int(listing.second.sum())
    found.count("training images", len(listing.labels) - tests, expected[0])
    found.count("test images", tests - second, expected[1])
    if second:
        found.facts["images of a second test set"] = f"{second:,}"


def _check_images(data_set: ListedImages, listing: Listing, found: CopyCheck) -> None:
    _, missing = states(listing.paths)
    gone = frozenset(missing)
    found.problems += [f"{listing.name(number)}: it isn't there, or isn't a file" for number in missing]
    there = [number for number in range(len(listing.paths)) if number not in gone]
    starts = range(0, len(there), DECODED_AT_ONCE)
    stretches = [there[start : start + DECODED_AT_ONCE] for start in starts]
    chunks = [Chunk([listing.paths[number] for number in stretch], 0, None, None) for stretch in stretches]
    sizes: Counter[tuple[int, int]] = Counter()
    done = wrong = 0
    for stretch, result in zip(stretches, in_order(decode_chunk, chunks), strict=True):
        for place, reason in result.unreadable:
            found.problems.append(f"{listing.name(stretch[place])}: {reason}")
        wrong += len(result.unreadable)
        sizes.update(size for _, size in result.sizes)
        other = [(place, size) for place, size in result.sizes if data_set.file_size not in (None, size)]
        found.problems += [f"{listing.name(stretch[place])}: it is {_side(size)}" for place, size in other]
        done += len(stretch)
        data_set.options.progress(CHECKING, done, len(there))
    right = len(there) - wrong
    of_all = f" of {len(listing.paths):,}" if right < len(listing.paths) else ""
    found.facts["images that decode"] = f"{right:,}{of_all}"
    often = [f"{_side(size)} ({count:,})" for size, count in sizes.most_common(SIZES_NAMED)]
    more = f" and {len(sizes) - SIZES_NAMED:,} more" if len(sizes) > SIZES_NAMED else ""
    found.facts["sizes"] = ", ".join(often) + more


def _side(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"


def _check_labels(data: Data, found: CopyCheck) -> None:
    """Check that labels are ids of classes, that every class has training images, and that columns are as long."""
    classes = len(data.description.classes)
    found.facts["classes"] = f"{classes}"
    for name, labels in (("training", data.train.labels), ("test", data.test.labels)):
        outside = np.flatnonzero((labels < 0) | (labels >= classes))
        if len(outside):
            first = int(outside[0])
            found.problems.append(
                f"{len(outside):,} {name} labels are no class of {classes} (first: {labels[first]}, of image {first})"
            )
    unseen = np.flatnonzero(_histogram(data.train.labels, classes) == 0)
    if len(unseen):
        first_name = data.description.classes[int(unseen[0])]
        found.problems.append(f"{len(unseen):,} classes have no training image (first: {first_name})")
    for name, labels in data.columns.items():
        if len(labels) != len(data.train) or (labels >= classes).any():
            found.problems.append(f"the column {name} holds no label of {classes} classes for each training image")


def _histogram(labels: Labels, classes: int) -> NDArray[np.int64]:
    return np.bincount(labels[(labels >= 0) & (labels < classes)], minlength=classes)


def _check_known_files(data_set: DataSet, found: CopyCheck) -> None:
    known = data_set.known_files()
    if not known:
        return
    root, right, told = data_set.options.root, 0, 0
    for done, (path, expected) in enumerate(known.items()):
        data_set.options.progress("checking files", done, len(known))
        if root is not None and not path.resolve().is_relative_to(root.resolve()):
            found.problems.append(f"{path}: this is what was found, and it doesn't lie below {root}")
        if not path.is_file():
            found.problems.append(f"{path}: it isn't there, or isn't a file")
        elif expected:
            told += 1
            right += (same := checksum(path, expected.partition(":")[0]) == expected)
            if not same:
                found.problems.append(f"{path}: its checksum is another one than that of its makers' file")
    data_set.options.progress("checking files", len(known), len(known))
    if told:
        found.facts["files with their makers' checksum"] = f"{right} of {told}"
    if told < len(known):
        found.facts["files whose checksum nobody states"] = f"{len(known) - told}"


def checksum(path: Path, kind: str) -> str:
    """The checksum of a file's bytes as `known_files` writes it: "md5:..." or "sha256:..."."""
    with path.open("rb") as stream:
        return f"{kind}:{hashlib.file_digest(stream, kind).hexdigest()}"


def in_words(data_set: DataSet, found: CopyCheck) -> str:
    """The sentence that a check ends with, and where to get what is missing."""
    count, name = len(found.problems), data_set.recorded_call()
    if not count:
        return f"{name}: nothing is wrong with this copy"
    said = f"{name}: {count:,} {'problem' if count == 1 else 'problems'} in this copy."
    return f"{said} Get what is named again: {data_set.homepage}" if data_set.homepage else f"{said} Mend what is named"


def as_json(found: CopyCheck) -> Mapping[str, object]:
    """All that was found, as plain JSON values."""
    return {"whole": not found.problems, "facts": found.facts, "problems": found.problems, "notes": found.notes}
