"""Backgrounds without objects, objects on other backgrounds, and cues in backgrounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.backgrounds import swap_backgrounds, tint
from datasets.interface import DataError, Options
from datasets.synthetic import Synthetic


@pytest.mark.parametrize("size", [None, 12])
def test_backgrounds_are_the_images_without_their_objects(size: int | None) -> None:
    # more than one block of images, so that each block's own random numbers are met
    data_set = Synthetic(Options(image_size=size), None, {"classes": 3, "size": 16, "train": 9, "test": 300})
    part, backgrounds = data_set.load(0).test, data_set.backgrounds("test")
    assert part.masks is not None and backgrounds.shape == part.images.shape
    differs = (part.images != backgrounds).any(axis=-1)
    # resizing mixes pixels across the outline
    assert size is not None or not differs[~part.masks].any()
    assert differs[part.masks].mean() > 0.95 > 0.5 > differs[~part.masks].mean()


@given(side=st.integers(8, 24), clutter=st.floats(0, 1), extent=st.floats(0.2, 1), seed=st.integers(0, 99))
def test_swapping_keeps_objects_and_takes_backgrounds(side: int, clutter: float, extent: float, seed: int) -> None:
    values = {"classes": 4, "size": side, "clutter": clutter, "object": extent, "train": 8, "test": 8}
    data_set = Synthetic(Options(), None, values)
    part, backgrounds = data_set.load(0).train, data_set.backgrounds("train")
    assert part.masks is not None
    own = np.arange(8)
    assert np.array_equal(swap_backgrounds(part.images, part.masks, backgrounds, own), part.images)
    sources = np.random.default_rng(seed).integers(0, 8, 8)
    swapped = swap_backgrounds(part.images, part.masks, backgrounds, sources)
    assert np.array_equal(swapped[part.masks], part.images[part.masks])
    assert np.array_equal(swapped[~part.masks], backgrounds[sources][~part.masks])


def test_swapping_refuses_what_does_not_belong_together() -> None:
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    masks = np.zeros((2, 8, 8), dtype=np.bool_)
    for sources, backgrounds in ((np.array([0]), images), (np.array([0, 1]), images[:, :4])):
        with pytest.raises(DataError, match="one mask and one source"):
            swap_backgrounds(images, masks, backgrounds, sources)


@given(
    strength=st.floats(0, 1),
    cues=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    grey=st.integers(0, 255),
)
def test_a_tint_is_a_share_of_the_colour(strength: float, cues: list[int], grey: int) -> None:
    images = np.full((len(cues), 3, 3, 3), grey, dtype=np.uint8)
    washed = tint(images, np.array(cues), 7, strength)
    assert washed.dtype == np.uint8 and washed.shape == images.shape
    assert np.abs(washed.astype(int) - grey).max() <= 255 * strength + 0.5
    assert np.array_equal(tint(images, np.array(cues), 7, 0.0), images)
    assert np.array_equal(tint(washed, np.array(cues), 7, 1.0), tint(images, np.array(cues), 7, 1.0))


def test_every_cue_has_a_colour_of_its_own() -> None:
    washed = tint(np.full((10, 1, 1, 3), 100, dtype=np.uint8), np.arange(10), 10, 0.5).reshape(10, 3).astype(int)
    apart = np.abs(washed[:, None] - washed[None]).sum(axis=-1) + 999 * np.eye(10, dtype=int)
    assert apart.min() > 30
