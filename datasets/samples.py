"""What samples are as they are stored: images, or vectors of numbers. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float16] | NDArray[np.float32]
"""Samples that are vectors, (N, V, D): V views of each, of which the first is the plain one."""


@dataclass(frozen=True)
class VectorShape:
    """What the samples of a data set are where they are vectors and no images: `length` numbers each.

    `views` counts the views of a training sample that the data holds, the plain one included. `value_bytes` is what a
    number takes in memory: 4 (float32) or 2 (float16).
    """

    length: int
    views: int = 1
    value_bytes: int = 4

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape by which a network takes such a sample: one position with `length` channels."""
        return 1, 1, self.length

    @property
    def sample_bytes(self) -> int:
        """Bytes of a training sample with all its views."""
        return self.views * self.length * self.value_bytes

    def __str__(self) -> str:
        views = "" if self.views == 1 else f", {self.views} views of each training sample"
        return f"vectors of {self.length:,} number{'s' if self.length > 1 else ''}{views}"


class Pixels(Protocol):
    """Images uint8 (N, H, W, C) that can be had by an index: an array, or what reads files when it is asked.

    Where the samples are vectors, float16 or float32 (N, V, D): the views of each, the plain one first.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C), or (N, V, D)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8, float16 or float32."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[Any]:
        """The samples `index` (n,), (n, H, W, C) or (n, V, D), in memory of their own."""


def vector_shape(vectors: Pixels) -> VectorShape:
    """The shape of training samples (N, V, D)."""
    _, views, length = vectors.shape
    return VectorShape(length, views, vectors.dtype.itemsize)


class PlainViews:
    """The plain views of vectors (N, V, D), as images (N, 1, 1, D) of one position: for what reads images."""

    def __init__(self, vectors: Pixels) -> None:
        self._vectors = vectors
        self.shape = (vectors.shape[0], 1, 1, vectors.shape[2])
        self.dtype = vectors.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[Any]:
        return self._vectors[index][:, :1, None]


def as_images(samples: Pixels) -> Pixels:
    """Images as they are, and the plain views of vectors as images of one position."""
    return samples if len(samples.shape) == 4 else PlainViews(samples)
