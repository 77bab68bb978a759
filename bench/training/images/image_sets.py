"""Images that don't lie on the device: read a batch at a time, ahead of the step that needs them.

Three placements, one interface (`Images`): on the device (`ImageStore`), in the host's memory, or on disk, read by
worker processes. The last two are a `BatchStore`, which hands over a small `ImageStore` for every batch, so that
augmentation, normalisation and every bit of the result are the same.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench.training.augmentation import Augmentation
from bench.training.images.decoder_workers import DecoderWorkers
from bench.training.images.image_store import Images, ImageStore, worth_mirroring
from datasets.arrays import blocks
from datasets.interface import Pixels
from datasets.selected import select

Read = Callable[[Iterable[Tensor]], Iterator[Tensor]]
"""Indices int64 (B,) on the CPU -> for each its images uint8 (B, H, W, C), in pinned memory where a card takes them."""

CPU = torch.device("cpu")


class BatchStore:
    """Images that lie elsewhere, handed over on `like`'s device with its padding and normalisation.

    To a card they go on a stream of their own, one batch before the step that needs them, and no step waits for it
    on the host.
    """

    def __init__(self, samples: int, read: Read, like: ImageStore) -> None:
        self._samples, self._read, self._like = samples, read, like
        self._stream: torch.cuda.Stream | None = None
        if like.device.type == "cuda":
            self._stream = torch.cuda.Stream(like.device)  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return self._samples

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images, without padding."""
        return self._like.size

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self._like.channels

    @property
    def device(self) -> torch.device:
        """Where batches are handed over."""
        return self._like.device

    @property
    def indexed_on(self) -> torch.device:
        """Where `ahead` wants its indices: where images are looked up."""
        return CPU

    def ahead(self, indices: Iterable[Tensor]) -> Iterator[tuple[ImageStore, Tensor]]:
        """For each index (B,): a store of just these images, and their positions in it."""
        batches = self._read(indices)
        for batch in batches if self._stream is None else self._sent(batches, self._stream):
            yield self._like.holding(len(batch), [batch]), torch.arange(len(batch), device=self.device)

    def _sent(self, batches: Iterator[Tensor], stream: torch.cuda.Stream) -> Iterator[Tensor]:
        """The batches on the card. While one is handed over, the next is on its way."""
        under_way: deque[tuple[Tensor, torch.cuda.Event]] = deque()
        for batch in batches:
            with torch.cuda.stream(stream):
                moved = batch.to(self.device, non_blocking=True)
                under_way.append((moved, stream.record_event()))
            if len(under_way) > 1:
                yield self._arrived(*under_way.popleft())
        while under_way:
            yield self._arrived(*under_way.popleft())

    def _arrived(self, moved: Tensor, event: torch.cuda.Event) -> Tensor:
        current = torch.cuda.current_stream(self.device)
        current.wait_event(event)
        # its memory belongs to the other stream, which must not reuse it before this one is done with it
        moved.record_stream(current)
        return moved


def gather_batches(images: Pixels, pin: bool) -> Read:
    """Batches gathered from memory, or from a memory-mapped array, which the system keeps there as long as it can."""
    chosen = select(images, np.arange(len(images)))
    array = chosen.source
    if not isinstance(array, np.ndarray):
        array, start = np.empty(chosen.shape, dtype=np.uint8), 0
        for block in read_image_blocks(chosen):
            array[start : start + len(block)] = block
            start += len(block)
        chosen = select(array, np.arange(len(array)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # it is only read
        pixels = torch.from_numpy(array)
    rows = torch.from_numpy(chosen.index)

    def read(indices: Iterable[Tensor]) -> Iterator[Tensor]:
        for index in indices:
            batch = torch.empty((len(index), *pixels.shape[1:]), dtype=torch.uint8, pin_memory=pin)
            yield torch.index_select(pixels, 0, rows[index], out=batch)

    return read


def join_chunks(chunks: Callable[[Iterable[Tensor]], Iterator[list[Tensor]]], pin: bool) -> Read:
    """Batches put together from the chunks that worker processes read."""

    def read(indices: Iterable[Tensor]) -> Iterator[Tensor]:
        for parts in chunks(indices):
            batch = torch.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=torch.uint8, pin_memory=pin)
            yield torch.cat(parts, out=batch)

    return read


def read_image_blocks(images: Pixels) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """All images, about 64 MiB at a time."""
    steps = blocks(images)
    for start in steps:
        yield images[np.arange(start, min(start + steps.step, len(images)))]


class ImageSets:
    """A run's images by part ("train", "held", "test"), kept where `placement` says: "device", "host" or "disk".

    Images on disk are read by `workers` processes, which begin with their first use; close the gallery to end them.
    """

    def __init__(
        self,
        parts: Mapping[str, Pixels],
        mean: Sequence[float],
        std: Sequence[float],
        placement: str = "device",
        workers: int = 1,
    ) -> None:
        self.placement = placement
        self._parts, self._mean, self._std = dict(parts), mean, std
        self._decoders = DecoderWorkers(list(self._parts.values()), workers) if placement == "disk" else None

    def store(self, part: str, device: torch.device, augmentations: Sequence[Augmentation] = ()) -> Images:
        """A part's images for a device, with what these augmentations want of them: a border, mirror images."""
        pad = max((augmentation.pad for augmentation in augmentations), default=0)
        flips = any(augmentation.flip is not None for augmentation in augmentations)
        images = self._parts[part]
        height, width, channels = images.shape[1:]
        nothing = torch.empty((0, height, width, channels), dtype=torch.uint8, device=device)
        like = ImageStore(nothing, self._mean, self._std, pad)
        if self.placement == "device":
            mirrored = flips and worth_mirroring(len(images), like.size, like.channels, pad, device)
            return like.holding(len(images), map(torch.from_numpy, read_image_blocks(images)), mirrored)
        pin = device.type == "cuda"
        if self._decoders is None:
            return BatchStore(len(images), gather_batches(images, pin), like)
        number = list(self._parts).index(part)
        return BatchStore(len(images), join_chunks(partial(self._decoders.read, number), pin), like)

    def close(self) -> None:
        """End the processes that read images."""
        if self._decoders is not None:
            self._decoders.close()
