"""A data set's images on the device: one zero-padded uint8 tensor, from which a batch of crops is one gather."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.errors import UsageError


class ImageStore:
    """Images uint8 (N, H, W, C) on one device, with the normalisation of their data set.

    `images` is moved nowhere: hand it over on the device where it is to live. `mean` and `std` hold one number a
    channel, of pixels scaled to [0, 1]. `pad` is the border of zeros (black pixels) that crops may reach into;
    with 0 the images are kept as they are, without a copy. Raises UsageError where the shapes or the type don't fit.
    """

    def __init__(self, images: Tensor, mean: Sequence[float], std: Sequence[float], pad: int = 0) -> None:
        if images.dtype != torch.uint8 or images.dim() != 4:
            shape = tuple(images.shape)
            raise UsageError(f"images must be uint8 of shape (N, H, W, C), not {images.dtype} of shape {shape}.")
        if not len(mean) == len(std) == images.shape[3]:
            raise UsageError(
                f"images have {images.shape[3]} channel(s), but the normalisation has {len(mean)} means and "
                f"{len(std)} standard deviations: give one of each per channel."
            )
        if min(std) <= 0:
            raise UsageError(f"standard deviations must be above 0, not {tuple(std)}.")
        if pad < 0:
            raise UsageError(f"pad must be 0 or more, not {pad}.")
        self.samples, self.height, self.width, self.channels = images.shape
        self.pad = pad
        self.mean = torch.tensor(mean, dtype=torch.float32, device=images.device)
        self.std = torch.tensor(std, dtype=torch.float32, device=images.device)
        # One number for each value of a row, since a last axis of three is too short for vector instructions.
        self.row_mean = self.mean.repeat(self.width)
        self.row_std = self.std.repeat(self.width)
        if pad:
            wide = images.new_zeros(self.samples, self.height + 2 * pad, self.width + 2 * pad, self.channels)
            wide[:, pad : pad + self.height, pad : pad + self.width] = images
            images = wide
        self.images = images.contiguous()
        per_image, per_row, per_column, per_channel = self.images.stride()
        # Every window of the padded images as a view: windows[n, dy, dx] is a crop, and a batch of crops one gather.
        self.windows = self.images.as_strided(
            (self.samples, 2 * pad + 1, 2 * pad + 1, self.height, self.width, self.channels),
            (per_image, per_row, per_column, per_row, per_column, per_channel),
        )

    def __len__(self) -> int:
        return self.samples

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images, without their padding."""
        return self.height, self.width

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.images.device

    def centre(self, index: Tensor) -> Tensor:
        """The images `index` (B,) without their padding, uint8 (B, H, W, C)."""
        return self.windows[:, self.pad, self.pad].index_select(0, index)

    def crops(self, index: Tensor, down: Tensor, right: Tensor) -> Tensor:
        """Crops of the images `index` (B,), uint8 (B, H, W, C).

        `down` and `right` int64 (B,) in [0, 2 * pad] are the crop's top left corner in the padded image.
        """
        return self.windows[index, down, right]

    def normalise(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Pixels uint8 (B, H, W, C) -> normalised (B, C, H, W) in channels_last memory format.

        The order of operations is torchvision's `ToTensor` and `Normalize`, and so is every bit in float32.
        """
        rows = pixels.flatten(2).float().div_(255).sub_(self.row_mean).div_(self.row_std)
        return rows.view(pixels.shape).permute(0, 3, 1, 2).to(dtype)

    def plain(self, index: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The images `index` (B,) unaugmented and normalised, (B, C, H, W) in channels_last memory format."""
        return self.normalise(self.centre(index), dtype)
