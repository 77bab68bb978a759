"""What depends on the machine, the time or how often a run was stopped; kept apart from every result."""

from __future__ import annotations

import functools
import os
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.spec import Runtime
from bench.system.code_version import git_revision, package_versions

if TYPE_CHECKING:
    from bench.training.trainer import Trainer


class RunClock:
    """Wall time over all attempts at one run, and the most memory that the present one took."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.attempts = 1
        self._before = 0.0
        self._began = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _reset_peak_memory()

    @property
    def seconds(self) -> float:
        """Seconds spent so far, those of earlier attempts included."""
        return self._before + time.perf_counter() - self._began

    def peak_memory(self) -> int:
        """Bytes: on a card what tensors took at most, else the process's largest resident size in this run."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return _peak_memory()

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"started": self.started, "attempts": self.attempts, "seconds": self.seconds}

    def load_state(self, state: dict[str, Any]) -> None:
        """Add what earlier attempts took."""
        self.started = state["started"]
        self.attempts = state["attempts"] + 1
        self._before = state["seconds"]


def _reset_peak_memory() -> None:
    """Let the kernel count a new high-water mark; elsewhere than on Linux it stays the process's."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory() -> int:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def collect_provenance(
    clock: RunClock, trainer: Trainer, seconds: dict[str, float], runtime: Runtime
) -> dict[str, Any]:
    """The `provenance` part of a record."""
    head, dirty = git_revision()
    images = trainer.total_epochs * trainer.task.samples
    return {
        "seconds": {"train": trainer.seconds, **seconds, "total": clock.seconds},
        "compile_seconds": trainer.compile_seconds,
        "steps": {
            "asked": runtime.steps,
            "way": str(trainer.way),
            "because": trainer.way.because,
            "replayed": trainer.steps_replayed / trainer.steps_done if trainer.steps_done else 0.0,
        },
        "images_per_second": images / trainer.seconds if trainer.seconds else None,
        "peak_memory_bytes": clock.peak_memory(),
        "inference_batch": trainer.task.pieces.most,
        "parameters": sum(weight.numel() for weight in trainer.networks[0].parameters()),
        "device": torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else _processor(),
        "images": runtime.images,
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
        "host": platform.node(),
        "process": os.getpid(),
        "attempts": clock.attempts,
        "git_revision": head,
        "git_dirty": dirty,
        "started": clock.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
