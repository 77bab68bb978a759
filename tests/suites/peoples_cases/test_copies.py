"""Test images that are training images too: counted, and said before and beside the board."""

from __future__ import annotations

import hashlib
import shutil
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datasets.copies import Copies, find_copies

CLASSES = ("cat", "cow", "dog", "hen")
IMAGES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.booleans()), min_size=1, max_size=20)


@given(IMAGES)
def test_copies_are_counted_as_one_would_by_hand(images: list[tuple[int, int, bool]]) -> None:
    digests = b"".join(hashlib.sha256(bytes([content])).digest() for content, _, _ in images)
    labels, test = np.array([image[1] for image in images]), np.array([image[2] for image in images])
    trained = [image for image in images if not image[2]]
    copies = [image for image in images if image[2] and image[0] in {other[0] for other in trained}]
    relabelled = [image for image in copies if image[:2] not in {other[:2] for other in trained}]
    found = find_copies(digests, labels, test)
    assert (found.count, found.relabelled) == (len(copies), len(relabelled))
    if copies:
        assert images[found.first] == copies[0] and images[found.original][0] == copies[0][0]
    seeded = find_copies(digests, labels, None)
    assert seeded.count == len(images) - len({image[0] for image in images})


def test_no_copies() -> None:
    assert find_copies(bytes(32) + b"\1" * 32, np.array([0, 1]), None) == Copies()


def test_copies_across_the_parts_of_a_table(own: Any) -> None:
    rows = [(path, CLASSES[kind], "train") for path, kind, _ in own.pictures(6)]
    for number in range(6):
        shutil.copy(rows[number * 4][0], f"im/copy{number}.png")
        rows.append((f"im/copy{number}.png", CLASSES[number % 4], "test"))
    own.table("index.csv", ("path", "label", "split"), rows)
    shown = own.typed("show dataset table:index.csv --format json")
    same = sum(rows[number * 4][1] == CLASSES[number % 4] for number in range(6))
    (note,) = shown.notes
    assert note.startswith(f"6 test images are copies of training images, {6 - same} of them under another label")
    assert "(first: im/copy0.png, of im/0-00.png)" in note
    assert shown.json["report"]["left_out"] == {"test images that are copies of training images": 6}
    again = own.typed("show dataset table:index.csv --format json")
    assert again.notes == shown.notes, "remembered beside the hash"


def test_copies_that_a_seed_may_split(own: Any) -> None:
    own.class_folders("pets", 4)
    shutil.copy("pets/cat/00.png", "pets/dog/again.png")
    (note,) = own.typed("show dataset folder:pets").notes
    assert note.startswith("1 image is a copy of another, under another label (first: dog/again.png, of cat/00")


def test_copies_within_a_part_are_no_matter(own: Any) -> None:
    own.class_folders("pets/train", 4)
    own.class_folders("pets/test", 2, first=20)
    shutil.copy("pets/train/cat/00.png", "pets/train/cat/again.png")
    assert own.typed("show dataset folder:pets").notes == []
