"""The image sets of a run (training part, hold-out, test set), on the device, in the host's memory or on disk.

Read `ImageSets.store` first: it chooses one of three placements behind one interface (`Images`). On the device it is
an `ImageStore`; in memory and on disk it is a `BatchStore`, which reads a batch at a time, ahead of the step that needs
it, and makes a small `ImageStore` of it, so that augmentation, normalisation and every bit of the result are the same.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.training.images.decoder_workers import DecoderWorkers
from bench.training.images.image_store import Images, ImageStore, worth_mirroring
from bench.training.images.vector_store import VectorStore
from datasets.arrays import blocks
from datasets.samples import Pixels
from datasets.selected import select

Read = Callable[[Iterable[Tensor]], Iterator[Tensor]]
"""Indices int64 (B,) on the CPU -> the samples of each, as they are stored, in pinned memory if they go to a GPU."""


class BatchStore:
    """Images that aren't on the device; each batch becomes a store like `template` (device, padding, normalisation).

    Copies to a GPU run on a stream of their own, one batch before the step that needs it; the host never waits.
    """

    def __init__(self, samples: int, read: Read, template: ImageStore) -> None:
        self.size, self.channels, self.device = template.size, template.channels, template.device
        self.index_device = torch.device("cpu")
        self._samples, self._read, self._template = samples, read, template
        self._stream: torch.cuda.Stream | None = None
        if template.device.type == "cuda":
            self._stream = torch.cuda.Stream(template.device)  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return self._samples

    def prefetch(self, indices: Iterable[Tensor]) -> Iterator[tuple[ImageStore, Tensor]]:
        """For each index (B,): a store of these images only, and their positions in it."""
        batches = self._read(indices)
        for batch in batches if self._stream is None else self._copy(batches, self._stream):
            yield self._template.with_images(len(batch), [batch]), torch.arange(len(batch), device=self.device)

    def _copy(self, batches: Iterator[Tensor], stream: torch.cuda.Stream) -> Iterator[Tensor]:
        """The batches on the GPU. While one is used, the next is being copied."""
        copying: deque[tuple[Tensor, torch.cuda.Event]] = deque()
        for batch in batches:
            with torch.cuda.stream(stream):
                copy = batch.to(self.device, non_blocking=True)
                copying.append((copy, stream.record_event()))
            if len(copying) > 1:
                yield self._wait_for_copy(*copying.popleft())
        while copying:
            yield self._wait_for_copy(*copying.popleft())

    def _wait_for_copy(self, copy: Tensor, event: torch.cuda.Event) -> Tensor:
        """Let the current stream wait for a copy; the host goes on."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(event)
        # the copy's memory belongs to the other stream, which must not reuse it before this one has used it
        copy.record_stream(current)
        return copy


def gather_batches(images: Pixels, pin: bool) -> Read:
    """A reader of batches from memory, or from a memory-mapped array, which the system caches as long as it can."""
    selected = select(images, np.arange(len(images)))
    array = selected.source
    if not isinstance(array, np.ndarray):
        array, start = np.empty(selected.shape, dtype=selected.dtype), 0
        for block in read_image_blocks(selected):
            array[start : start + len(block)] = block
            start += len(block)
        selected = select(array, np.arange(len(array)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # it is only read
        pixels = torch.from_numpy(array)
    rows = torch.from_numpy(selected.index)

    def read(indices: Iterable[Tensor]) -> Iterator[Tensor]:
        for index in indices:
            batch = torch.empty((len(index), *pixels.shape[1:]), dtype=pixels.dtype, pin_memory=pin)
            yield torch.index_select(pixels, 0, rows[index], out=batch)

    return read


def join_chunks(chunks: Callable[[Iterable[Tensor]], Iterator[list[Tensor]]], pin: bool) -> Read:
    """A reader of batches, joined from the chunks that worker processes read."""

    def read(indices: Iterable[Tensor]) -> Iterator[Tensor]:
        for batch_chunks in chunks(indices):
            shape = (sum(map(len, batch_chunks)), *batch_chunks[0].shape[1:])
            joined = torch.empty(shape, dtype=batch_chunks[0].dtype, pin_memory=pin)
            yield torch.cat(batch_chunks, out=joined)

    return read


def read_image_blocks(images: Pixels) -> Iterator[NDArray[Any]]:
    """All images or vectors, about 64 MiB at a time."""
    steps = blocks(images)
    for start in steps:
        yield images[np.arange(start, min(start + steps.step, len(images)))]


class ImageSets:
    """A run's images by part ("train", "held", "test"); `placement` is "device", "host" or "disk".

    Images on disk are read by `workers` processes, which start at their first use; `close` ends them.
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

    def store(self, part: str, device: torch.device, pad: int = 0, flips: bool = False) -> Images:
        """A part's images for a device, with a border of `pad` pixels; `flips`: mirror images are going to be used."""
        images = self._parts[part]
        template = self._template(images, device, pad)
        if self.placement == "device":
            mirrored = flips and worth_mirroring(len(images), template.size, template.channels, pad, device)
            return template.with_images(len(images), map(torch.from_numpy, read_image_blocks(images)), mirrored)
        pin = device.type == "cuda"
        if self._decoders is None:
            return BatchStore(len(images), gather_batches(images, pin), template)
        number = list(self._parts).index(part)
        return BatchStore(len(images), join_chunks(partial(self._decoders.read, number), pin), template)

    def _template(self, images: Pixels, device: torch.device, pad: int) -> ImageStore:
        """A store of no samples for the device, with the normalisation of all."""
        if len(images.shape) == 3:
            dtype = torch.float16 if images.dtype == np.float16 else torch.float32
            nothing = torch.empty((0, *images.shape[1:]), dtype=dtype, device=device)
            return VectorStore(nothing, self._mean, self._std)
        nothing = torch.empty((0, *images.shape[1:]), dtype=torch.uint8, device=device)
        return ImageStore(nothing, self._mean, self._std, pad)

    def close(self) -> None:
        """End the processes that read images."""
        if self._decoders is not None:
            self._decoders.close()
