"""randaugment:N:M, in which one magnitude M of 30 holds for all images: the RandAugment of the JS and GJS code.

It differs from `RandAugment` in its list of operations, in their ranges, in that strength isn't drawn, and in its
place before the crop and the flip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from bench.training.augmentation.geometry import to_interleaved, to_planar
from bench.training.augmentation.operations import CODE, apply_colour, apply_geometric
from bench.training.augmentation.policies import Policy
from bench.training.augmentation.steps import Draws, Size

STRONGEST = 30
TRANSLATION = 100
"""Pixels at magnitude 30, whatever the image's size."""
SQUARE = 40
"""Side of the grey square at magnitude 30."""
GREY = (125, 123, 114)
SHARE = 150 / 331
"""Of the side: what `operations` translates by at strength 1."""

Entry = tuple[str, float, bool]
"""(operation, strength as `operations` measures it, whether its sign is drawn)."""


def entries_at(magnitude: int, size: Size) -> tuple[Entry, ...]:
    """The 16 operations that are drawn from, at one magnitude, for images of `size` (height, width).

    Operations and ranges are those of pytorch-randaugment, which the official code of GJS (Englesson and Azizpour 2021,
    arXiv 2105.04522) takes it from. Ranges from 0 to: rotation 30 degrees, shear 0.3, translation 100 pixels, a square
    of 40 pixels, 110 added; colour, contrast, brightness and sharpness have factors from 0.1 to 1.9, posterising keeps
    0 to 4 bits, solarising begins at 0 to 256. So a weak magnitude is strong in the last six: below 8
    posterising leaves black, as it did in a Pillow of the code's time.
    """
    share = magnitude / STRONGEST
    kept_bits, threshold, pixels = int(4 * share), 256 * share, round(TRANSLATION * share)
    right, down = ((pixels + 0.5) / (SHARE * side) if pixels else 0.0 for side in reversed(size))
    solarize = ("solarize", 1 - threshold / 255, False) if threshold <= 255 else ("identity", 0.0, False)
    return (
        ("autocontrast", 0.0, False),
        ("equalize", 0.0, False),
        ("solarize", 1.0, False),  # from 0 on: the inverse of the image
        ("rotate", share, True),
        ("posterize", (8 - kept_bits) / 4, False),
        solarize,
        ("solarize-add", share, False),
        *((name, 2 * share - 1, False) for name in ("color", "contrast", "brightness", "sharpness")),
        ("shear-x", share, True),
        ("shear-y", share, True),
        ("cutout-grey", share, False),
        ("translate-x", right, True),
        ("translate-y", down, True),
    )


class MagnitudeRandAugment(Policy):
    """`operations` of the 16 at random, one after the other, all of one magnitude."""

    acts_first = True

    def __init__(self, name: str, operations: int, magnitude: int) -> None:
        super().__init__(name)
        self.count, self.magnitude = operations, magnitude

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """Uniform operations with their strengths (n, N), signs drawn, and places of squares in [0, 1) (n, N, 2)."""
        entries = entries_at(self.magnitude, size)
        codes = torch.tensor([CODE[name] for name, _, _ in entries])
        strengths = torch.tensor([strength for _, strength, _ in entries])
        signed = torch.tensor([signed for _, _, signed in entries])
        chosen = torch.randint(len(entries), (n, self.count), generator=generator)
        flips = torch.randint(2, (n, self.count), generator=generator).bool() & signed[chosen]
        places = torch.rand((n, self.count, 2), generator=generator)
        return {
            f"{self.name}.operation": codes[chosen],
            f"{self.name}.strength": torch.where(flips, -strengths[chosen], strengths[chosen]),
            f"{self.name}.place": places,
        }

    def pixels(self, images: Tensor, draws: Draws) -> Tensor:
        planes = to_planar(images)
        places = draws[f"{self.name}.place"].unbind(1)
        for (operation, strength), place in zip(self.rounds(draws), places, strict=True):
            planes = apply_geometric(planes, operation, strength)
            planes = apply_colour(planes, operation, strength)
            square = _square(place, SQUARE * self.magnitude / STRONGEST, planes.shape[2:])
            cut = square & (operation == CODE["cutout-grey"])[:, None, None]
            planes = torch.where(cut[:, None], _grey(planes), planes)
        return to_interleaved(planes)


def _square(place: Tensor, side: float, size: Sequence[int]) -> Tensor:
    """Whether each pixel lies in an image's square, bool (B, H, W); `place` (B, 2) is its centre in shares of the size.

    It begins at the whole pixel under centre - side / 2, and reaches `side` further, both ends included; it is cut at
    the border.
    """
    inside = []
    for axis, length in enumerate(size):
        pixel = torch.arange(length, device=place.device)
        first = (place[:, axis, None] * length - side / 2).clamp(min=0).floor()
        inside.append((pixel >= first) & (pixel <= first + side))
    rows, columns = inside
    return rows[:, :, None] & columns[:, None, :]


def _grey(planes: Tensor) -> Tensor:
    """The square's colour, uint8 (1, C, 1, 1); of other than three channels the mean of it (ASSUMPTION)."""
    channels = planes.shape[1]
    colour = GREY if channels == len(GREY) else [sum(GREY) // len(GREY)] * channels
    # filled on the device: a tensor made of a list would be copied there, which the host may have to wait for
    return torch.cat([planes.new_full((1, 1, 1, 1), value) for value in colour], dim=1)
