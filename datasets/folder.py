"""A folder of class folders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from datasets.files import listed
from datasets.images import SUFFIXES
from datasets.interface import DataError
from datasets.listing import ListedImages, Listing, ordered_classes

PARTS = ("train", "test")


class Folder(ListedImages):
    """PATH/train/CLASS/... and PATH/test/CLASS/..., or PATH/CLASS/... and a stratified 80/20 split by the split seed.

    Images may lie deeper below their class folder. Other files and hidden ones are passed over.
    """

    name = "folder"
    summary = "your own images in class folders, with train/ and test/ or a seeded split"
    source = "yours"
    argument = "PATH"

    @property
    def label(self) -> str:
        return f"folder:{Path(self.argument_value or '.').name}"

    def read(self) -> Listing:
        root = Path(self.argument_value or ".").expanduser()
        if not root.is_dir():
            wrong = "is a file, not a folder" if root.exists() else "isn't there"
            raise DataError(f"{root} {wrong}. Type --dataset folder:PATH with a folder of class folders.")
        present = [part for part in PARTS if (root / part).is_dir()]
        if len(present) == 1:
            other = "test" if present == ["train"] else "train"
            raise DataError(
                f"{root} has {present[0]}/ but no {other}/. Add it, or type --dataset folder:{root / present[0]} for a "
                "seeded split."
            )
        tops = [root / part for part in present] or [root]
        found = [(top, name, path) for top in tops for name, path in _images(top)]
        if not found:
            kinds = ", ".join(sorted(SUFFIXES))
            raise DataError(f"{root} has no class folders with images ({kinds}). Each class needs a folder of its own.")
        classes = ordered_classes([name for _, name, _ in found])
        numbers = {name: number for number, name in enumerate(classes)}
        relative = [path[len(str(root)) + 1 :].replace(os.sep, "/") for _, _, path in found]
        empty = [str(top / name) for top in tops for name in _class_folders(top) if name not in numbers]
        if empty:
            raise DataError(f"{len(empty)} class folders hold no images. Remove them or fill them:\n{listed(empty)}")
        return Listing(
            paths=[path for _, _, path in found],
            written=relative,
            lines=None,
            rows="\n".join(relative),
            classes=classes,
            labels=np.array([numbers[name] for _, name, _ in found], dtype=np.int64),
            test=np.array([top.name == "test" for top, _, _ in found]) if present else None,
        )


def _class_folders(top: Path) -> list[str]:
    return sorted(entry.name for entry in top.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images(top: Path) -> list[tuple[str, str]]:
    """Class and path of each image below `top`, sorted, whatever order the file system has."""
    found = []
    for name in _class_folders(top):
        for folder, folders, files in os.walk(top / name, followlinks=True):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            found += [
                (name, os.path.join(folder, file))  # noqa: PTH118 -- as fast as it gets, for many files
                for file in sorted(files)
                if not file.startswith(".") and os.path.splitext(file)[1].lower() in SUFFIXES  # noqa: PTH122
            ]
    return found
