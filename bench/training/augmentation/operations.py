"""The operations of RandAugment and AutoAugment on a batch: each image has an operation and a strength of its own.

`apply_geometric` and `apply_colour` apply them; each leaves images alone whose operation is of the other kind.

Strengths are signed, in [-1, 1]. Ranges at strength 1: shear 0.3, translation 150/331 of the side in whole pixels, 30
degrees, brightness, colour, contrast and sharpness factors 1 -+ 0.9, posterise to 4 bits, solarise from 0; nearest
pixel and black outside. With one channel "color" does nothing; under 255 pixels "equalize" does nothing, as in Pillow.
They act on images of 1 or 3 channels; others keep their colours. "solarize-add", of `randaugment:N:M` alone, adds 110
at strength 1 and inverts what is then 128 or more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.training.augmentation.geometry import rotation_maps, warp_images

GEOMETRIC = ("shear-x", "shear-y", "translate-x", "translate-y", "rotate")
COLOUR = ("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize")
OPERATIONS = ("identity", *GEOMETRIC, *COLOUR)
FURTHER = ("solarize-add", "cutout-grey")
"""Operations of randaugment:N:M alone; the second isn't applied here."""
CODE = {name: number for number, name in enumerate((*OPERATIONS, *FURTHER))}
GREY = (0.2989, 0.587, 0.114)
"""ITU-R 601 luma of red, green and blue, as torchvision rounds it."""


def apply_geometric(planes: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """The geometric operations; images (B, C, H, W) with any other operation stay as they are."""
    height, width = planes.shape[2:]
    only = {name: torch.where(operation == CODE[name], strength, 0.0) for name in GEOMETRIC}
    shear_x, shear_y = 0.3 * only["shear-x"], 0.3 * only["shear-y"]
    maps = rotation_maps(30.0 * only["rotate"])
    maps[:, 0, 1] += shear_x
    maps[:, 1, 0] += shear_y
    # Shears leave the top row or left column in place, as in the paper's code, hence half a side each.
    maps[:, 0, 2] = shear_x * (height / 2) - (only["translate-x"] * (150 / 331 * width)).trunc()
    maps[:, 1, 2] = shear_y * (width / 2) - (only["translate-y"] * (150 / 331 * height)).trunc()
    return warp_images(planes, maps)


def apply_colour(planes: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """The operations on colours; images uint8 (B, C, H, W) with any other operation stay as they are."""
    values = planes.float()
    grey = luma_of(values)
    chosen = operation[:, None, None, None]
    to_grey = chosen == CODE["color"]
    share = torch.where(to_grey | (chosen == CODE["sharpness"]), -0.9 * strength[:, None, None, None], 0.0)
    values = values.add_(torch.where(to_grey, grey, blur_images(values)).sub_(values).mul_(share)).clamp_(0, 255)
    pixels = values.to(torch.uint8).flatten(2).long()
    tables = lookup_tables(planes, pixels, grey, operation, strength)
    return tables.gather(2, pixels).view(planes.shape)


def luma_of(values: Tensor) -> Tensor:
    """Brightness (B, 1, H, W) of images (B, C, H, W), in whole steps; of the first channel unless there are three."""
    if values.shape[1] != 3:
        return values[:, :1]
    red, green, blue = values.unbind(1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).floor_().unsqueeze(1)


def blur_images(values: Tensor) -> Tensor:
    """Images (B, C, H, W) smoothed by a 3 x 3 kernel of ones with 5 in its middle; the border stays."""
    columns = values[:, :, :-2] + values[:, :, 1:-1]
    columns += values[:, :, 2:]
    total = columns[..., :-2] + columns[..., 1:-1]
    total += columns[..., 2:]
    blurred = values.clone()
    blurred[:, :, 1:-1, 1:-1] = total.add_(values[:, :, 1:-1, 1:-1], alpha=4).div_(13).round_()
    return blurred


def lookup_tables(planes: Tensor, pixels: Tensor, grey: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """Tables from old to new pixel values, uint8 (B, C, 256), for operations on one value at a time.

    `pixels` int64 (B, C, H * W) are the images' values, `grey` their brightness (B, 1, H, W). Every operation is
    written so that its neutral constants leave a value alone; each image gets its one operation's own constants.
    """
    chosen, factor = operation[:, None, None], 0.9 * strength[:, None, None]
    mean = grey.mean((2, 3))[:, None]
    low = planes.flatten(2).amin(2, keepdim=True).float()
    high = planes.flatten(2).amax(2, keepdim=True)
    span = high - low
    stretch = (chosen == CODE["autocontrast"]) & (span > 0)
    # scale * value + shift, (B, C, 1): brightness, contrast and autocontrast
    scale = torch.where((chosen == CODE["brightness"]) | (chosen == CODE["contrast"]), 1 + factor, 1.0)
    scale = torch.where(stretch, 255 / span.clamp(min=1), scale)
    shift = torch.where(chosen == CODE["contrast"], -factor * mean, 0.0)
    shift = torch.where(stretch, -low * scale, shift)
    adds = chosen == CODE["solarize-add"]
    shift = torch.where(adds, 110 * strength[:, None, None], shift)
    coarseness = torch.where(chosen == CODE["posterize"], torch.exp2((factor.abs() * (4 / 0.9)).round()), 1.0)
    threshold = torch.where(chosen == CODE["solarize"], 255 * (1 - strength.abs()[:, None, None]), 256.0)
    threshold = torch.where(adds, 128.0, threshold)

    value = torch.arange(256.0, device=planes.device)
    # A float32 product a hair under a whole number is that number.
    table = (scale * value).add_(shift + 2**-10).clamp_(0, 255)
    table = table.div_(coarseness).floor_().mul_(coarseness)
    table = torch.where(table >= threshold, 255 - table, table)
    return torch.where(chosen == CODE["equalize"], equalisation_tables(pixels, high.long(), value), table).to(
        torch.uint8
    )


def equalisation_tables(pixels: Tensor, high: Tensor, value: Tensor) -> Tensor:
    """Tables (B, C, 256) that even out each channel's histogram by Pillow's rule; `high` (B, C, 1) is its maximum."""
    counts = pixels.new_zeros((*pixels.shape[:2], 256), dtype=torch.float32)
    counts.scatter_add_(2, pixels, counts.new_ones(()).expand_as(pixels))
    width = (pixels.shape[2] - counts.gather(2, high)).div_(255).floor_()
    below = counts.cumsum(2).sub_(counts)
    table = below.add_((width / 2).floor_()).div_(width.clamp(min=1)).floor_().clamp_(0, 255)
    return torch.where(width > 0, table, value)
