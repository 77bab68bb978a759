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
    enlarged = bring_to(images, enlarged_side(size))
    steps = torch.arange(size, device=images.device)
    down, right = (
        (draws[:, axis] * (side - size + 1)).long().clamp_(max=side - size)[:, None]
        for axis, side in enumerate(enlarged.shape[1:3])
    )
    columns = torch.where((draws[:, 2] < 0.5)[:, None], right + size - 1 - steps, right + steps)
    batch = torch.arange(len(images), device=images.device)
    return enlarged[batch[:, None, None], (down + steps)[:, :, None], columns[:, None, :]]


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
    scale = 1 / (255 * torch.tensor(std, device=views.device))
    shift = torch.tensor(mean, device=views.device) / torch.tensor(std, device=views.device)
    return views.float().mul_(scale).sub_(shift).permute(0, 3, 1, 2)
