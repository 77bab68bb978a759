"""Images of which some are replaced by those of another data set, read when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError
from datasets.samples import Pixels


class ReplacedImages:
    """`source` (N, H, W, C) with the images at `places` (n,) replaced by the images `chosen` (n,) of `donor`.

    Those are brought to the same size by the nearest pixel; grey is repeated in all channels, or their mean is taken.
    """

    def __init__(self, source: Pixels, donor: Pixels, places: NDArray[np.int64], chosen: NDArray[np.int64]) -> None:
        if len(source.shape) != 4 or len(donor.shape) != 4:
            raise DataError("Samples that are vectors can't be replaced by images, nor images by vectors.")
        self.source, self.donor = source, donor
        self.by = np.full(len(source), -1, dtype=np.int64)
        self.by[places] = chosen

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the source."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C), as of the source."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.by)

    def __getitem__(self, index: NDArray[np.int64], /) -> NDArray[Any]:
        index = np.atleast_1d(np.asarray(index))
        images = np.array(self.source[index])
        by = self.by[index]
        if (by >= 0).any():
            images[by >= 0] = fit_images(np.asarray(self.donor[by[by >= 0]]), self.shape[1:])
        return images


def fit_images(images: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Images (n, h, w, c) as (n, H, W, C) by the nearest pixel; channels are repeated, or their mean is taken."""
    height, width, channels = shape
    rows, columns = (
        np.arange(size) * old // size for size, old in zip((height, width), images.shape[1:3], strict=True)
    )
    fitted = images[:, rows[:, None], columns[None, :]]
    if fitted.shape[3] == channels:
        return fitted
    grey = np.rint(fitted.mean(axis=3, keepdims=True)).astype(images.dtype)
    return np.repeat(grey, channels, axis=3)
