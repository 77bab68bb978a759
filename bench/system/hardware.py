"""The hardware of this machine, and what it can do: cores, GPUs, precisions, step modes.

Read `resolve_device` and `resolve_precision` first, which turn "auto" into a choice, then `share_cores`. torch is
imported only for questions about a GPU.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.system.errors import UsageError
from bench.system.memory_limits import has_hard_limit, keep_pages, read_memory

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class Hardware:
    """The hardware that runs are carried out on if that isn't this machine alone: what holds for all of several.

    `free` is bytes of (memory, a GPU's memory), infinite where unknown; `copies` is the number of runs that share it.
    """

    device: str
    fast_bf16: bool
    cores: int
    free: tuple[float, float]
    copies: int


def count_cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The name of the CPU's model."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(name: str) -> str:
    """The first value of this name in Linux's description of the CPU; "" where there is none."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


def share_cores(cores: int, runs: int, device: str, jobs: int | None) -> tuple[int, int]:
    """(jobs, threads of each): on the CPU as many jobs as cores and runs allow, on CUDA one unless `jobs` is given."""
    wanted = jobs if jobs is not None else (1 if device.startswith("cuda") else cores)
    at_once = max(1, min(wanted, max(1, runs)))
    return at_once, max(1, cores // at_once)


def resolve_device(name: str) -> str:
    """ "auto" -> "cuda" or "cpu"; any other name stays. Raises UsageError for a CUDA device that isn't there.

    torch is only imported if something hints at a GPU that it could use.
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
    """The precision that a run computes in: "auto" becomes the data set's choice, and then what the hardware does fast.

    `declared` is the data set's choice; `fast` says whether bfloat16 is fast where runs are carried out (None: this
    machine). Raises UsageError for an unknown precision, and for fp16 without a CUDA device.
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
    """Raise UsageError if the step mode `name` isn't possible on a device ("cpu", "cuda", "cuda:0")."""
    cuda = device.startswith("cuda")
    if name == "graph" and not cuda:
        raise UsageError("--steps graph: graphs need a CUDA device. Type --steps auto, eager or compiled")
    if name == "compiled" and (missing := _missing_to_compile(cuda)):
        raise UsageError(
            f"--steps compiled: torch.compile needs {missing}, which isn't here. Install it, or type --steps auto"
        )


def has_step_mode(name: str, device: str) -> bool:
    """Whether the step mode `name` is possible on a device."""
    try:
        check_step_mode(name, device)
    except UsageError:
        return False
    return True


def _missing_to_compile(cuda: bool) -> str | None:
    """The program or package that `torch.compile` lacks on this machine; None if it lacks none."""
    if cuda and importlib.util.find_spec("triton") is None:
        return "the package triton"
    chosen = os.environ.get("CC" if cuda else "CXX")
    names = [chosen] if chosen else ["gcc", "clang"] if cuda else ["g++", "clang++"]
    if not any(map(shutil.which, names)):
        return f"a {'C' if cuda else 'C++'} compiler ({' or '.join(names)})"
    return None


def free_bytes(device: str) -> tuple[float, float]:
    """Free bytes of (memory, the GPU's memory), infinite where unknown. Imports torch for a GPU only."""
    memory = read_memory()
    host = float("inf") if memory is None else float(memory[0])
    if not device.startswith("cuda"):
        return host, host
    return host, float(list_gpus()[gpu_number(device)]["free_bytes"])


def gpu_number(device: str) -> int:
    """The number of a CUDA device by its name: 0 for "cuda", 1 for "cuda:1"."""
    return int(device.partition(":")[2] or 0)


def list_gpus() -> list[dict[str, Any]]:
    """Name, free and total memory in bytes of every CUDA device. Imports torch."""
    import torch

    gpus = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        gpus.append({"device": f"cuda:{number}", "name": name, "free_bytes": free, "total_bytes": total})
    return gpus


def describe_fast_paths(device: str, precision: str) -> dict[str, str]:
    """The techniques that make training fast, by name: "on", or "off: " and the reason."""
    if device.startswith("cuda"):
        missing, no_bf16 = _missing_to_compile(cuda=True), "this GPU has no bfloat16"
        no_gain = "its gain has not been measured on a GPU"
        graphs = f"on: one recording a pass, but not under torchrun; {no_gain}"
        if precision == "fp16":
            graphs = "off: fp16's gradient scaler decides on the host whether a step counts"
    else:
        missing, no_bf16 = _missing_to_compile(cuda=False), "the processor has neither avx512_bf16 nor amx_bf16"
        no_gain = "bf16 gains nothing from it on a processor, and fp32 little"
        graphs = "off: there are graphs on CUDA devices only"
    why_not_compiled = f"torch.compile needs {missing}" if missing else f"{no_gain}; --steps compiled turns it on"
    why_freed = "free ones count against this process's limit" if has_hard_limit() else "there is no glibc here"
    return {
        "mixed precision": f"off: {no_bf16}" if precision == "fp32" else f"on: {precision}",
        "channels last": "on",
        "fused optimiser": "on",
        "allocator keeps its pages": "on" if keep_pages() else f"off: {why_freed}",
        "steps as a CUDA graph": graphs,
        "compiled networks": f"off: {why_not_compiled}",
    }


def _cuda_hinted() -> bool:
    """Whether something hints at a GPU: NVIDIA's device files or tool, those of WSL, or ROCm's (CUDA to torch)."""
    files = any(Path("/dev").glob("nvidia[0-9]*")) or any(Path(file).exists() for file in ("/dev/dxg", "/dev/kfd"))
    return files or shutil.which("nvidia-smi") is not None


def has_fast_bf16(device: str) -> bool:
    """Whether this machine computes in bfloat16 without emulating it; imports torch for a GPU only."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(BF16_FLAGS & set(_cpu_info("flags").split()))
