"""Mixed precision and process settings: what makes a step fast without changing what it computes."""

from __future__ import annotations

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from bench.errors import UsageError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# glibc's names for the two limits above which freed memory goes back to the system (malloc.h)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Precision:
    """How forward passes are computed: "fp32", "bf16" or "fp16" autocast on one device.

    The classifier layer, scores and losses are float32 under all three; see `bench.core.networks`.
    """

    name: str
    device: torch.device

    def __post_init__(self) -> None:
        if self.name not in DTYPES:
            raise UsageError(f"precision {self.name!r} is none of {', '.join(DTYPES)}")
        if self.name == "fp16" and self.device.type != "cuda":
            raise UsageError("fp16 needs a CUDA device; use --precision bf16 or fp32 on the CPU")

    def autocast(self) -> AbstractContextManager[object]:
        """The context that forward passes run in."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.name])

    def scaler(self) -> torch.amp.GradScaler:
        """A gradient scaler, at work only under fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")


def prepare_process(threads: int) -> None:
    """Set what belongs to the whole process: threads, true float32 on CUDA, and memory that stays with us."""
    torch.set_num_threads(threads)
    # TF32 would make "fp32" mean something else on a card than on a processor
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    keep_pages()


def keep_pages() -> bool:
    """Keep glibc from handing large blocks back to the system between steps; False where there is no glibc.

    Activations above its threshold would otherwise be unmapped after each step and faulted in again by the next.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
