"""The interface of a backend, which `run` and `tune` open for a request, and the list of all backends.

A backend finds out what hardware the runs meet, and makes the executors of the studies. To add one: a module with a
subclass of `Backend`, and an entry in `BACKENDS`.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from bench import registry
from bench.planning.request import Request
from bench.spec import RunSpec, Runtime
from bench.system.cache import cache_folder
from bench.system.console import print_note
from bench.system.errors import UsageError
from bench.system.files import file_hash
from bench.system.processes import torchrun_world

if TYPE_CHECKING:
    from bench.execution.executor import Executor
    from bench.memory.job_limits import JobLimits
    from bench.planning.facts import Facts
    from bench.records.store import Store
    from bench.system.hardware import Hardware

BACKENDS = {
    "local": "bench.execution.local:LocalBackend",
    "torchrun": "bench.execution.torchrun:TorchrunBackend",
    "ray": "bench.execution.ray.ray_backend:RayBackend",
}
"""Every name but torchrun may be typed as `--executor NAME`; torchrun's processes say themselves that they are.

The module of a backend is imported when the backend is opened.
"""


class Backend(ABC):
    """An executor as commands use it, from the request to the end of its last study.

    The methods stand in the order in which they are called. `processes` train each run together; `is_follower` is true
    in those of them that only train along.
    """

    processes = 1
    is_follower = False

    def __init__(self, request: Request) -> None:
        self.request = request

    def follow(self) -> int:
        """Train along with the main process until it ends; returns the exit code. For followers only."""
        raise NotImplementedError

    def find_hardware(self) -> Hardware | None:
        """The hardware that runs are planned for; None: this machine's."""
        return None

    @abstractmethod
    def limit_jobs(self, specs: Sequence[RunSpec], facts: Facts, runs: int, at_most: int | None = None) -> JobLimits:
        """Runs at a time, and the threads and memory of each; parameters as in `bench.memory.job_limits.limit_jobs`."""

    def start(self, facts: Facts, store: Store, limits: JobLimits, runs: int) -> Callable[[RunSpec], Runtime]:
        """Get ready to train at most `runs` runs; returns the runtime of each spec. Not called in a dry run."""
        self.facts, self.store, self.limits, self.runs = facts, store, limits, runs
        return make_runtimes(self.request, facts, limits)

    def count_jobs(self) -> int:
        """Runs that there is room for at a time. May start a cluster: for use only if there is something to run."""
        return self.limits.jobs

    @abstractmethod
    def make_executor(self, runs: int) -> Executor:
        """The executor of a study of `runs` runs."""

    def close(self) -> None:  # noqa: B027 - may stay empty: local processes end with their studies
        """Give back what is held. Safe to call twice."""


@contextmanager
def open_backend(request: Request) -> Iterator[Backend]:
    """The backend of a request, closed at the end of the block. Connects to nothing yet.

    Raises UsageError where no executor has the name, or torchrun started a process that another executor should use.
    """
    name = request.executor
    choices = [repr(choice) for choice in BACKENDS if choice != "torchrun"]
    if repr(name) not in choices:
        raise UsageError(f"--executor {name}: must be {', '.join(choices[:-1])} or {choices[-1]}")
    if torchrun_world().size > 1:
        if name != "local":
            raise UsageError(
                f"--executor {name}: not under torchrun, whose processes train one run together. Leave one out"
            )
        name = "torchrun"
    backend: Backend = pkgutil.resolve_name(BACKENDS[name])(request)
    with closing(backend):
        yield backend


def make_runtimes(request: Request, facts: Facts, limits: JobLimits) -> Callable[[RunSpec], Runtime]:
    """The runtime of a spec, as a function: the same for all runs, except for the path of the noise's own file."""
    common = {
        "data_source": request.dataset,
        "labels_source": request.labels,
        "matrix_source": request.transition_matrix,
        "given_labels": facts.given_labels,
        "data_root": request.data_root,
        "download": request.download,
        "cache": str(cache_folder()),
        "device": facts.device,
        "threads": limits.threads,
        "steps": request.steps,
        "images": facts.images,
        "stream": facts.stream,
        "weights_source": None if facts.weights is None or facts.weights.packaged else str(facts.weights.path),
        "gpu_bytes": limits.gpu_bytes,
        "plugins": registry.plugins(),
        "plugin_hashes": tuple(map(file_hash, registry.plugins())),
        "checked": True,
    }
    by_noise = {(noise.name, noise.sha256): Runtime(noise_source=noise.typed, **common) for noise in facts.noises}
    return lambda spec: by_noise[spec.noise, spec.noise_sha256]


def note_image_placement(request: Request, facts: Facts) -> None:
    """Print where images are kept and why, if that was chosen automatically and isn't the device."""
    if request.images == "auto" and facts.images != "device":
        place = {"host": "in memory", "disk": "on disk"}[facts.images]
        samples = "images" if facts.vectors is None else "vectors"
        print_note(f"note: {samples} stay {place} and go to the device a batch at a time: {facts.images_why}")
