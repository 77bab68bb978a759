"""What this machine has, found out without importing torch wherever that is possible."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from bench.errors import UsageError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def share(cores_here: int, runs: int, device: str, jobs: int | None) -> tuple[int, int]:
    """(jobs, threads of each): on the CPU as many jobs as cores and runs allow, on CUDA one unless `jobs` is given."""
    wanted = jobs if jobs is not None else (1 if device.startswith("cuda") else cores_here)
    at_once = max(1, min(wanted, max(1, runs)))
    return at_once, max(1, cores_here // at_once)


def resolve_device(name: str) -> str:
    """ "auto" -> "cuda" or "cpu"; any other name stays. Raises UsageError for a CUDA device that isn't there.

    torch is only imported where something hints at a card that it could use.
    """
    if name == "cpu" or (name == "auto" and not _cuda_hinted()):
        return "cpu"
    if not _cuda_hinted():
        raise UsageError(f"--device {name}: this machine has no CUDA device. Type --device cpu or --device auto")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    number = int(name.partition(":")[2] or 0)
    if number >= count:
        have = f"this machine has cuda:0 to cuda:{count - 1}" if count else "torch finds no CUDA device here"
        raise UsageError(f"--device {name}: {have}. Type --device {'cuda:0' if count else 'cpu'} or --device auto")
    return name


def resolve_precision(name: str, device: str, declared: str) -> str:
    """What a run computes in: "auto" gives way to the data set's choice, and then to what the hardware does fast."""
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: there is none such. Type one of {', '.join(PRECISIONS)}")
    if name == "auto":
        name = declared
    if name == "auto":
        return "bf16" if _fast_bf16(device) else "fp32"
    if name == "fp16" and not device.startswith("cuda"):
        raise UsageError("--precision fp16 needs a CUDA device: type --precision bf16 or --precision fp32")
    return name


def _cuda_hinted() -> bool:
    """Whether something tells of a card: NVIDIA's device files or tool, those of WSL, or ROCm's (CUDA to torch)."""
    files = any(Path("/dev").glob("nvidia[0-9]*")) or any(Path(file).exists() for file in ("/dev/dxg", "/dev/kfd"))
    return files or shutil.which("nvidia-smi") is not None


def _fast_bf16(device: str) -> bool:
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return bool(BF16_FLAGS & set(flags.split()))
