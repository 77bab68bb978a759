"""Image files that are decoded when they are asked for: what doesn't fit into memory, or not decoded onto the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from datasets.files import cache_folder, in_order, replacing, states
from datasets.image_file import Head, decode, reason_of, scan
from datasets.images import DECODER, Found, go_through
from datasets.interface import DataError, Images, Options

SCANNED_AT_ONCE = 512

Sums = NDArray[np.uint64]


class ImageFiles:
    """Images uint8 (N, H, W, C) of files: indexing decodes those that are asked for, one after the other.

    `shape` is what every file must come out as, `size` the `--image-size` they are brought to, if any, `known` (N, 2)
    the files' `states` when they were gone through (None: not compared). Indexing raises
    DataError naming a file that can't be read, or that is no longer what it was when the data was gone through.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        paths: Sequence[str],
        shape: tuple[int, int, int],
        size: int | None,
        known: NDArray[np.int64] | None = None,
    ) -> None:
        self.shape = (len(paths), *shape)
        self._size = size
        self._known = known
        # one block of bytes: a million strings would be copied into every process that a reading one forks
        encoded = [os.fsencode(path) for path in paths]
        self._text = b"".join(encoded)
        self._ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)

    def __len__(self) -> int:
        return self.shape[0]

    def path(self, number: int) -> str:
        """The file of an image."""
        start = int(self._ends[number - 1]) if number else 0
        return os.fsdecode(self._text[start : int(self._ends[number])])

    def __getitem__(self, index: NDArray[np.int64], /) -> Images:
        wanted = np.arange(len(self))[index]
        if wanted.ndim == 0:
            return self._read(int(wanted))
        found = np.empty((len(wanted), *self.shape[1:]), dtype=np.uint8)
        for place, number in enumerate(wanted.tolist()):
            found[place] = self._read(number)
        return found

    def _read(self, number: int) -> Images:
        """One image (H, W, C), or (H, W, 1) to be repeated."""
        path = self.path(number)
        if self._known is not None:
            (found,), missing = states([path])
            if not missing and not np.array_equal(found, self._known[number]):
                raise _changed(path)
        try:
            pixels, grey = decode(path, self._size)
        except Exception as error:  # decoders of broken files raise whatever they stumble over
            raise DataError(
                f"{path} can't be read: {reason_of(error, path)}. It could be when this data was first gone through: "
                "put it back, and run the same command again"
            ) from error
        if pixels.shape[:2] != self.shape[1:3] or (self.shape[3] == 1 and not grey):
            raise _changed(path)
        return pixels[..., :1] if self.shape[3] == 1 else pixels


def _changed(path: str) -> DataError:
    return DataError(
        f"{path} has changed since this data was gone through. Put it back, or run the same command again to train on "
        "what is there now"
    )


def streamed(
    paths: Sequence[str],
    name: Callable[[int], str],
    content: str,
    options: Options,
    known: NDArray[np.int64] | None = None,
) -> tuple[ImageFiles, Sums]:
    """The files as images, and each one's sums (N, 2, C) over its pixels: of values, and of their squares.

    The first call goes through all of them, a few at a time: so whatever can't be read is known before anything
    is trained, and normalisation is exact. The sums are kept in the cache folder, and later calls read no image.
    `known` (N, 2) are the files' `states` when their content was hashed: one that differs when it is read has changed.
    Arguments and errors are those of `datasets.images.decoded`.
    """
    target = cache_folder(options) / "sums" / f"{content[:40]}-{options.image_size or 'own'}-{DECODER}.npz"
    kept = _open(target, len(paths))
    if kept is None:
        kept = _gather(paths, name, options)
        with suppress(OSError), replacing(target) as stream:  # what can't be kept is gathered again next time
            np.savez(stream, sums=kept[0], size=np.array(kept[1]))
    sums, (height, width) = kept
    return ImageFiles(paths, (height, width, sums.shape[2]), options.image_size, known), sums


def _open(target: Path, count: int) -> tuple[Sums, tuple[int, int]] | None:
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), np.load(target) as kept:
        sums, (height, width) = kept["sums"], kept["size"].tolist()
        if sums.dtype == np.uint64 and sums.shape[:2] == (count, 2) and sums.shape[2] in (1, 3):
            return sums, (height, width)
    return None


def _gather(paths: Sequence[str], name: Callable[[int], str], options: Options) -> tuple[Sums, tuple[int, int]]:
    """Sums (N, 2, C) of each image, and their height and width."""
    sums = np.zeros((len(paths), 2, 3), dtype=np.uint64)

    def add(found: Found, start: int) -> None:
        values = found.images
        squares = np.multiply(values, values, dtype=np.uint16)
        for row, each in enumerate((values, squares)):
            sums[start : start + len(values), row] = each.sum(axis=(1, 2), dtype=np.uint64)

    shape, grey = go_through(paths, name, options, "looking at images", add)
    return (sums[:, :, :1] if grey else sums), shape


class Heads(NamedTuple):
    """What the heads of files say: the shape (H, W, C) that all have, and the positions of those of several frames."""

    shape: tuple[int, int, int]
    several: list[int]


def outline(paths: Sequence[str], size: int | None) -> Heads | None:
    """What the beginnings of the files say; None where one can't be read, or not all have one shape.

    Pixels are decoded only where nothing else tells the colours, in files with a palette.
    """
    starts = range(0, len(paths), SCANNED_AT_ONCE)
    shapes: set[tuple[int, int]] = set()
    grey, several = True, []
    chunks = [paths[start : start + SCANNED_AT_ONCE] for start in starts]
    for start, found in zip(starts, in_order(_scanned, chunks), strict=True):
        if found is None:
            return None
        shapes |= {head.size for head in found}
        grey &= all(head.grey for head in found)
        several += [start + number for number, head in enumerate(found) if head.several]
        if size is None and len(shapes) > 1:
            return None
    height, width = (size, size) if size is not None else shapes.pop()
    return Heads((height, width, 1 if grey else 3), several)


def _scanned(paths: Sequence[str]) -> list[Head] | None:
    """The heads of some files; None where one can't be read."""
    try:
        return [scan(path) for path in paths]
    except Exception:  # decoders of broken files raise whatever they stumble over
        return None
