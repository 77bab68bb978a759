"""A RandAugment-like strong view, for a whole batch at once and with draws of its own for every image."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from bench.core.augment.geometry import rotation, warp
from bench.core.augment.steps import Draws, Size, Step

OPERATIONS = (
    "identity",
    "shear-x",
    "shear-y",
    "translate-x",
    "translate-y",
    "rotate",
    "brightness",
    "color",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
CODE = {name: number for number, name in enumerate(OPERATIONS)}
ROUNDS = 2
GREY = (0.2989, 0.587, 0.114)
"""ITU-R 601 luma of red, green and blue, as torchvision rounds it."""


class RandAugment(Step):
    """Two rounds; in each, every image meets one of 14 operations at a strength of its own.

    Operations, their ranges and their order at random are those of RandAugment (Cubuk et al. 2020, arXiv 1909.13719)
    as torchvision gives them, nearest pixel and black outside. What differs: the strength isn't one number for all
    images (their M) but uniform from nothing to the range's end for each image and operation, as in FixMatch (Sohn et
    al. 2020, arXiv 2001.07685), and the sign of a signed operation is uniform too. Ranges at strength 1: shear 0.3,
    translation 150/331 of the side in whole pixels, 30 degrees, brightness, colour, contrast and sharpness factors 1
    -+ 0.9, posterise to 4 bits, solarise from 0. With one channel "color" does nothing; under 255 pixels
    "equalize" does nothing, as in Pillow. Acts on images of 1 or 3 channels; others keep their colours.
    """

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """ "randaugment.operation" int64 (n, 2) and "randaugment.strength" (n, 2) in [-1, 1), signed."""
        return {
            "randaugment.operation": torch.randint(len(OPERATIONS), (n, ROUNDS), generator=generator),
            "randaugment.strength": torch.rand((n, ROUNDS), generator=generator) * 2 - 1,
        }

    def pixels(self, images: Tensor, draws: Draws) -> Tensor:
        for number in range(ROUNDS):
            operation = draws["randaugment.operation"][:, number]
            strength = draws["randaugment.strength"][:, number]
            images = move(images, operation, strength)
            images = recolour(images, operation, strength)
        return images

    def masks(self, masks: Tensor, draws: Draws) -> Tensor:
        for number in range(ROUNDS):
            operation = draws["randaugment.operation"][:, number]
            masks = move(masks, operation, draws["randaugment.strength"][:, number])
        return masks


def move(images: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """The geometric operations; images (B, H, W, C) with any other operation stay as they are."""
    height, width = images.shape[1:3]
    only = {name: torch.where(operation == CODE[name], strength, 0.0) for name in OPERATIONS[1:6]}
    shear_x, shear_y = 0.3 * only["shear-x"], 0.3 * only["shear-y"]
    maps = rotation(30.0 * only["rotate"])
    maps[:, 0, 1] += shear_x
    maps[:, 1, 0] += shear_y
    # Shears leave the top row or left column in place, as in the paper's code, hence half a side each.
    maps[:, 0, 2] = shear_x * (height / 2) - (only["translate-x"] * (150 / 331 * width)).trunc()
    maps[:, 1, 2] = shear_y * (width / 2) - (only["translate-y"] * (150 / 331 * height)).trunc()
    return warp(images, maps)


def recolour(images: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """The operations on colours; images uint8 (B, H, W, C) with any other operation stay as they are."""
    values = images.float()
    grey = luma(values)
    chosen = operation[:, None, None, None]
    towards = torch.where(chosen == CODE["color"], grey, blur(values))
    blended = (chosen == CODE["color"]) | (chosen == CODE["sharpness"])
    share = torch.where(blended, -0.9 * strength[:, None, None, None], 0.0)
    values = values.add_(share * (towards - values)).clamp_(0, 255)
    pixels = values.to(torch.uint8).flatten(1, 2).long()
    tables = lookup_tables(images, pixels, grey, operation, strength)
    return tables.gather(1, pixels).view_as(images)


def luma(values: Tensor) -> Tensor:
    """Brightness (B, H, W, 1) of images (B, H, W, C), in whole steps; of the first channel unless there are three."""
    if values.shape[3] != 3:
        return values[..., :1]
    red, green, blue = values.unbind(3)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).floor_().unsqueeze(3)


def blur(values: Tensor) -> Tensor:
    """Images (B, H, W, C) smoothed by a 3 x 3 kernel of ones with 5 in its middle; the border stays."""
    inner = nn.functional.avg_pool2d(values.permute(0, 3, 1, 2), 3, stride=1).permute(0, 2, 3, 1)
    blurred = values.clone()
    blurred[:, 1:-1, 1:-1].mul_(4).add_(inner, alpha=9).div_(13).round_()
    return blurred


def lookup_tables(images: Tensor, pixels: Tensor, grey: Tensor, operation: Tensor, strength: Tensor) -> Tensor:
    """What each pixel value becomes, uint8 (B, 256, C), for operations that look at one value at a time.

    `pixels` int64 (B, H * W, C) are the images' values, `grey` their brightness.
    """
    number = pixels.shape[1]
    level, chosen, factor = strength.abs()[:, None, None], operation[:, None, None], 0.9 * strength[:, None, None]
    value = torch.arange(256.0, device=images.device)[:, None]
    low = images.amin((1, 2)).float()[:, None]
    high = images.amax((1, 2))[:, None]

    step_size = torch.exp2((4 * level).round())
    mean = grey.mean((1, 2, 3))[:, None, None]
    span = (high - low) * (1 / 255)
    stretched = torch.where(span > 0, (value - low) / span.clamp(min=1 / 255), value)

    counts = torch.zeros((len(images), 256, images.shape[3]), dtype=torch.int32, device=images.device)
    counts.scatter_add_(1, pixels, torch.ones((), dtype=torch.int32, device=images.device).expand_as(pixels))
    bin_size = (number - counts.gather(1, high.long())) // 255
    below = counts.cumsum(1) - counts
    equal = (below + bin_size // 2) // bin_size.clamp(min=1)

    table = value.expand(counts.shape)
    for name, changed in (
        ("brightness", value * (1 + factor)),
        ("contrast", value - factor * (mean - value)),
        ("posterize", torch.floor(value / step_size) * step_size),
        ("solarize", torch.where(value >= 255 * (1 - level), 255 - value, value)),
        ("autocontrast", stretched),
        ("equalize", torch.where(bin_size > 0, equal.float(), value)),
    ):
        table = torch.where(chosen == CODE[name], changed, table)
    return table.clamp_(0, 255).to(torch.uint8)
