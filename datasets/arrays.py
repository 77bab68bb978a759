"""What is done to all images, or vectors, of a data set at once: statistics, resizing, taking a part."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Images
from datasets.samples import Pixels

BLOCK_BYTES = 1 << 26


def blocks(images: Pixels) -> range:
    """Starts of blocks of about 64 MiB; the step is their length."""
    each = max(1, int(np.prod(images.shape[1:])) * images.dtype.itemsize)
    return range(0, max(1, len(images)), max(1, BLOCK_BYTES // each))


def channel_statistics(images: Images, index: NDArray[np.int64] | None = None) -> tuple[tuple[float, ...], ...]:
    """Mean and standard deviation (population) of each channel, of pixels scaled to [0, 1].

    Summed in whole numbers, so exact and the same whatever the block size. A channel without any variation gets the
    standard deviation 1, so that normalising by it stays finite.

    Args:
        images: uint8 (N, H, W, C), possibly memory-mapped.
        index: the images that count; None: all.
    """
    chosen = np.arange(len(images)) if index is None else index
    sums = np.zeros((2, images.shape[-1]), dtype=np.uint64)
    steps = blocks(images)
    step = min(steps.step, 1 << 16)  # so many squares of 255 fit into 32 bits
    for start in range(0, len(chosen), step):
        block = take(images, chosen[start : start + step])
        squares = np.multiply(block, block, dtype=np.uint16)
        for row, values in enumerate((block, squares)):
            sums[row] += np.add.reduce(values, axis=0, dtype=np.uint32).sum(axis=(0, 1), dtype=np.uint64)
    return statistics(sums, len(chosen) * images.shape[1] * images.shape[2])


def statistics(sums: NDArray[np.uint64], count: int) -> tuple[tuple[float, ...], ...]:
    """Mean and standard deviation of each channel from the sums (2, C) of `count` values 0..255 and their squares."""
    pairs = [(int(total), int(square)) for total, square in sums.T]
    mean = tuple(total / count / 255 for total, _ in pairs)
    std = tuple(math.sqrt(count * square - total**2) / count / 255 or 1.0 for total, square in pairs)
    return mean, std


def feature_statistics(vectors: Pixels, index: NDArray[np.int64]) -> tuple[tuple[float, ...], ...]:
    """Mean and standard deviation (population) of each feature, over the plain views of the vectors `index`.

    In float64, in two passes of blocks of a fixed size. A feature that is the same everywhere gets the standard
    deviation 1, so that normalising by it stays finite.

    Args:
        vectors: float16 or float32 (N, V, D), possibly memory-mapped.
    """
    step = blocks(vectors).step
    origin = vectors[index[:1]][0, 0].astype(np.float64)

    def mean_over_blocks(summed: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        total = np.zeros_like(origin)
        for start in range(0, len(index), step):
            total += summed(vectors[index[start : start + step]][:, 0].astype(np.float64)).sum(axis=0)
        return np.asarray(total / len(index))

    mean = origin + mean_over_blocks(lambda block: block - origin)
    std = np.sqrt(mean_over_blocks(lambda block: np.square(block - mean)))
    std[std < np.finfo(np.float32).tiny] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def take(images: Images, index: NDArray[np.int64]) -> Images:
    """`images[index]`, as a view (still memory-mapped) where the index is a stretch without gaps."""
    if len(index) and index[-1] - index[0] == len(index) - 1 and np.all(np.diff(index) == 1):
        return images[index[0] : index[-1] + 1]
    return images[index]


def resized(images: Images, size: int | None) -> Images:
    """Square images (N, S, S, C) brought to `size` x `size` by a triangle filter; as they are where size is None.

    Antialiased bilinear interpolation: the filter widens with the factor where images shrink.
    """
    if size is None or images.shape[1:3] == (size, size):
        return images
    weights = _triangle(images.shape[1], size)
    result = np.empty((len(images), size, size, images.shape[-1]), dtype=np.uint8)
    steps = blocks(result)
    for start in steps:
        block = images[start : start + steps.step].astype(np.float64)
        block = np.einsum("ij,njkc,lk->nilc", weights, block, weights, optimize=True)
        result[start : start + steps.step] = np.clip(np.floor(np.round(block, 6) + 0.5), 0, 255).astype(np.uint8)
    return result


def _triangle(old: int, new: int) -> NDArray[np.float64]:
    """Weights (new, old) of a triangle filter; rows sum to 1."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def check_size(size: int | None) -> None:
    """Raise DataError for an image size that can't be."""
    if size is not None and size < 1:
        raise DataError(f"An image size of {size} is impossible. Type --image-size 32.")
