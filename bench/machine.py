"""What this machine has, found out without importing torch wherever that is possible."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where a container's memory limit and use stand, under version 2 and 1 of control groups."""
# glibc's names for the two limits above which freed memory goes back to the system (malloc.h)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
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


def resolve_precision(name: str, device: str, declared: str, fast: bool | None = None) -> str:
    """What a run computes in: "auto" gives way to the data set's choice, and then to what the hardware does fast.

    `fast`: whether that is bfloat16 where runs are carried out; None asks this machine.
    """
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: there is none such. Type one of {', '.join(PRECISIONS)}")
    if name == "auto":
        name = declared
    if name == "auto":
        return "bf16" if (fast_bf16(device) if fast is None else fast) else "fp32"
    if name == "fp16" and not device.startswith("cuda"):
        raise UsageError("--precision fp16 needs a CUDA device: type --precision bf16 or --precision fp32")
    return name


def check_steps(name: str, device: str) -> None:
    """Raise UsageError where steps can't be carried out as `name` says on a device ("cpu", "cuda", "cuda:0")."""
    cuda = device.startswith("cuda")
    if name == "graph" and not cuda:
        raise UsageError("--steps graph: graphs need a CUDA device. Type --steps auto, eager or compiled")
    if name == "compiled" and (missing := _missing_to_compile(cuda)):
        raise UsageError(
            f"--steps compiled: torch.compile needs {missing}, which isn't here. Install it, or type --steps auto"
        )


def has_steps(name: str, device: str) -> bool:
    """Whether steps can be carried out as `name` says on a device."""
    try:
        check_steps(name, device)
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


def keep_pages() -> bool:
    """Keep glibc from handing large blocks back to the system between steps; False where there is no glibc.

    Activations above its threshold would otherwise be unmapped after each step and faulted in again by the next.
    """
    libc = _glibc()
    return libc is not None and bool(
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    )


def give_pages_back() -> None:
    """Hand free pages back to the system all the same, for libraries that map memory of their own."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library where it is GNU's."""
    found = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
    return ctypes.CDLL(None) if found else None


def memory() -> tuple[int, int] | None:
    """(available, total) bytes of memory, as far as this process may use it; None where the system doesn't say.

    A container's limit counts where it is lower than the machine's.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    available, total = found["MemAvailable"], found["MemTotal"]
    for limit, usage in CGROUPS:
        try:
            most, used = int(Path(limit).read_text()), int(Path(usage).read_text())
        except (OSError, ValueError):  # no such group, or "max"
            continue
        used -= _reclaimable(Path(limit).with_name("memory.stat"))
        total, available = min(total, most), min(available, max(0, most - used))
    return available, total


def free_bytes(device: str) -> tuple[float, float]:
    """Free bytes of (memory, the card's memory), infinite where that can't be told. Imports torch for a card only."""
    found = memory()
    host = float("inf") if found is None else float(found[0])
    if not device.startswith("cuda"):
        return host, host
    return host, float(cards()[int(device.partition(":")[2] or 0)]["free_bytes"])


def _reclaimable(statistics: Path) -> int:
    """Bytes of a control group's use that are file pages nobody has looked at lately, given up where memory is asked.

    `total_` stands before the names that count a group with those below it, under version 1.
    """
    try:
        lines = statistics.read_text(encoding="ascii").splitlines()
        found = {name: int(count) for name, count in (line.split() for line in lines)}
    except (OSError, ValueError):
        return 0
    return found.get("total_inactive_file", found.get("inactive_file", 0))


def cards() -> list[dict[str, Any]]:
    """Name, free and total memory in bytes of every CUDA device. Imports torch."""
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        found.append({"device": f"cuda:{number}", "name": name, "free_bytes": free, "total_bytes": total})
    return found


def fast_paths(device: str, precision: str) -> dict[str, str]:
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


def fast_bf16(device: str) -> bool:
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
