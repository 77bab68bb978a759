"""A data set's images on the device: one zero-padded uint8 tensor, from which a batch of crops is one gather.

`Images` is the interface that training uses; `ImageStore.crops` and `ImageStore.normalise` make a batch. Images that
don't fit on the device are a `BatchStore` (`image_sets`), which makes a small `ImageStore` of each batch. Samples that
are vectors are a `VectorStore` (`vector_store`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from bench.system.errors import UsageError

MIRRORED_BYTES = 256 << 20
"""Up to this size, images in CPU memory are also stored mirrored; the 50,000 of CIFAR take 229 MiB."""


def worth_mirroring(samples: int, size: tuple[int, int], channels: int, pad: int, device: torch.device) -> bool:
    """Whether a store of images that are flipped at random should hold their mirror images too.

    A flip is then part of the gather, which saves a CPU a third of the time of a cropped and flipped batch
    (`benchmarks/augmentation.py`). A GPU has that time to spare, but not always the memory.
    """
    height, width = size
    return device.type == "cpu" and samples * (height + 2 * pad) * (width + 2 * pad) * channels <= MIRRORED_BYTES


class Images(Protocol):
    """The images of one part, on the device or elsewhere; training and inference get them through `prefetch`."""

    size: tuple[int, int]
    """(height, width), without padding."""
    channels: int
    device: torch.device
    """The device of the batches."""
    index_device: torch.device
    """The device of the indices that `prefetch` takes."""

    def __len__(self) -> int: ...

    def prefetch(self, indices: Iterable[Tensor]) -> Iterator[tuple[ImageStore, Tensor]]:
        """For each index int64 (B,): a store on the device that holds these images, and their positions (B,) in it.

        Indices are taken before their batch is asked for, so that images from elsewhere are ready in time.
        """


class ImageStore:
    """Images uint8 (N, H, W, C) on one device, with the normalisation of their data set.

    `images` stays on its device. `mean` and `std` hold one number a channel, of pixels scaled to [0, 1]. `pad` is the
    border of zeros (black pixels) that crops may reach into; with 0 the images aren't copied. `mirrored` stores the
    mirror image of each too, so that a flip costs nothing but memory. Raises UsageError where the shapes or the type
    don't fit.
    """

    def __init__(
        self, images: Tensor, mean: Sequence[float], std: Sequence[float], pad: int = 0, mirrored: bool = False
    ) -> None:
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
        _, self.height, self.width, self.channels = images.shape
        self.size = (self.height, self.width)
        self.device = self.index_device = images.device
        self.pad = pad
        self.mirrored = mirrored
        self.mean = torch.tensor(mean, dtype=torch.float32, device=images.device)
        self.std = torch.tensor(std, dtype=torch.float32, device=images.device)
        # One number for each value of a row, since a last axis of three is too short for vector instructions.
        self.row_mean = self.mean.repeat(self.width)
        self.row_std = self.std.repeat(self.width)
        self._set_images(self._padded(len(images), [images]) if pad or mirrored else images.contiguous())

    def _padded(self, samples: int, blocks: Iterable[Tensor]) -> Tensor:
        """One tensor, on the store's device, of images with borders; they come in blocks (n, H, W, C) from any device.

        All mirror images, in a store that is `mirrored`, follow after all images.
        """
        pad, height, width = self.pad, self.height, self.width
        shape = (2 * samples if self.mirrored else samples, height + 2 * pad, width + 2 * pad, self.channels)
        padded = torch.zeros(shape, dtype=torch.uint8, device=self.mean.device)
        inner = padded[:, pad : pad + height, pad : pad + width]
        start = 0
        for block in blocks:
            inner[start : start + len(block)] = block
            if self.mirrored:
                inner[samples + start : samples + start + len(block)] = block.flip(2)
            start += len(block)
        return padded

    def _set_images(self, images: Tensor) -> None:
        """Set the tensor of images, which has their borders and, in a store that is `mirrored`, their mirror images."""
        self.images, self.samples = images, len(images) // (2 if self.mirrored else 1)
        _, high, wide, channels = images.shape
        # All possible crops as a view: crop k begins k pixels after the first pixel of the first image. So a batch of
        # crops is one gather along one axis, of rows of pixels that are contiguous.
        starts = max(0, len(images) * high * wide - (self.height - 1) * wide - self.width + 1)
        self.crops_from = images.as_strided(
            (starts, self.height, self.width, channels), (channels, wide * channels, channels, 1)
        )

    def with_images(self, samples: int, blocks: Iterable[Tensor], mirrored: bool = False) -> Self:
        """A store, on the same device, of `samples` other images of this size, which come in blocks uint8 (n, H, W, C).

        The images are never in memory twice, and nothing else is copied to the device.
        """
        store = copy.copy(self)
        store.mirrored = mirrored
        store._set_images(store._padded(samples, blocks))
        return store

    def __len__(self) -> int:
        return self.samples

    def prefetch(self, indices: Iterable[Tensor]) -> Iterator[tuple[ImageStore, Tensor]]:
        """This store with each index, since nothing has to be read."""
        for index in indices:
            yield self, index

    def centre(self, index: Tensor, flipped: Tensor | None = None) -> Tensor:
        """The images `index` (B,) without their padding, uint8 (B, H, W, C); mirrored where `flipped` bool (B,) is set.

        `flipped` needs a store that is `mirrored`.
        """
        return self._gather(self._rows(index, flipped), self.pad * self.images.shape[2] + self.pad)

    def crops(self, index: Tensor, down: Tensor, right: Tensor, flipped: Tensor | None = None) -> Tensor:
        """Crops of the images `index` (B,), uint8 (B, H, W, C); mirrored where `flipped` bool (B,) is set.

        `down` and `right` int64 (B,) in [0, 2 * pad] are the crop's top left corner in the padded image, before it is
        mirrored. `flipped` needs a store that is `mirrored`.
        """
        if flipped is not None:  # pixels that are cut on the right before mirroring lie on the left after it
            right = torch.where(flipped, 2 * self.pad - right, right)
        return self._gather(self._rows(index, flipped), torch.add(right, down, alpha=self.images.shape[2]))

    def _rows(self, index: Tensor, flipped: Tensor | None) -> Tensor:
        """The rows of the images `index` in the tensor, or those of their mirror images where `flipped` is set."""
        return index if flipped is None else torch.add(index, flipped, alpha=self.samples)

    def _gather(self, rows: Tensor, corner: Tensor | int) -> Tensor:
        """Crops of `images[rows]` that begin at the pixel `corner`, counted along the rows of a padded image."""
        _, high, wide, _ = self.images.shape
        return self.crops_from.index_select(0, torch.add(corner, rows, alpha=high * wide))

    def normalise(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Pixels uint8 (B, H, W, C) -> normalised (B, C, H, W) in channels_last memory format.

        The order of operations is torchvision's `ToTensor` and `Normalize`, and so is every bit in float32.
        """
        rows = pixels.flatten(2).float().div_(255).sub_(self.row_mean).div_(self.row_std)
        return rows.view(pixels.shape).permute(0, 3, 1, 2).to(dtype)

    def plain(self, index: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The images `index` (B,) unaugmented and normalised, (B, C, H, W) in channels_last memory format."""
        return self.normalise(self.centre(index), dtype)
