"""Memory that runs out: how it shows, and how it is made to show as an error instead of a killed process. No torch."""

from __future__ import annotations

import mmap
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench import machine

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


def bytes_in_words(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def ran_out(error: BaseException | None) -> bool:
    """Whether an error says that memory ran out, of a card or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def kills() -> int:
    """Processes that the kernel has killed for their memory so far, as far as it says."""
    total = 0
    for file, name in KILLS:
        with suppress(OSError, ValueError):
            for line in Path(file).read_text(encoding="ascii").splitlines():
                if line.partition(" ")[0] == name:
                    total += int(line.split()[1])
    return total


def process_limit() -> int | None:
    """Bytes that this process may take: the machine's or container's memory, or its own limit where that is lower."""
    found = machine.memory()
    limits = [] if found is None else [found[1]]
    limits += [soft for soft in (resource.getrlimit(each)[0] for each in _LIMITS) if soft != resource.RLIM_INFINITY]
    return min(limits, default=None)


@contextmanager
def bounded() -> Iterator[None]:
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


def make_way() -> None:
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
    found = machine.memory()
    data, swap = _kibibytes("/proc/self/status", "VmData"), _kibibytes("/proc/meminfo", "SwapFree")
    return None if found is None or data is None else data + found[0] + (swap or 0)


def _kibibytes(file: str, name: str) -> int | None:
    """A value that the kernel gives in kB, in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None
