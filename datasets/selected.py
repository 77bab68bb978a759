"""A part of some images or vectors, chosen by an index and not yet read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.samples import Pixels


class Selected:
    """The images `index` (n,) of `source`, read when they are asked for: by a number, a slice or an index of its own.

    `np.asarray` reads all of them.
    """

    def __init__(self, source: Pixels, index: NDArray[np.int64]) -> None:
        self.source = source
        self.index = index

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the source."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, H, W, C), or (n, V, D) of vectors."""
        return (len(self.index), *self.source.shape[1:])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Any, /) -> NDArray[Any]:
        return self.source[self.index[which]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.source[self.index], dtype=dtype)


def select(images: Pixels, index: NDArray[np.int64]) -> Selected:
    """The images `index` (n,) of `images`; of a selection, those of what it selects from."""
    if isinstance(images, Selected):
        return Selected(images.source, images.index[index])
    return Selected(images, index)
