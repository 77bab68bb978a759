"""Mixed precision and process settings: what makes a step fast without changing what it computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from bench.system.errors import UsageError
from bench.system.memory_limits import keep_pages

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """The precision of forward passes: "fp32", "bf16" or "fp16" autocast on one device.

    The classifier layer, scores and losses are float32 under all three; see `bench.training.networks`.
    """

    name: str
    device: torch.device

    def __post_init__(self) -> None:
        if self.name not in DTYPES:
            raise UsageError(f"precision {self.name!r} is none of {', '.join(DTYPES)}")
        if self.name == "fp16" and self.device.type != "cuda":
            raise UsageError("fp16 needs a CUDA device; use --precision bf16 or fp32 on the CPU")

    def autocast(self) -> AbstractContextManager[object]:
        """The context of forward passes."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.name])

    def scaler(self) -> torch.amp.GradScaler:
        """A gradient scaler, enabled only under fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")


def prepare_process(threads: int) -> None:
    """Set up the whole process: threads, true float32 on CUDA, and an allocator that keeps freed memory."""
    torch.set_num_threads(threads)
    # TF32 would make "fp32" mean something else on a GPU than on a CPU
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    keep_pages()


def limit_gpu_memory(device: torch.device, most: int) -> None:
    """Limit the tensors of this process to `most` bytes of its GPU, so that other processes have theirs."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, most / total), device)
