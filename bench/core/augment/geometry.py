"""Affine maps of a batch of uint8 images, one map per image, by the nearest pixel."""

from __future__ import annotations

import torch
from torch import Tensor


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Sample images uint8 (B, H, W, C) where `maps` (B, 2, 3) send each output pixel; black outside.

    Coordinates are (x, y, 1) in pixels from the image's centre, x to the right and y downwards, and halves round to
    even: torchvision's `affine` and `rotate` with nearest interpolation, up to rounding where a coordinate falls
    within float32 precision of a pixel's edge.
    """
    batch, height, width, channels = images.shape
    down = torch.arange(height, device=images.device) - (height - 1) / 2
    right = torch.arange(width, device=images.device) - (width - 1) / 2
    source = maps[:, :, 0, None, None] * right + maps[:, :, 1, None, None] * down[:, None] + maps[:, :, 2, None, None]
    column = (source[:, 0] + (width - 1) / 2).round_()
    row = (source[:, 1] + (height - 1) / 2).round_()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    # One more, black, pixel after each image stands for everything outside: no second pass over the colours.
    position = torch.where(inside, row * width + column, height * width).long()
    flat = torch.nn.functional.pad(images.reshape(batch, height * width, channels), (0, 0, 0, 1))
    first = torch.arange(batch, device=images.device)[:, None, None] * (height * width + 1)
    return flat.reshape(-1, channels)[position + first]


def rotation(degrees: Tensor) -> Tensor:
    """Maps (B, 2, 3) that rotate counter-clockwise about the centre by `degrees` (B,)."""
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return torch.stack((cosine, -sine, zero, sine, cosine, zero), dim=1).view(-1, 2, 3)
