"""What this machine has, found out without importing torch wherever that is possible."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.system.errors import UsageError
from bench.system.memory_limits import keep_pages, read_memory

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class Hardware:
    """What runs are carried out on where that isn't this machine alone: of several, what holds for all of them.

    `free` is bytes of (memory, a card's memory), infinite where that can't be told; `copies` is how many runs share it.
    """

    device: str
    fast_bf16: bool
    cores: int
    free: tuple[float, float]
    copies: int


def count_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def share_cores(cores_here: int, runs: int, device: str, jobs: int | None) -> tuple[int, int]:
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
    number = gpu_number(name)
    if number >= count:
        have = f"this machine has cuda:0 to cuda:{count - 1}" if count else "torch finds no CUDA device here"
        raise UsageError(f"--device {name}: {have}. Type --device {'cuda:0' if count else 'cpu'} or --device auto")
    return name


def resolve_precision(name: str, device: str, declared: str, fast: bool | None = None) -> str:
    """What a run computes in: "auto" gives way to the data set's choice, and then to what the hardware does fast.

    `fast`: whether that is bfloat16 where runs are carried out; None asks this machine.
    """
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: there is none such. Type one of {', '.join(PRECISIONS)}")
    if name == "auto":
        name = declared
    if name == "auto":
        return "bf16" if (has_fast_bf16(device) if fast is None else fast) else "fp32"
    if name == "fp16" and not device.startswith("cuda"):
        raise UsageError("--precision fp16 needs a CUDA device: type --precision bf16 or --precision fp32")
    return name


def check_step_mode(name: str, device: str) -> None:
    """Raise UsageError where steps can't be carried out as `name` says on a device ("cpu", "cuda", "cuda:0")."""
    cuda = device.startswith("cuda")
    if name == "graph" and not cuda:
        raise UsageError("--steps graph: graphs need a CUDA device. Type --steps auto, eager or compiled")
    if name == "compiled" and (missing := _missing_to_compile(cuda)):
        raise UsageError(
            f"--steps compiled: torch.compile needs {missing}, which isn't here. Install it, or type --steps auto"
        )


def has_step_mode(name: str, device: str) -> bool:
    """Whether steps can be carried out as `name` says on a device."""
    try:
        check_step_mode(name, device)
    except UsageError:
        return False
    return True


def _missing_to_compile(cuda: bool) -> str | None:
    """What `torch.compile` needs and this machine hasn't; None where it has all."""
    if cuda and importlib.util.find_spec("triton") is None:
        return "the package triton"
    chosen = os.environ.get("CC" if cuda else "CXX")
    names = [chosen] if chosen else ["gcc", "clang"] if cuda else ["g++", "clang++"]
    if not any(map(shutil.which, names)):
        return f"a {'C' if cuda else 'C++'} compiler ({' or '.join(names)})"
    return None


def free_bytes(device: str) -> tuple[float, float]:
    """Free bytes of (memory, the card's memory), infinite where that can't be told. Imports torch for a card only."""
    found = read_memory()
    host = float("inf") if found is None else float(found[0])
    if not device.startswith("cuda"):
        return host, host
    return host, float(list_gpus()[gpu_number(device)]["free_bytes"])


def gpu_number(device: str) -> int:
    """The number of a CUDA device by its name: 0 for "cuda", 1 for "cuda:1"."""
    return int(device.partition(":")[2] or 0)


def list_gpus() -> list[dict[str, Any]]:
    """Name, free and total memory in bytes of every CUDA device. Imports torch."""
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        found.append({"device": f"cuda:{number}", "name": name, "free_bytes": free, "total_bytes": total})
    return found


def describe_fast_paths(device: str, precision: str) -> dict[str, str]:
    """What makes training fast here, by name: "on", or "off: " and why not."""
    cuda = device.startswith("cuda")
    low = precision != "fp32"
    why_not = "this card has no bfloat16" if cuda else "the processor has neither avx512_bf16 nor amx_bf16"
    return {
        "mixed precision": f"on: {precision}" if low else f"off: {why_not}",
        "channels last": "on",
        "fused optimiser": "on",
        "allocator keeps its pages": "on" if keep_pages() else "off: there is no glibc here",
        "steps as a CUDA graph": _graphs(cuda, precision),
        "compiled networks": _compiled(cuda),
    }


def _graphs(cuda: bool, precision: str) -> str:
    if not cuda:
        return "off: there are graphs on CUDA devices only"
    if precision == "fp16":
        return "off: fp16's gradient scaler decides on the host whether a step counts"
    return "on: one recording a pass, but not under torchrun; its gain has not been measured on a card"


def _compiled(cuda: bool) -> str:
    if missing := _missing_to_compile(cuda):
        return f"off: torch.compile needs {missing}"
    if cuda:
        return "off: its gain has not been measured on a card; --steps compiled turns it on"
    return "off: bf16 gains nothing from it on a processor, and fp32 little; --steps compiled turns it on"


def _cuda_hinted() -> bool:
    """Whether something tells of a card: NVIDIA's device files or tool, those of WSL, or ROCm's (CUDA to torch)."""
    files = any(Path("/dev").glob("nvidia[0-9]*")) or any(Path(file).exists() for file in ("/dev/dxg", "/dev/kfd"))
    return files or shutil.which("nvidia-smi") is not None


def has_fast_bf16(device: str) -> bool:
    """Whether this machine computes in bfloat16 without emulating it; imports torch for a card only."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return bool(BF16_FLAGS & set(flags.split()))
