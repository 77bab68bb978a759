"""What is done to all images of a data set at once: statistics, resizing, taking a part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError

Images = NDArray[np.uint8]

BLOCK_BYTES = 1 << 26


def blocks(images: NDArray[np.generic]) -> range:
    """Starts of blocks of about 64 MiB; the step is their length."""
    each = max(1, int(np.prod(images.shape[1:])) * images.itemsize)
    return range(0, max(1, len(images)), max(1, BLOCK_BYTES // each))


def channel_statistics(images: Images, index: NDArray[np.int64] | None = None) -> tuple[tuple[float, ...], ...]:
    """Mean and standard deviation (population) of each channel, of pixels scaled to [0, 1].

    Counted by value in whole numbers, so exact and the same whatever the block size. A channel without any variation
    gets the standard deviation 1, so that normalising by it stays finite.

    Args:
        images: uint8 (N, H, W, C), possibly memory-mapped.
        index: the images that count; None: all.
    """
    counts = np.zeros((images.shape[-1], 256), dtype=np.int64)
    chosen = np.arange(len(images)) if index is None else index
    steps = blocks(images)
    for start in steps:
        block = take(images, chosen[start : start + steps.step])
        for channel in range(images.shape[-1]):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = (shares * values).sum(axis=1)
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
    return tuple(map(float, mean)), tuple(float(value) or 1.0 for value in std)


def take(images: NDArray[np.generic], index: NDArray[np.int64]) -> NDArray[np.generic]:
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
