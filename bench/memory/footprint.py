"""What memory a run takes, estimated before it starts, by the parts that take it. No torch, unless it must be asked.

The answer is a function of the code and of sizes, so it is kept in the cache folder: torch is imported for the first
asking only.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.registry.timm_names import PREFIX
from bench.spec import ImagePlace
from bench.system.memory_limits import INFERENCE_BATCH

MEBIBYTE = 1 << 20
GPU_CONTEXT = 600 * MEBIBYTE
"""What a process takes on a card before its first tensor: context, kernels, workspaces. ASSUMPTION, unmeasured."""
FRAGMENTED_HEAP, FRAGMENTED_GPU = 2.0, 1.25
"""What an allocator takes over the tensors that live in it at their peak, since blocks don't fit one another.

On the processor it keeps its pages, and what a step left is seldom of use to an evaluation's larger tensors; measured
by `benchmarks/memory.py`. Of a card it is an ASSUMPTION, unmeasured.
"""

GENEROUS_BASE = 2048 * MEBIBYTE
GENEROUS_STEP, GENEROUS_EVALUATION = 5120, 320
"""More than any method takes on any backbone of ours: libraries and networks, and the bytes of a step, or of an
evaluation, for each byte of its float32 images. Tested."""


@dataclass(frozen=True)
class DataSizes:
    """What the memory of a run depends on beside its spec.

    `stored`: images of the data set, test images included; `where`: the place that a run keeps its images in.
    """

    classes: int
    image_shape: tuple[int, int, int]
    stored: int
    train: int
    test: int
    where: ImagePlace = "device"

    @property
    def pixels(self) -> int:
        """Values of one image, bytes of it as it is stored."""
        height, width, channels = self.image_shape
        return height * width * channels


@dataclass(frozen=True)
class Footprint:
    """Bytes of one run, by what takes them.

    `process`: interpreter, libraries and their working memory; `shared`: pages of libraries, which all processes share.
    `data`: the data set as it was loaded. `images`: training part, hold-out and test set in the padded form that
    training uses. `networks`: weights, gradients, the optimiser's memory, averages, memory per sample. `recorded`: what
    a step that is recorded as a CUDA graph keeps for itself. `step`, `evaluation`, `loading`: what a training step, an
    evaluation and the preparation of the images take beyond all that, of which one happens at a time.
    """

    process: int
    shared: int
    data: int
    images: int
    networks: int
    step: int
    evaluation: int
    loading: int
    recorded: int = 0

    @property
    def work(self) -> int:
        """What is done takes of the machine's memory, kept by an allocator that gives nothing back."""
        return int(FRAGMENTED_HEAP * (self.step + self.evaluation)) + self.loading

    @property
    def on_cpu(self) -> int:
        """What each run takes of its own where it computes on the processor."""
        return self.process + self.data + self.images + self.networks + self.work

    @property
    def on_gpu(self) -> int:
        """What each run takes of a card's memory."""
        work = self.recorded + max(self.step, self.evaluation, self.loading)
        return GPU_CONTEXT + self.images + self.networks + int(FRAGMENTED_GPU * work)

    @property
    def beside_gpu(self) -> int:
        """What each run takes of the machine's memory where it computes on a card."""
        return self.process + self.data + self.loading


def generous_bytes(model: str, batch_size: int, members: int, sizes: DataSizes, device: str) -> int | None:
    """More bytes than any run of this kind takes, without asking torch; None where only torch can tell."""
    if model.startswith(PREFIX):
        return None
    image = 4 * sizes.pixels
    work = image * (GENEROUS_STEP * batch_size + GENEROUS_EVALUATION * INFERENCE_BATCH[device.partition(":")[0]])
    return GENEROUS_BASE * members + 8 * sizes.stored * sizes.pixels + work
