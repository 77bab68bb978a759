"""Memory that runs out: how it shows, and how it is made to show as an error instead of a killed process. No torch."""

from __future__ import annotations

import ctypes
import mmap
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where a container's memory limit and use stand, under version 2 and 1 of control groups."""
# glibc's names for the two limits above which freed memory goes back to the system (malloc.h)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


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


def read_memory() -> tuple[int, int] | None:
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


SIGNS = (
    "can't allocate memory",  # PyTorch's allocator on the processor
    "cannot allocate memory",  # the system's word for it
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "could not create a memory",  # oneDNN, of its buffers
    "could not create a primitive",  # and of the pages for code that it makes
)
"""What messages of RuntimeError say where memory ran out."""
RESERVED = 256 << 20
"""Bytes that are kept for looking for a batch that fits after one didn't: each size tried takes some."""
INFERENCE_BATCH = {"cpu": 512, "cuda": 4096}
"""Images that are inferred at once, where they have up to 64 x 64 pixels."""
KILLS = (
    ("/sys/fs/cgroup/memory.events", "oom_kill"),
    ("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill"),
    ("/proc/vmstat", "oom_kill"),
)
"""Where the kernel counts processes that it killed to get memory back: of a container, and of the machine."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory ran out, of a card or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def count_oom_kills() -> int:
    """Processes that the kernel has killed for their memory so far, as far as it says."""
    total = 0
    for file, name in KILLS:
        with suppress(OSError, ValueError):
            for line in Path(file).read_text(encoding="ascii").splitlines():
                if line.partition(" ")[0] == name:
                    total += int(line.split()[1])
    return total


def process_memory_limit() -> int | None:
    """Bytes that this process may take: the machine's or container's memory, or its own limit where that is lower."""
    found = read_memory()
    limits = [] if found is None else [found[1]]
    limits += [soft for soft in (resource.getrlimit(each)[0] for each in _LIMITS) if soft != resource.RLIM_INFINITY]
    return min(limits, default=None)


@contextmanager
def memory_bound() -> Iterator[None]:
    """In here, an allocation fails that the memory available at the start couldn't back; elsewhere than on Linux, no.

    Linux promises more memory than there is, and kills a process that then uses it. With the limit the process is told
    instead, and can say what didn't fit. It bounds private writable memory, which libraries' and files' pages are not.
    A limit of the user's own stays.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(OSError, ValueError):
        _reserve.append(mmap.mmap(-1, RESERVED, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    bound = _backed()
    if bound is not None and before[0] == resource.RLIM_INFINITY:
        _bound_by(bound)
    try:
        yield
    finally:
        _give_up_reserve()
        _ours.clear()
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, before)


def free_reserve() -> None:
    """After memory has run out: what was reserved is given up, and a bound of ours is set anew for what is there now.

    A heap that was filled to its limit is free but scattered; what libraries map beside it needs room of its own.
    """
    _give_up_reserve()
    bound = _backed()
    if bound is not None and resource.getrlimit(resource.RLIMIT_DATA)[0] in _ours:
        _bound_by(bound)


def _bound_by(bound: int) -> None:
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (bound, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        _ours.append(bound)


def _give_up_reserve() -> None:
    while _reserve:
        _reserve.pop().close()


_ours: list[int] = []
"""Bounds that were set here, so that the user's own limits are left alone."""
_reserve: list[mmap.mmap] = []
"""Untouched pages, which take no memory but count against a limit."""
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA)


def _backed() -> int | None:
    """Bytes of this process's data now, and what the machine has beside: available memory and free swap."""
    found = read_memory()
    data, swap = _kibibytes("/proc/self/status", "VmData"), _kibibytes("/proc/meminfo", "SwapFree")
    return None if found is None or data is None else data + found[0] + (swap or 0)


def _kibibytes(file: str, name: str) -> int | None:
    """A value that the kernel gives in kB, in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
