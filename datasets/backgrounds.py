"""What a background tells of a label: objects on other backgrounds, and backgrounds that carry a cue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError


def swap_backgrounds(
    images: NDArray[np.uint8], masks: NDArray[np.bool_], backgrounds: NDArray[np.uint8], sources: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Each object on another image's background, uint8 (N, S, S, C).

    Args:
        images: uint8 (N, S, S, C), with `masks` bool (N, S, S) of their objects.
        backgrounds: uint8 (M, S, S, C), as `Synthetic.backgrounds` gives them.
        sources: int (N,) in 0..M-1, whose background each image gets; its own leaves it as it is.

    Raises:
        DataError: the shapes don't fit.
    """
    if images.shape[:-1] != masks.shape or images.shape[1:] != backgrounds.shape[1:] or len(sources) != len(images):
        raise DataError(
            f"Images {images.shape}, masks {masks.shape}, backgrounds {backgrounds.shape} and sources "
            f"{sources.shape} don't belong together. Give one mask and one source for each image, all of one size."
        )
    swapped: NDArray[np.uint8] = np.where(masks[..., None], images, backgrounds[sources])
    return swapped


def tint(images: NDArray[np.uint8], cues: NDArray[np.int64], cue_count: int, strength: float) -> NDArray[np.uint8]:
    """Images (N, S, S, 3) washed with one of `cue_count` colours each, so that a background can tell a label.

    `cues` (N,) in 0..cue_count-1; `strength` in [0, 1] is the colour's share of every pixel. The colours run around a
    circle of hues, at equal distances, and belong to no object.
    """
    place = np.arange(cue_count) * (6.0 / cue_count)
    # a hexagon of hues: each channel rises, stays, falls and rests, a third of the circle after the one before
    away = np.stack([np.abs((place - shift + 3) % 6 - 3) for shift in (0, 2, 4)], axis=-1)
    colours = 255 * np.clip(2 - away, 0, 1)
    mixed = (1 - strength) * images + strength * colours[cues][:, None, None, :]
    washed: NDArray[np.uint8] = np.floor(mixed + 0.5).astype(np.uint8)
    return washed
