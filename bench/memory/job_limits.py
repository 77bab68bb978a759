"""The number of runs that fit into memory at a time, and the message where these are fewer than asked for.

Read `limit_jobs` first. It compares an estimate of each kind of run (`bench.memory.estimate`) with the memory that is
available, and skips the estimate where an upper bound that needs no torch fits already.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bench import registry
from bench.memory.estimate import estimate_footprint, memory_kind
from bench.memory.footprint import GPU_CONTEXT, DataSizes, Footprint, upper_bound
from bench.planning.facts import Facts
from bench.spec import RunSpec
from bench.system import hardware, memory_limits
from bench.system.errors import UsageError
from bench.system.text import format_bytes

KINDS_PER_METHOD = 4
"""Kinds of runs of one method that are estimated: a tuner's hundreds differ in numbers that take no memory."""
MANY_ESTIMATES = 8
"""Estimates that take long enough for a note."""
SMALL_SIDE = 32
"""Pixels a side beyond which smaller images are the first advice."""
Note = Callable[[str], None]


@dataclass(frozen=True)
class JobLimits:
    """The number of runs at a time, the threads of each, and the bytes of a GPU for each (None: all that are free)."""

    jobs: int
    threads: int
    gpu_bytes: int | None = None


@dataclass(frozen=True)
class MemoryPlace:
    """A memory that runs share: its name for people, available bytes, and the part of a footprint that it holds."""

    name: str
    available: int
    part: Literal["on_cpu", "on_gpu", "beside_gpu"] = "on_cpu"

    def run_bytes(self, footprint: Footprint) -> int:
        """The bytes that one run takes of this memory."""
        taken: int = getattr(footprint, self.part)
        return taken

    def fit(self, footprint: Footprint) -> int:
        """The number of equal runs that fit into this memory."""
        shared = 0 if self.part == "on_gpu" else footprint.shared
        return max(0, (self.available - shared) // self.run_bytes(footprint))


def memory_places(device: str) -> list[MemoryPlace]:
    """The memories that runs on `device` take; none where the system doesn't say how much there is."""
    memory = memory_limits.read_memory()
    if not device.startswith("cuda"):
        return [] if memory is None else [MemoryPlace("memory", memory[0])]
    gpu = hardware.list_gpus()[hardware.gpu_number(device)]
    host = [] if memory is None else [MemoryPlace("memory", memory[0], "beside_gpu")]
    return [MemoryPlace(f"{gpu['device']}'s memory", gpu["free_bytes"], "on_gpu"), *host]


def limit_jobs(
    specs: Sequence[RunSpec], facts: Facts, runs: int, jobs: int | None, note: Note, at_most: int | None = None
) -> JobLimits:
    """Processes, threads and memory of each, for a study of `runs` runs of which `at_most` (None: all) are left.

    `specs` holds at least one run of each kind that will be trained; `jobs` is the number as typed (None: not typed).
    A typed number that doesn't fit raises UsageError; without one as many run as fit, with a note if cores stay idle.
    A single run is never refused, since an estimate isn't certain: a note warns instead.
    """
    wanted, threads = hardware.share_cores(facts.cores, runs, facts.device, jobs)
    at_once = min(wanted, runs if at_most is None else at_most)
    places = memory_places(facts.device)
    stored, shape = (sum(facts.stored), facts.samples, facts.stored[1]), facts.image_shape
    sizes = DataSizes(facts.classes, shape, *stored, facts.images, facts.vectors)
    as_wanted = JobLimits(wanted, threads, _gpu_share(places, at_once))
    if not specs or at_once == 0 or not places or _fit_for_sure(specs, sizes, facts.device, at_once, places):
        return as_wanted
    name, footprint, place = _tightest_run(specs, sizes, facts.device, places, note)
    fit = place.fit(footprint)
    if fit >= at_once:
        return as_wanted
    height, width, _ = facts.image_shape
    is_large = max(height, width) > SMALL_SIDE
    options = [*([f"--image-size (these are {width} x {height})"] if is_large else []), "--batch-size"]
    run_bytes, available = format_bytes(place.run_bytes(footprint)), format_bytes(place.available)
    if jobs is not None and at_once > 1:
        total = format_bytes(at_once * place.run_bytes(footprint))
        advice = (
            f"Type --jobs {fit}" if fit else f"Type --jobs 1 to try one at a time, or a smaller {' or '.join(options)}"
        )
        raise UsageError(
            f"--jobs {jobs}: {at_once} runs at a time take about {total} of {place.name} ({run_bytes} each: {name}), "
            f"and {available} are available. {advice}"
        )
    if fit == 0:
        note(
            f"note: a run of {name} takes about {run_bytes} of {place.name}, and {available} are available; it is "
            f"tried all the same. A smaller {', '.join(options)} or --model takes less"
        )
    fewer, threads = hardware.share_cores(facts.cores, runs, facts.device, max(1, fit))
    if fewer < at_once and fit:
        note(
            f"note: {fewer} run{'s' if fewer > 1 else ''} at a time, not {at_once}: one takes about {run_bytes} of "
            f"{place.name} ({name}), and {available} are available"
        )
    return JobLimits(fewer, threads, _gpu_share(places, fewer))


def least_jobs(data_set: str, device: str) -> int | None:
    """The runs of a data set's own protocol that are sure to fit at a time, without torch; None where unknown."""
    from datasets.interface import Options

    description = registry.open_data_set(data_set, Options()).describe()
    places, shape = memory_places(device), description.image_shape
    train, test, protocol = description.train_size, description.test_size, description.protocol
    if not places or shape is None or train is None or test is None:
        return None
    sizes = DataSizes(len(description.classes), shape, stored=train + test, train=train, test=test)
    bound = upper_bound(protocol.model, protocol.batch_size, 1, sizes, device)
    return None if bound is None else min(place.available for place in places) // bound


def _fit_for_sure(
    specs: Sequence[RunSpec], sizes: DataSizes, device: str, jobs: int, places: Sequence[MemoryPlace]
) -> bool:
    """Whether `jobs` runs fit even if each takes its upper bound."""
    kinds = {(spec.model, spec.batch_size, spec.members) for spec in specs}
    bounds = [upper_bound(model, batch_size, members, sizes, device) for model, batch_size, members in kinds]
    available = min(place.available for place in places)
    return all(bound is not None and jobs * bound <= available for bound in bounds)


def _tightest_run(
    specs: Sequence[RunSpec], sizes: DataSizes, device: str, places: Sequence[MemoryPlace], note: Note
) -> tuple[str, Footprint, MemoryPlace]:
    """The kind of run of which the fewest fit: its name, its footprint, and the memory that it fills."""
    kinds = {json.dumps(memory_kind(spec), sort_keys=True): spec for spec in specs}
    of_method: Counter[str] = Counter()
    estimated = []
    # The largest batches first, so that the kinds that are left out take less.
    for spec in sorted(kinds.values(), key=lambda spec: spec.batch_size, reverse=True):
        of_method[spec.method] += 1
        if of_method[spec.method] <= KINDS_PER_METHOD:
            estimated.append(spec)
    if len(estimated) >= MANY_ESTIMATES:
        note(f"note: estimating the memory of {len(estimated)} kinds of runs (once for each) ...")
    footprints = [(f"{spec.method} on {spec.model}", estimate_footprint(spec, sizes, device)) for spec in estimated]
    return min(
        ((name, footprint, place) for name, footprint in footprints for place in places),
        key=lambda kind: kind[2].available / kind[2].run_bytes(kind[1]),
    )


def _gpu_share(places: Sequence[MemoryPlace], jobs: int) -> int | None:
    """An equal share of a GPU for the tensors of each of several processes, so that none can starve the others."""
    gpus = [place for place in places if place.part == "on_gpu"]
    return max(1, gpus[0].available // jobs - GPU_CONTEXT) if gpus and jobs > 1 else None
