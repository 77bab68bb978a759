"""The part of a record that depends on the machine, the time or the number of interruptions, apart from every result.

`collect_provenance` makes it; `RunClock` and `Stopwatch` measure for it from the start of a run on.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.records.origin import LABELS
from bench.registry.method_code import FileHashes
from bench.spec import Runtime
from bench.system.code_version import git_revision, package_versions
from bench.system.hardware import cpu_name

if TYPE_CHECKING:
    from bench.training.trainer import Trainer
    from datasets.data_report import DataReport


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
            # a new high-water mark of the resident size; only Linux can, elsewhere it is that of the whole process
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    @property
    def seconds(self) -> float:
        """Seconds spent so far, including those of earlier attempts."""
        return self._before + time.perf_counter() - self._began

    def peak_memory(self) -> int:
        """Bytes: the peak of the tensors on a GPU, else the largest resident size of the process in this run."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        try:
            status = Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0]) * 1024
        except (OSError, IndexError, ValueError):
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def state(self) -> dict[str, Any]:
        """The start, the number of attempts and the seconds so far."""
        return {"started": self.started, "attempts": self.attempts, "seconds": self.seconds}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from an earlier attempt's state."""
        self.started = state["started"]
        self.attempts = state["attempts"] + 1
        self._before = state["seconds"]


class Stopwatch:
    """Seconds by the name of an activity, over all attempts at one run."""

    def __init__(self, *names: str) -> None:
        self.seconds = dict.fromkeys(names, 0.0)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the seconds of the context to those of `name`."""
        began = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - began

    def state(self) -> dict[str, float]:
        """The seconds so far."""
        return self.seconds

    def load_state(self, state: dict[str, float]) -> None:
        """Continue from an earlier attempt's state."""
        self.seconds = state


def collect_provenance(
    clock: RunClock,
    trainer: Trainer,
    seconds: Mapping[str, float],
    runtime: Runtime,
    code: FileHashes,
    data_report: DataReport | None = None,
) -> dict[str, Any]:
    """The `provenance` part of a record."""
    head, dirty = git_revision()
    images = trainer.total_epochs * trainer.task.samples
    return {
        "seconds": {"train": trainer.seconds, **seconds, "total": clock.seconds},
        "compile_seconds": trainer.compile_seconds,
        "steps": {
            "asked": runtime.steps,
            "way": str(trainer.step_mode),
            "because": trainer.step_mode.reason,
            "replayed": trainer.steps_replayed / trainer.steps_done if trainer.steps_done else 0.0,
        },
        "images_per_second": images / trainer.seconds if trainer.seconds else None,
        "peak_memory_bytes": clock.peak_memory(),
        "inference_batch": trainer.task.chunk_size.limit,
        "parameters": sum(weight.numel() for weight in trainer.networks[0].parameters()),
        "device": torch.cuda.get_device_name(trainer.device) if trainer.device.type == "cuda" else cpu_name(),
        "images": runtime.images,
        **({LABELS: runtime.given_labels} if runtime.given_labels is not None else {}),
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
        "host": platform.node(),
        "process": os.getpid(),
        "attempts": clock.attempts,
        "git_revision": head,
        "git_dirty": dirty,
        "method_code": dict(code),
        "started": clock.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **({} if data_report is None else {"data_report": data_report.as_json()}),
    }
