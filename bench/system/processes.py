"""Processes of this machine: parents, and the world that torchrun makes."""

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
    """Let the kernel kill this process when its parent ends (Linux); the end of standard input tells it elsewhere."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@dataclass(frozen=True)
class TorchrunWorld:
    """What torchrun says to each process: its number in all and on its machine, and how many there are of either."""

    number: int = 0
    local: int = 0
    size: int = 1
    local_size: int = 1


def torchrun_world(environment: Mapping[str, str] = os.environ) -> TorchrunWorld:
    """What torchrun's variables say; one process alone without them. Raises UsageError where some are missing."""
    if "TORCHELASTIC_RUN_ID" not in environment or environment.get("WORLD_SIZE") == "1":
        return TorchrunWorld()
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    found = {name: environment.get(name, "") for name in names}
    if not all(text.isdigit() for text in found.values()):
        said = ", ".join(f"{name}={text or '(none)'}" for name, text in found.items())
        raise UsageError(f"torchrun's variables are incomplete: {said}. Type: torchrun --nproc-per-node 2 -m bench run")
    return TorchrunWorld(*map(int, found.values()))
