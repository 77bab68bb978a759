"""Affine maps of a batch of uint8 images, one map per image, by the nearest pixel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def source_pixels(maps: Tensor, height: int, width: int) -> Tensor:
    """The source of each output pixel, int64 (B, height * width): a pixel's number, or height * width for none.

    `maps` (B, 2, 3) send (x, y, 1), in pixels from the image's centre, x to the right and y downwards, to the source;
    halves round to even. That is torchvision's `affine` and `rotate` with nearest interpolation, up to rounding where
    a coordinate falls within float32 precision of a pixel's edge.
    """
    down = torch.arange(height, device=maps.device) - (height - 1) / 2
    right = torch.arange(width, device=maps.device) - (width - 1) / 2
    across, along, shift = maps[..., 0, None, None], maps[..., 1, None, None], maps[..., 2, None, None]
    place = across * right + along * down[:, None] + shift
    column = place[:, 0].add_((width - 1) / 2).round_()
    row = place[:, 1].add_((height - 1) / 2).round_()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return torch.where(inside, row.mul_(width).add_(column), height * width).long().flatten(1)


def warp_images(planes: Tensor, maps: Tensor) -> Tensor:
    """Images uint8 (B, C, H, W) sampled by `maps` (B, 2, 3), see `source_pixels`; black outside."""
    height, width = planes.shape[2:]
    source = source_pixels(maps, height, width)[:, None].expand(-1, planes.shape[1], -1)
    # One more, black, pixel after each plane stands for everything outside: no second pass over the colours.
    return pad(planes.flatten(2), (0, 1)).gather(2, source).view(planes.shape)


def to_planar(images: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W), copied so that each colour lies together: three in a row fill no vector."""
    return images.permute(0, 3, 1, 2).contiguous()


def to_interleaved(planes: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C), copied."""
    return planes.permute(0, 2, 3, 1).contiguous()


def rotation_maps(degrees: Tensor) -> Tensor:
    """Maps (B, 2, 3) that rotate counter-clockwise about the centre by `degrees` (B,)."""
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return torch.stack((cosine, -sine, zero, sine, cosine, zero), dim=1).view(-1, 2, 3)
