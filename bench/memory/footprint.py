"""The memory of a run as numbers: the sizes that it depends on, and its bytes by the parts that take them. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.registry.timm_names import PREFIX
from bench.spec import ImagePlace
from bench.system.memory_limits import INFERENCE_BATCH

if TYPE_CHECKING:
    from datasets.samples import VectorShape

MEBIBYTE = 1 << 20
GPU_CONTEXT = 600 * MEBIBYTE
"""Bytes of a GPU that a process takes before its first tensor: context, kernels, workspaces. ASSUMPTION, unmeasured."""
FRAGMENTED_HEAP, FRAGMENTED_GPU = 2.0, 1.25
"""Bytes that an allocator takes for each byte of the tensors at their peak, since blocks don't fit one another.

On the CPU it keeps its pages, and blocks that a step leaves are seldom of use to an evaluation's larger tensors;
measured by `benchmarks/memory.py`. Of a GPU it is an ASSUMPTION, unmeasured.
"""
BOUND_BASE = 2048 * MEBIBYTE
BOUND_STEP, BOUND_EVALUATION = 5120, 320
"""More than any method takes on any backbone of ours: libraries and networks, and the bytes of a step, or of an
evaluation, for each byte of its float32 images. Tested."""


@dataclass(frozen=True)
class DataSizes:
    """The sizes of the data that a run's memory depends on, beside its spec.

    `image_shape` is (height, width, channels), of `vectors` (1, 1, D); `stored` counts the samples of the data set,
    test samples included. `where` is the place of the run's samples.
    """

    classes: int
    image_shape: tuple[int, int, int]
    stored: int
    train: int
    test: int
    where: ImagePlace = "device"
    vectors: VectorShape | None = None

    @property
    def values(self) -> int:
        """Values of one image or vector, as a network takes it."""
        height, width, channels = self.image_shape
        return height * width * channels

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample as it is stored."""
        return self.values if self.vectors is None else self.vectors.sample_bytes


@dataclass(frozen=True)
class Footprint:
    """Bytes of one run, by the parts that take them."""

    process: int
    """Interpreter, libraries and their working memory."""
    shared: int
    """Pages of libraries, which all processes share."""
    data: int
    """The data set as it was loaded."""
    images: int
    """Training part, hold-out and test set in the padded form that training uses."""
    networks: int
    """Weights, gradients, the optimiser's memory, averages, memory per sample."""
    step: int
    """A training step, beyond all that."""
    evaluation: int
    """An evaluation, beyond all that; never at the same time as a step."""
    loading: int
    """The preparation of the images, before the first step."""
    recorded: int = 0
    """The memory that a step recorded as a CUDA graph keeps for itself."""

    @property
    def work(self) -> int:
        """Bytes of main memory for steps, evaluations and loading, with an allocator that gives nothing back."""
        return int(FRAGMENTED_HEAP * (self.step + self.evaluation)) + self.loading

    @property
    def on_cpu(self) -> int:
        """Bytes that a run has for itself if it computes on the CPU."""
        return self.process + self.data + self.images + self.networks + self.work

    @property
    def on_gpu(self) -> int:
        """Bytes that a run takes of a GPU's memory."""
        work = self.recorded + max(self.step, self.evaluation, self.loading)
        return GPU_CONTEXT + self.images + self.networks + int(FRAGMENTED_GPU * work)

    @property
    def beside_gpu(self) -> int:
        """Bytes that a run has of main memory for itself if it computes on a GPU."""
        return self.process + self.data + self.loading


def upper_bound(model: str, batch_size: int, members: int, sizes: DataSizes, device: str) -> int | None:
    """More bytes than any run of this kind takes; None for timm's models, of which only torch knows the size."""
    if model.startswith(PREFIX):
        return None
    image = 4 * sizes.values
    inferred = INFERENCE_BATCH[device.partition(":")[0]]
    work = image * (BOUND_STEP * batch_size + BOUND_EVALUATION * inferred)
    return BOUND_BASE * members + 8 * sizes.stored * max(sizes.values, sizes.sample_bytes) + work
