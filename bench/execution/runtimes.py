"""The runtime of each run of a request: device, threads, folders, and where its images are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench import registry
from bench.spec import RunSpec, Runtime
from bench.system.cache import cache_folder
from bench.system.console import print_note

if TYPE_CHECKING:
    from bench.memory.job_limits import JobLimits
    from bench.planning.facts import Facts
    from bench.planning.request import Request


def make_runtimes(request: Request, facts: Facts, limits: JobLimits) -> Callable[[RunSpec], Runtime]:
    """The runtime of a spec, as a function: the same for all runs, except for the path of the noise's own file."""
    common = {
        "data_source": request.dataset,
        "labels_source": request.labels,
        "data_root": request.data_root,
        "download": request.download,
        "cache": str(cache_folder()),
        "device": facts.device,
        "threads": limits.threads,
        "steps": request.steps,
        "images": facts.images,
        "gpu_bytes": limits.gpu_bytes,
        "plugins": registry.plugins(),
    }
    by_noise = {(noise.name, noise.sha256): Runtime(noise_source=noise.typed, **common) for noise in facts.noises}
    return lambda spec: by_noise[spec.noise, spec.noise_sha256]


def note_image_placement(request: Request, facts: Facts) -> None:
    """Print where images are kept and why, if that was chosen automatically and isn't the device."""
    if request.images == "auto" and facts.images != "device":
        place = {"host": "in memory", "disk": "on disk"}[facts.images]
        print_note(f"note: images stay {place} and go to the device a batch at a time: {facts.images_why}")
