"""A folder of class folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from datasets.classes import ordered_classes
from datasets.data_report import alike_note, count_of
from datasets.files import known_as, listed
from datasets.folder_walk import FolderWalk, folder_names, holds_images, images_beside
from datasets.image_file import SUFFIXES
from datasets.interface import DataError
from datasets.listing import ListedImages, Listing
from datasets.parts import PartName, PartPlan, assign_parts, has_part_word, part_of

IN_ORDER: tuple[PartName, ...] = ("train", "test", "validation")
EXACT: Mapping[PartName, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "validation": ("val", "validation"),
}
"""The names that win where several folders name one part."""


class Folder(ListedImages):
    """PATH/train/CLASS/... and PATH/test/CLASS/..., or PATH/CLASS/... and a stratified 80/20 split by the split seed.

    Parts may have any usual name: training, val, testing, and so on. Images may lie deeper below their class folder.
    Files with other endings, and images beside class folders, are passed over and counted; hidden files aren't counted.
    Links are followed, but for those that lead to a folder above them.
    """

    name = "folder"
    summary = "your own images in class folders, with train/ and test/ or a seeded split"
    source = "yours"
    argument = "PATH"
    access = "yours"
    layout = """
        PATH/train/CLASS/IMAGE                 (or PATH/CLASS/IMAGE, and a split by the split seed)
        PATH/test/CLASS/IMAGE                  (other usual names of parts: see data.md)
        """

    @property
    def label(self) -> str:
        return f"folder:{Path(self.argument_value or '.').name}"

    def read(self) -> Listing:
        root = Path(self.argument_value or ".").expanduser()
        if not root.is_dir():
            wrong = "is a file, not a folder" if root.exists() else "isn't there"
            raise DataError(f"{root} {wrong}. Type --dataset folder:PATH with a folder of class folders.")
        try:
            parts = part_folders(root)
            walks = {name: FolderWalk(root, root / name) for name in parts or [""]}
        except PermissionError as error:
            raise DataError(f"{error.filename} can't be read: {error.strerror}.") from error
        names = [name for walk in walks.values() for name in walk.classes]
        paths = [path for walk in walks.values() for path in walk.paths]
        if not paths:
            raise DataError(_no_images(root, list(walks.values())))
        _refuse_unreadable_folders([path for walk in walks.values() for path in walk.unreadable])
        relative = [path[len(str(root)) + 1 :].replace(os.sep, "/") for path in paths]
        _refuse_unwritable_classes(names)
        plan = PartPlan()
        if parts:
            kinds = [part for name, part in parts.items() for _ in walks[name].paths]
            said = {name for name, part in parts.items() if part != "validation"}
            marker = "" if said == {"train", "test"} else " ".join(f"{name}={part}" for name, part in parts.items())
            plan = assign_parts(kinds, relative, marker)
        if plan.kept is not None:
            kept = plan.kept.tolist()
            names, paths, relative = (list(compress(each, kept)) for each in (names, paths, relative))
        classes = ordered_classes(names)
        numbers = {name: number for number, name in enumerate(classes)}
        used = [walk for name, walk in walks.items() if plan.kept is None or parts[name] != "validation"]
        _refuse_empty_classes(used, numbers.keys())
        if len(classes) == 1:
            _refuse_outer_folder(root, used)
        left_out, notes = _passed_over(root, parts, used)
        rows = "\n".join(relative)
        return Listing(
            paths=paths,
            written=[known_as(path) for path in relative],
            lines=None,
            rows=f"{rows}\x1dparts by {plan.marker}" if plan.marker else rows,
            classes=classes,
            labels=np.array([numbers[name] for name in names], dtype=np.int64),
            test=plan.test,
            left_out={**plan.left_out, **left_out},
            notes=(*plan.notes, *notes, *alike_note(classes)),
        )


def part_folders(root: Path) -> dict[str, PartName]:
    """The folders of `root` that are parts, training first; none where all of them are classes.

    Raises DataError where a training or a test part is missing, where two folders are one part, or where names only
    look like those of parts.
    """
    names = folder_names(root)
    named = {name: part for name in names if (part := part_of(name))}
    if not named:
        alike = [name for name in names if has_part_word(name) and not holds_images(root / name)]
        if len(alike) > 1:
            raise DataError(
                f"{', '.join(alike)} in {root} look like parts of a data set, not like classes. Rename them to train, "
                "val and test."
            )
        return {}
    kinds = set(named.values())
    if "train" not in kinds or len(kinds) == 1:
        if len(named) < len(names) and all(holds_images(root / name) for name in named):
            return {}  # a class that is called train
        raise DataError(_missing_part(root, named))
    folders: dict[str, PartName] = {}
    for part in IN_ORDER:
        same = [name for name, each in named.items() if each == part]
        chosen = [name for name in EXACT[part] if name in same] or same
        if len(chosen) > 1:
            raise DataError(
                f"{' and '.join(f'{name}/' for name in chosen)} in {root} are both the {part} part by their names. Put "
                "them together, or rename one."
            )
        folders |= dict.fromkeys(chosen, part)
    return folders


def _missing_part(root: Path, named: Mapping[str, PartName]) -> str:
    first = next(iter(named))
    if "train" in named.values():
        return (
            f"{root} has {first}/ but no test/. Add it (or val/), or type --dataset folder:{root / first} for a seeded "
            "split."
        )
    return (
        f"{root} has {' and '.join(f'{name}/' for name in named)} but no train/. Add it, or type --dataset "
        f"folder:{root / first} for a seeded split."
    )


def _no_images(root: Path, walks: Sequence[FolderWalk]) -> str:
    kinds = ", ".join(sorted(SUFFIXES))
    beside = [walk.relative(path) for walk in walks for path in walk.beside]
    if beside:
        return (
            f"{root} has no class folders with images, but "
            f"{count_of(beside, 'image in no class folder', 'images in no class folder')}. Each class needs a folder "
            "of its own; where a table holds the labels, type --dataset table:FILE.csv."
        )
    others = [walk.relative(path) for walk in walks for path in walk.others]
    seen = f" {count_of(others, 'file has another ending', 'files have other endings')}." if others else ""
    return f"{root} has no class folders with images ({kinds}). Each class needs a folder of its own.{seen}"


def _refuse_unreadable_folders(folders: Sequence[str]) -> None:
    """Raise DataError for folders whose files nobody can list: what lies in them would be missing without a word."""
    if folders:
        raise DataError(f"{len(folders)} folders can't be read. Check their permissions:\n{listed(folders)}")


def _refuse_unwritable_classes(names: Collection[str]) -> None:
    """Raise DataError for class folders whose names no record can hold."""
    strange = sorted(name for name in set(names) if known_as(name) != name)
    if strange:
        raise DataError(
            f"{len(strange)} class folders have names that aren't UTF-8, which records and boards are written in. "
            f"Rename them:\n{listed([known_as(name) for name in strange])}"
        )


def _refuse_empty_classes(walks: Sequence[FolderWalk], classes: Collection[str]) -> None:
    """Raise DataError for class folders that give no image to any part."""
    empty = [(walk, name) for walk in walks for name in walk.class_folders if name not in classes]
    if empty:
        named = []
        for walk, name in empty:
            other = next((path for path in walk.others if path.startswith(f"{walk.top / name}{os.sep}")), None)
            named.append(f"{walk.top / name}" + ("" if other is None else f" (other endings: {walk.relative(other)})"))
        raise DataError(f"{len(empty)} class folders hold no images. Remove them or fill them:\n{listed(named)}")


def _refuse_outer_folder(root: Path, walks: Sequence[FolderWalk]) -> None:
    """Raise DataError where the one class folder of each part holds folders: most likely those are the classes."""
    if not all(any(walk.inner.values()) for walk in walks):
        return
    outer = walks[0].class_folders[0]
    way_out = (
        f"type --dataset folder:{root / outer}"
        if walks[0].top == root
        else f"move them up, from {walks[0].top / outer} into {walks[0].top}, and so on"
    )
    raise DataError(
        f"All images of {root} lie in one folder, {outer}: at least two classes are needed. If the folders in it are "
        f"the classes or the parts, {way_out}."
    )


def _passed_over(
    root: Path, parts: Mapping[str, PartName], walks: Sequence[FolderWalk]
) -> tuple[dict[str, int], list[str]]:
    """Counts of what takes no part, and sentences on that and on what was guessed."""
    left_out, notes = {}, []
    others = [walk.relative(path) for walk in walks for path in walk.others]
    if others:
        left_out["files with other endings"] = len(others)
        one = "file of a class folder has no ending of an image that can be opened, and is passed over"
        many = "files of class folders have no endings of images that can be opened, and are passed over"
        notes.append(count_of(others, one, many))
    beside = [walk.relative(path) for walk in walks for path in walk.beside]
    if beside:
        left_out["images beside class folders"] = len(beside)
        one, many = "image lies in no class folder, and is passed", "images lie in no class folder, and are passed"
        notes.append(count_of(beside, f"{one} over", f"{many} over"))
    circles = [walk.relative(path) for walk in walks for path in walk.circles]
    if circles:
        left_out["links without an end"] = len(circles)
        one, many = "link leads to a folder above it or nowhere", "links lead to folders above them or nowhere"
        notes.append(count_of(circles, f"{one}, and is passed over", f"{many}, and are passed over"))
    extra = images_beside(root, parts) if parts else []
    if extra:
        left_out["images beside the parts"] = len(extra)
        one, many = (
            "image lies beside the parts, and is passed over",
            "images lie beside the parts, and are passed over",
        )
        notes.append(count_of(extra, one, many))
    if not parts:
        notes += _doubtful_classes(walks[0])
    return left_out, notes


def _doubtful_classes(walk: FolderWalk) -> list[str]:
    """Sentences on class folders that may be something else."""
    notes = []
    named = [name for name in walk.class_folders if part_of(name)]
    if named:
        one, many = "folder is called like a part, and is taken", "folders are called like parts, and are taken"
        notes.append(count_of(named, f"{one} as a class", f"{many} as classes"))
    often = Counter(name for names in walk.inner.values() for name in names)
    shared = sorted(name for name, count in often.items() if count > 1)
    if len(shared) > 1 and len(walk.inner) == len(walk.class_folders):
        notes.append(
            f"the {len(walk.class_folders)} folders that are taken as classes (first: {walk.class_folders[0]}) hold "
            f"folders, {len(shared)} of them by names that come again (first: {shared[0]}). If the inner ones are the "
            "classes, put the outer ones together, or rename them to train, val and test"
        )
    return notes
