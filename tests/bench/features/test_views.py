"""Views of images for a backbone: what each shows, and that hashes alone draw them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.features.views import bring_to, draw_view, enlarged_side, normalise, plain_view, weak_view


def pictures(count: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    shape = (count, height, width, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_the_plain_view_of_a_square_of_the_right_size_is_the_image() -> None:
    images = pictures(3, 16, 16)
    assert torch.equal(plain_view(images, 16), images)


def test_the_plain_view_is_the_middle() -> None:
    images = pictures(2, 16, 24)
    assert torch.equal(plain_view(images, 16), images[:, :, 4:20])


@settings(max_examples=40)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
)
def test_every_view_of_every_image_has_the_size(height: int, width: int, size: int, channels: int) -> None:
    images = pictures(2, height, width, channels)
    draws = torch.from_numpy(draw_view(1, 2))
    for view in (plain_view(images, size), weak_view(images, size, draws)):
        assert view.shape == (2, size, size, channels) and view.dtype == torch.uint8


def test_a_weak_view_is_a_crop_of_the_enlarged_image_mirrored_or_not() -> None:
    images = pictures(40, 16, 16)
    draws = draw_view(2, 40)
    views = weak_view(images, 14, torch.from_numpy(draws))
    enlarged = bring_to(images, enlarged_side(14))
    assert enlarged_side(14) == 16 and torch.equal(enlarged, images)
    for image, view, (down, right, mirrored) in zip(enlarged, views, draws, strict=True):
        top, left = int(down * 3), int(right * 3)
        crop = image[top : top + 14, left : left + 14]
        assert torch.equal(view, crop.flip(1) if mirrored < 0.5 else crop)
    assert 0.2 < np.mean(draws[:, 2] < 0.5) < 0.8


def test_a_view_depends_on_position_and_number_alone() -> None:
    images = pictures(8, 20, 20)
    draws = torch.from_numpy(draw_view(1, 8))
    together = weak_view(images, 16, draws)
    apart = torch.cat([weak_view(images[i : i + 3], 16, draws[i : i + 3]) for i in range(0, 8, 3)])
    assert torch.equal(together, apart)
    assert np.array_equal(draw_view(1, 5), draw_view(1, 8)[:5])
    assert not np.array_equal(draw_view(1, 8), draw_view(2, 8))


def test_grey_images_get_three_equal_channels() -> None:
    grey = pictures(2, 8, 8, 1)
    colours = grey.expand(-1, -1, -1, 3).contiguous()
    first, second = (normalise(images, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)) for images in (grey, colours))
    assert torch.equal(first, second) and first.is_contiguous(memory_format=torch.channels_last)


def test_pixels_are_normalised_as_a_backbone_expects() -> None:
    images = pictures(2, 8, 8)
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4])
    expected = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(normalise(images, mean.tolist(), std.tolist()), expected)
