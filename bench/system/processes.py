"""The parent of a process, and the place of a process among those that torchrun starts."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from bench.system.errors import UsageError

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends (Linux). On other systems its standard input ends."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the call above, which then would never act.
    if os.getppid() != parent:
        os._exit(1)


@dataclass(frozen=True)
class TorchrunWorld:
    """A process's number among all and among those of its machine, and how many there are of each."""

    number: int = 0
    local: int = 0
    size: int = 1
    local_size: int = 1


def torchrun_world(environment: Mapping[str, str] = os.environ) -> TorchrunWorld:
    """The place that torchrun's variables give, or that of a single process. Raises UsageError if some are missing."""
    if "TORCHELASTIC_RUN_ID" not in environment or environment.get("WORLD_SIZE") == "1":
        return TorchrunWorld()
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    values = {name: environment.get(name, "") for name in names}
    if not all(value.isdigit() for value in values.values()):
        listed = ", ".join(f"{name}={value or '(none)'}" for name, value in values.items())
        raise UsageError(
            f"torchrun's variables are incomplete: {listed}. Type: torchrun --nproc-per-node 2 -m bench run"
        )
    return TorchrunWorld(*map(int, values.values()))
