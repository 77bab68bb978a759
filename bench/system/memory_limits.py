"""Available memory, and a limit that makes a lack of it an error instead of a killed process. No torch.

Read `read_memory` first, then `memory_bound`, which every worker runs under, and `is_out_of_memory`.
"""

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
"""Files of a container's memory limit and use, under version 2 and 1 of control groups."""
# glibc's names (malloc.h) for the two limits above which freed memory goes back to the system
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# and for the number of heaps that threads share
_M_ARENA_MAX = -8
_MAPPED_ALONE = 1 << 20
"""Bytes from which a block is mapped by itself where pages aren't kept."""
_MEMORY = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
"""The limits of a process's memory that count here."""


def keep_pages() -> bool:
    """Keep glibc from handing large blocks back to the system between steps; False where it doesn't.

    Activations above its threshold would otherwise be unmapped after each step and faulted in again by the next. Where
    the process has a limit of its own (ulimit), kept pages count against it though they are free, so there large
    blocks are mapped one by one; and without glibc nothing changes.
    """
    libc = _glibc()
    if libc is None:
        return False
    if has_hard_limit():
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_ALONE)
        return False
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def has_hard_limit() -> bool:
    """Whether this process may not raise the limit of its memory: one of the user's own, as by ulimit."""
    return any(resource.getrlimit(limit)[1] != resource.RLIM_INFINITY for limit in _MEMORY)


def give_pages_back() -> None:
    """Hand free pages back to the system, for libraries that map memory of their own."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def use_one_heap() -> None:
    """Let threads that begin from now on take memory from the main heap, which may have free pages in its middle."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, 1)


def _glibc() -> ctypes.CDLL | None:
    """The C library if it is GNU's."""
    is_glibc = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
    return ctypes.CDLL(None) if is_glibc else None


def read_memory() -> tuple[int, int] | None:
    """(available, total) bytes of memory that this process may use; None if the system doesn't say.

    A container's limit counts if it is lower than the machine's memory.
    """
    available, total = _kernel_value("/proc/meminfo", "MemAvailable"), _kernel_value("/proc/meminfo", "MemTotal")
    if available is None or total is None:
        return None
    for limit, usage in CGROUPS:
        try:
            most, used = int(Path(limit).read_text()), int(Path(usage).read_text())
        except (OSError, ValueError):
            continue  # no such group, or "max"
        # File pages unused lately are given up for other uses. Version 1 has `total_` for a group with those below it.
        statistics = Path(limit).with_name("memory.stat")
        used -= _kernel_value(statistics, "total_inactive_file") or _kernel_value(statistics, "inactive_file") or 0
        total, available = min(total, most), min(available, max(0, most - used))
    return available, total


SIGNS = (
    "can't allocate memory",  # PyTorch's allocator on the CPU
    "cannot allocate memory",  # the system's message
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "could not create a memory",  # oneDNN, of its buffers
    "could not create a primitive",  # and of the pages for code that it makes
)
"""Parts of the messages of a RuntimeError that memory ran out."""
RESERVED = 256 << 20
"""Bytes in reserve for the search of a batch that fits after one didn't: each size that is tried takes some."""
INFERENCE_BATCH = {"cpu": 512, "cuda": 4096}
"""Images of an inference batch by device, if they have up to 64 x 64 pixels."""
KILLS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat")
"""Files with the kernel's counts of processes that it killed for memory: of a container, and of the machine."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory ran out, of a GPU or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def count_oom_kills() -> int:
    """The processes that the kernel has killed for their memory so far, as far as it says."""
    return sum(_kernel_value(file, "oom_kill") or 0 for file in KILLS)


def process_memory_limit() -> int | None:
    """The bytes that this process may take: the machine's or container's memory, or its own limit if that is lower."""
    memory = read_memory()
    limits = [] if memory is None else [memory[1]]
    own_limits = [resource.getrlimit(limit)[0] for limit in _MEMORY]
    limits += [limit for limit in own_limits if limit != resource.RLIM_INFINITY]
    return min(limits, default=None)


@contextmanager
def memory_bound() -> Iterator[None]:
    """A context in which allocations beyond the memory that was available at its start fail (on Linux only).

    Linux promises more memory than there is, and kills a process that then uses it. With the limit an allocation
    raises an error instead, and the process can report what didn't fit. The limit bounds private writable memory,
    without pages of libraries and files. A user's own limit stays.
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
        _bounds.clear()
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, before)


def free_reserve() -> None:
    """Give the reserve up after memory has run out, and set the limit anew for the memory that is available now.

    A heap that was full is free now but scattered, so memory that libraries map beside it needs room of its own.
    """
    _give_up_reserve()
    bound = _backed()
    if bound is not None and resource.getrlimit(resource.RLIMIT_DATA)[0] in _bounds:
        _bound_by(bound)


def _bound_by(bound: int) -> None:
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (bound, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        _bounds.append(bound)


def _give_up_reserve() -> None:
    while _reserve:
        _reserve.pop().close()


_bounds: list[int] = []
"""Limits that this module has set, so that the user's own are left alone."""
_reserve: list[mmap.mmap] = []
"""Untouched pages, which take no memory but count against a limit."""


def _backed() -> int | None:
    """Bytes of this process's data, of available memory and of free swap together."""
    memory = read_memory()
    data, swap = _kernel_value("/proc/self/status", "VmData"), _kernel_value("/proc/meminfo", "SwapFree")
    return None if memory is None or data is None else data + memory[0] + (swap or 0)


def _kernel_value(file: str | Path, name: str) -> int | None:
    """A number that one of the kernel's files gives by name, kB in bytes; None without it."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.replace(":", " ").split()
            if words[:1] == [name]:
                return int(words[1]) * (1024 if words[2:] == ["kB"] else 1)
    return None
