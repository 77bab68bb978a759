"""What lies in class folders: their images, in one order on every file system, and all that is passed over."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from datasets.files import known_as
from datasets.image_file import SUFFIXES


@dataclass
class FolderWalk:
    """What lies in the class folders of `top`, sorted, whatever order the file system has.

    `paths` (N) are the images and `classes` (N) their classes; `others` are files with other endings, `beside` images
    in no class folder, `inner` the folders right below each class folder that has no image of its own, `circles` links
    to folders above them, which aren't followed, or to nothing, and `unreadable` folders that can't be listed.
    """

    root: Path
    top: Path
    paths: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    inner: dict[str, set[str]] = field(default_factory=dict)
    class_folders: list[str] = field(default_factory=list)
    circles: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        above = _folders_above(self.top) | {_identity(str(self.top))}
        names = folder_names(self.top)
        self.class_folders = [name for name in names if _identity(str(self.top / name)) not in above]
        self.circles = [str(self.top / name) for name in names if name not in self.class_folders]
        self.circles += _links_that_end_nowhere(self.top)
        self.beside = _images_right_in(self.top)
        for name in self.class_folders:
            before = len(self.paths)
            self._walk_class(name)
            self.classes += [name] * (len(self.paths) - before)

    def _walk_class(self, name: str) -> None:
        start = str(self.top / name)
        for folder, folders, files in walk_folders(start, self.circles, self.unreadable):
            shown = sorted(file for file in files if not file.startswith("."))
            images = [file for file in shown if os.path.splitext(file)[1].lower() in SUFFIXES]  # noqa: PTH122
            # joined as text: as fast as it gets, for many files
            self.paths += [os.path.join(folder, file) for file in images]  # noqa: PTH118
            if len(images) < len(shown):
                taken = set(images)
                self.others += [os.path.join(folder, file) for file in shown if file not in taken]  # noqa: PTH118
            if folder == start and not images:
                self.inner[name] = set(folders)

    def relative(self, path: str) -> str:
        """A path as the user knows it."""
        return known_as(path[len(str(self.root)) + 1 :].replace(os.sep, "/"))


def walk_folders(start: str, circles: list[str], unreadable: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """(folder, its folders, its files) from `start` downwards, folders sorted and without hidden ones.

    Links are followed, but for those that lead back to a folder above them, which would never end. They go into
    `circles`, and folders that can't be listed into `unreadable`.
    """
    above = {start: _folders_above(Path(start)) | {_identity(start)}}

    def note(error: OSError) -> None:
        unreadable.append(f"{known_as(str(error.filename))}: {error.strerror}")

    for folder, folders, files in os.walk(start, followlinks=True, onerror=note):
        outer, kept = above.pop(folder), []
        for name in sorted(each for each in folders if not each.startswith(".")):
            inner = os.path.join(folder, name)  # noqa: PTH118 -- as os.walk joins it
            identity = _identity(inner)
            if identity in outer:
                circles.append(inner)
            else:
                kept.append(name)
                above[inner] = outer | {identity}
        folders[:] = kept
        yield folder, kept, files


def _identity(folder: str) -> tuple[int, int] | str:
    """Device and number of a folder, by which it is known under any name; the name where nobody may look at it."""
    try:
        state = os.stat(folder)  # noqa: PTH116 -- text as everywhere here
    except OSError:
        return folder
    return state.st_dev, state.st_ino


def _folders_above(folder: Path) -> frozenset[tuple[int, int] | str]:
    """The identities of all folders that one lies in, where it really lies and by the way that was typed."""
    return frozenset(_identity(str(each)) for path in (folder.resolve(), folder.absolute()) for each in path.parents)


def folder_names(top: Path) -> list[str]:
    """The folders right below one, sorted, without hidden ones, and without links that end nowhere."""
    with os.scandir(top) as entries:
        # os.path, not the entry: this one fails at a link to itself
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and os.path.isdir(entry.path))  # noqa: PTH112


def _links_that_end_nowhere(top: Path) -> list[str]:
    """Links right below a folder, without an image's ending, that may have been class folders."""
    with os.scandir(top) as entries:
        links = [entry.path for entry in entries if entry.is_symlink() and not is_image(entry.name)]
    return sorted(link for link in links if not os.path.exists(link))  # noqa: PTH110


def is_image(name: str) -> bool:
    """Whether a file is taken for an image, by its name."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def holds_images(folder: Path) -> bool:
    """Whether images lie right in a folder."""
    return bool(_images_right_in(folder))


def _images_right_in(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if is_image(entry.name) and os.path.isfile(entry.path))  # noqa: PTH113


def images_beside(root: Path, parts: Collection[str]) -> list[str]:
    """The images below the folders of `root` that aren't among its parts, as the user knows them."""
    found = []
    for name in folder_names(root):
        if name not in parts:
            for folder, _, files in walk_folders(str(root / name), [], []):
                inner = folder[len(str(root)) + 1 :].replace(os.sep, "/")
                found += [known_as(f"{inner}/{file}") for file in sorted(files) if is_image(file)]
    return found
