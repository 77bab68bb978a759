"""The views of an image that a backbone is given: the plain one, and weak ones that are drawn by hash.

Both are a function of the image, its position, the number of the view and the size, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from datasets.randomness import uniforms

DRAWS = 3
"""Numbers that are drawn for a weak view: down, right, mirrored."""


def draw_view(view: int, samples: int) -> NDArray[np.float64]:
    """The draws of the weak view `view` (1, 2, ...) of each sample, (samples, DRAWS) in [0, 1)."""
    return uniforms(view, "weak view of a frozen backbone", DRAWS * samples).reshape(samples, DRAWS)


def enlarged_side(size: int) -> int:
    """The shorter side of the image that weak views are cropped from: 8/7 of the view's, rounded."""
    return (16 * size + 7) // 14


def plain_view(images: Tensor, size: int) -> Tensor:
    """Images uint8 (B, H, W, C) -> their middle square, uint8 (B, size, size, C)."""
    enlarged = bring_to(images, size)
    down, right = ((side - size) // 2 for side in enlarged.shape[1:3])
    return enlarged[:, down : down + size, right : right + size]


def weak_view(images: Tensor, size: int, draws: Tensor) -> Tensor:
    """Images uint8 (B, H, W, C) -> crops of the enlarged images, half of them mirrored, uint8 (B, size, size, C).

    `draws` (B, DRAWS) in [0, 1) say where, and which are mirrored.
    """
    enlarged = bring_to(images, enlarged_side(size)).contiguous()
    samples, height, width, channels = enlarged.shape
    down, right = (
        (draws[:, axis] * (side - size + 1)).long().clamp_(max=side - size) for axis, side in enumerate((height, width))
    )
    # All possible crops as a view: crop k begins k pixels after the first pixel of the first image. So a batch of
    # crops is one gather, of rows of pixels that are contiguous.
    starts = samples * height * width - (size - 1) * width - size + 1
    strides = (channels, width * channels, channels, 1)
    crops = enlarged.as_strided((starts, size, size, channels), strides)
    batch = torch.arange(samples, device=images.device)
    views = crops.index_select(0, (batch * height + down) * width + right)
    return torch.where((draws[:, 2] < 0.5)[:, None, None, None], views.flip(2), views)


def bring_to(images: Tensor, side: int) -> Tensor:
    """Images uint8 (B, H, W, C) with their shorter side brought to `side` by an antialiased bicubic filter."""
    height, width = images.shape[1:3]
    if min(height, width) == side:
        return images
    shorter = min(height, width)
    target = [max(side, round(length * side / shorter)) for length in (height, width)]
    pixels = images.permute(0, 3, 1, 2)
    if images.device.type == "cpu":
        return interpolate(pixels, target, mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    # a GPU has this filter for floats only
    floats = interpolate(pixels.float(), target, mode="bicubic", antialias=True)
    return floats.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def normalise(views: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Views uint8 (B, S, S, C) -> float32 (B, 3, S, S), channels last; grey ones get three equal channels."""
    if views.shape[3] == 1:
        views = views.expand(-1, -1, -1, 3)
    # one number for each value of a row, since a last axis of three is too short for vector instructions
    rows, width = views.flatten(2), views.shape[2]
    deviation = torch.tensor(std, device=views.device).repeat(width)
    shift = torch.tensor(mean, device=views.device).repeat(width) / deviation
    return rows.float().mul_(1 / (255 * deviation)).sub_(shift).view(views.shape).permute(0, 3, 1, 2)
