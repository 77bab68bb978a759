"""Data sets in the IDX format of MNIST, plain or gzipped, found where they lie."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.arrays import check_size, resized
from datasets.audited import audited_where_it_fits
from datasets.download import fetch
from datasets.files import listed, remembered, states
from datasets.interface import Data, DataError, DataSet, Labels, Part

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

MOST_AXES = 4

FIRST_LABELS = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    "fashion-mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
}
"""How the training labels begin: the two sets bear the same file names, and one must not pass for the other."""


class IdxDataSet(DataSet):
    """Base of the data sets in four IDX files.

    Looked for under `options.root` (default: `data`), in the folders that torchvision and others use below it, and
    where a distribution's package puts them; else fetched to torchvision's folder if that is allowed.
    """

    torchvision_class: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    packaged: ClassVar[tuple[Path, ...]] = ()
    package_hint: ClassVar[str] = ""

    def content_hash(self) -> str:
        paths = [str(path) for path in self._files]
        stat, _ = states(paths)
        known = hashlib.sha256(stat.tobytes()).hexdigest()
        return remembered(self.options, "idx\n" + "\n".join(paths), known, self._hash)

    def load(self, split_seed: int) -> Data:
        description = self.describe()
        check_size(self.options.image_size)
        train_images, train_labels, test_images, test_labels = (read_idx(path) for path in self._files)
        train = self._part(train_images, train_labels, self._files[:2])
        test = self._part(test_images, test_labels, self._files[2:])
        assert description.mean is not None and description.std is not None
        audited = audited_where_it_fits(self.audit, test.labels)
        return Data(description, train, test, description.mean, description.std, audited=audited)

    def _part(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], files: tuple[Path, ...]) -> Part:
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.shape[1:] != (28, 28):
            shapes = f"{' x '.join(map(str, images.shape))} images and {' x '.join(map(str, labels.shape))} labels"
            raise DataError(f"{files[0]} and {files[1].name} hold {shapes}, not N images of 28 x 28 and N labels.")
        if len(labels) == 0 or labels.max() > 9:
            raise DataError(f"{files[1]} holds no labels 0 to 9.")
        return Part(resized(images[..., None], self.options.image_size), labels.astype(np.int64))

    def known_files(self) -> Mapping[Path, str]:
        import torchvision.datasets

        sums = dict(getattr(torchvision.datasets, self.torchvision_class).resources)
        packed_anew = any(self._files[0].is_relative_to(place) for place in self.packaged)
        return {path: f"md5:{sums[path.name]}" if path.name in sums and not packed_anew else "" for path in self._files}

    def _hash(self) -> str:
        # the unpacked bytes: the same data gzipped by somebody else is the same data
        digest = hashlib.sha256()
        for path in self._files:
            digest.update(hashlib.sha256(unpacked(path)).digest())
        return digest.hexdigest()

    @property
    def _root(self) -> Path:
        return self.options.root if self.options.root is not None else Path("data")

    def _places(self) -> list[Path]:
        return [*(self._root / folder for folder in self.folders), *self.packaged]

    @cached_property
    def _files(self) -> tuple[Path, ...]:
        """The four files, in the order of STEMS. Raises DataError where they are neither found nor fetched."""
        foreign = []
        for place in self._places():
            found = tuple(_variant(place, stem) for stem in STEMS)
            if all(path is not None for path in found):
                files = tuple(path for path in found if path is not None)
                other = self._mistaken_for(read_idx(files[1]).astype(np.int64))
                if other is None:
                    return files
                foreign.append(f"{place} holds {other}, not {self.name}")
        if self.options.download:
            return self._download()
        hint = f" ({self.package_hint})" if self.package_hint else ""
        raise DataError(
            f"{self.name} isn't here. Type --download to fetch it, or --data-root DIR if you have its four IDX "
            f"files{hint}. Looked in:\n{listed([str(place) for place in self._places()] + foreign)}"
        )

    def _mistaken_for(self, labels: Labels) -> str | None:
        start = tuple(map(int, labels.ravel()[:10]))
        return next((name for name, first in FIRST_LABELS.items() if first == start and name != self.name), None)

    def _download(self) -> tuple[Path, ...]:
        import torchvision.datasets

        official = getattr(torchvision.datasets, self.torchvision_class)
        folder = self._root / self.torchvision_class / "raw"
        return tuple(
            fetch(tuple(mirror + name for mirror in official.mirrors), md5, folder / name, self.options.progress)
            for name, md5 in official.resources
        )


def _variant(folder: Path, stem: str) -> Path | None:
    """The file as torchvision, MNIST's page or an old unpacker named it, plain or gzipped."""
    dotted = stem.replace("-idx", ".idx")
    names = (stem, f"{stem}.gz", dotted, f"{dotted}.gz")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def unpacked(path: Path) -> bytes:
    """The file's bytes, unzipped if need be. Raises DataError where it can't be read."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} can't be read ({error}). Fetch it anew: delete it and type --download.") from error


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file of bytes, plain or gzipped. Raises DataError where it isn't one, or is cut short.

    Images have three axes and labels one; a file with more than MOST_AXES is something else.

    Format: two zero bytes, 8 for unsigned bytes, the number of axes, each length as a big-endian 32-bit integer, then
    the values.
    """
    content = unpacked(path)
    axes = content[3] if len(content) > 3 else 0
    if content[:3] != b"\x00\x00\x08" or not 1 <= axes <= MOST_AXES or len(content) < 4 + 4 * axes:
        raise DataError(f"{path} isn't an IDX file of bytes. Fetch it anew: delete it and type --download.")
    shape = tuple(int(length) for length in np.frombuffer(content, dtype=">u4", count=axes, offset=4))
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    if len(values) != math.prod(shape):
        raise DataError(
            f"{path} holds {len(values):,} bytes of data where its header promises {' x '.join(map(str, shape))}. "
            "Fetch it anew: delete it and type --download."
        )
    return values.reshape(shape)
