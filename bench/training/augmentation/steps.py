"""The steps of an augmentation: each draws per image ahead of time, and is applied to a batch as a pure function.

`PixelStep` says when each of its methods is called; the steps follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from bench.training.augmentation.geometry import rotation_maps, to_interleaved, to_planar, warp_images

Draws = Mapping[str, Tensor]
Size = tuple[int, int]


class PixelStep(ABC):
    """One named step. `name` is its canonical text; keys of its draws begin with its kind.

    `pixels` acts on uint8 (B, H, W, C), `normalised` on float (B, C, H, W), `masks` on uint8 (B, H, W, C) whose
    values are not colours. Each does nothing unless the step says otherwise.
    """

    acts_first = False
    """Whether it acts on the whole image, before the crop."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """Random numbers for n images of `size` (height, width): CPU tensors, first axis n."""

    def pixels(self, images: Tensor, draws: Draws) -> Tensor:
        """Images uint8 (B, H, W, C) -> the same, before normalisation."""
        return images

    def normalised(self, images: Tensor, draws: Draws) -> Tensor:
        """Images (B, C, H, W) -> the same, after normalisation."""
        return images

    def masks(self, masks: Tensor, draws: Draws) -> Tensor:
        """Masks uint8 (B, H, W, C) moved as the images were."""
        return masks


class Crop(PixelStep):
    """Zero-pad by `margin` pixels on each side and crop back at a uniform place: torchvision's RandomCrop.

    The crop itself is made where the batch is gathered, see ImageStore.crops.
    """

    def __init__(self, name: str, margin: int) -> None:
        super().__init__(name)
        self.margin = margin

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """Corners "crop.down" and "crop.right", int64 in [0, 2 * margin]."""
        corners = torch.randint(2 * self.margin + 1, (2, n), generator=generator)
        return {"crop.down": corners[0], "crop.right": corners[1]}


class LateCrop(Crop):
    """The same crop of a batch that other steps have changed, so that no store can hold it."""

    def pixels(self, images: Tensor, draws: Draws) -> Tensor:
        height, width = images.shape[1:3]
        padded = pad(images, (0, 0, *[self.margin] * 4))
        rows = draws["crop.down"][:, None] + torch.arange(height, device=images.device)
        columns = draws["crop.right"][:, None] + torch.arange(width, device=images.device)
        image = torch.arange(len(images), device=images.device)
        return padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]

    def masks(self, masks: Tensor, draws: Draws) -> Tensor:
        return self.pixels(masks, draws)


class Flip(PixelStep):
    """Mirror left and right with probability 1/2: torchvision's RandomHorizontalFlip."""

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """ "flip", bool."""
        return {"flip": torch.rand(n, generator=generator) < 0.5}

    def pixels(self, images: Tensor, draws: Draws) -> Tensor:
        mirrored = images.flip(2)
        if images[0].numel() % 8:
            return torch.where(draws["flip"][:, None, None, None], mirrored, images)
        # Eight bytes at a time: the choice is the same for all of an image.
        words, mirrored_words = images.flatten(1).view(torch.int64), mirrored.flatten(1).view(torch.int64)
        return torch.where(draws["flip"][:, None], mirrored_words, words).view(torch.uint8).view_as(images)

    def masks(self, masks: Tensor, draws: Draws) -> Tensor:
        return self.pixels(masks, draws)


class Rotate(PixelStep):
    """Rotate about the centre by a uniform angle in [-degrees, degrees], nearest pixel, black outside.

    torchvision's RandomRotation with its defaults.
    """

    def __init__(self, name: str, degrees: float) -> None:
        super().__init__(name)
        self.degrees = degrees

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """ "rotate", degrees counter-clockwise, float32."""
        return {"rotate": (torch.rand(n, generator=generator) * 2 - 1) * self.degrees}

    def pixels(self, images: Tensor, draws: Draws) -> Tensor:
        return to_interleaved(warp_images(to_planar(images), rotation_maps(draws["rotate"])))

    def masks(self, masks: Tensor, draws: Draws) -> Tensor:
        return self.pixels(masks, draws)


class Cutout(PixelStep):
    """Zero a square of the normalised image, i.e. fill it with the mean colour (DeVries and Taylor 2017).

    The centre is uniform over the pixels and the square is clipped at the border, as in the authors' code. With
    `side` None the side is half of the image's shorter one. A square of odd side reaches (side - 1) / 2 each way.
    Masks aren't cut.
    """

    def __init__(self, name: str, side: int | None) -> None:
        super().__init__(name)
        self.side = side

    def draws(self, n: int, size: Size, generator: Generator) -> dict[str, Tensor]:
        """Centres "cutout.row" in [0, H) and "cutout.column" in [0, W), int64."""
        return {
            "cutout.row": torch.randint(size[0], (n,), generator=generator),
            "cutout.column": torch.randint(size[1], (n,), generator=generator),
        }

    def normalised(self, images: Tensor, draws: Draws) -> Tensor:
        height, width = images.shape[2:]
        side = self.side or max(1, min(height, width) // 2)
        rows = self.inside(height, side, draws["cutout.row"])
        columns = self.inside(width, side, draws["cutout.column"])
        return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)

    @staticmethod
    def inside(length: int, side: int, centre: Tensor) -> Tensor:
        """Whether each of `length` positions lies in the square, bool (B, length)."""
        offset = torch.arange(length, device=centre.device) - (centre[:, None] - side // 2)
        return (offset >= 0) & (offset < side)
