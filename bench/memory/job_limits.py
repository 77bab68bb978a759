"""How many runs at a time fit into the memory that is there, and what to say where that is fewer than asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import registry
from bench.memory.estimate import estimate_footprint, memory_kind
from bench.memory.footprint import GPU_CONTEXT, DataSizes, Footprint, generous_bytes
from bench.planning.facts import Facts
from bench.spec import RunSpec
from bench.system import hardware, memory_limits
from bench.system.errors import UsageError
from bench.system.text import format_bytes

MOST_OF_A_METHOD = 4
"""Settings of one method whose memory is asked; a tuner's hundreds differ in numbers that take none."""
MANY_TO_ASK = 8
Note = Callable[[str], None]


@dataclass(frozen=True)
class JobLimits:
    """`jobs` at a time with so many `threads`; `gpu_bytes`: what each may take of a card (None: all that is free)."""

    jobs: int
    threads: int
    gpu_bytes: int | None = None


@dataclass(frozen=True)
class MemoryPlace:
    """Somewhere that memory is taken from: its name for people, and the bytes that are available."""

    name: str
    available: int
    card: bool = False

    def one(self, taken: Footprint) -> int:
        """What one run takes here."""
        if self.card:
            return taken.on_gpu
        return taken.on_cpu

    def fit(self, taken: Footprint) -> int:
        """How many runs like this one fit here."""
        shared = 0 if self.card else taken.shared
        return max(0, (self.available - shared) // self.one(taken))


class HostOfGpu(MemoryPlace):
    """The machine's memory, beside a card that the runs compute on."""

    def one(self, taken: Footprint) -> int:
        """What one run takes here."""
        return taken.beside_gpu


def memory_places(device: str) -> list[MemoryPlace]:
    """Where runs on `device` take memory from; none where the system doesn't say how much there is."""
    found = memory_limits.read_memory()
    if not device.startswith("cuda"):
        return [] if found is None else [MemoryPlace("memory", found[0])]
    card = hardware.list_gpus()[int(device.partition(":")[2] or 0)]
    host = [] if found is None else [HostOfGpu("memory", found[0])]
    return [MemoryPlace(f"{card['device']}'s memory", card["free_bytes"], card=True), *host]


def request_sizes(facts: Facts) -> DataSizes:
    """What the memory of a request's runs depends on, beside their specs."""
    return DataSizes(facts.classes, facts.image_shape, sum(facts.stored), facts.samples, facts.stored[1], facts.images)


def limit_jobs(
    specs: Sequence[RunSpec], facts: Facts, runs: int, jobs: int | None, say: Note, at_most: int | None = None
) -> JobLimits:
    """Processes, threads and memory of each, for a study of `runs` runs of which `at_most` (None: all) are left.

    `specs`: a run of each kind at least that will be trained.

    `jobs` as typed (None: not). Typed, and more than fit: UsageError. Not typed: as many as fit, with a note where
    these are fewer than cores. A single one is never refused, since an estimate isn't certain; a note says so.
    """
    wanted, threads = hardware.share_cores(facts.cores, runs, facts.device, jobs)
    at_once = min(wanted, runs if at_most is None else at_most)
    there = memory_places(facts.device)
    sizes = request_sizes(facts)
    if not specs or at_once == 0 or not there or _obvious(specs, sizes, facts.device, at_once, there):
        return JobLimits(wanted, threads, _card_bytes(there, at_once))
    name, taken, place = _tightest(specs, sizes, facts.device, there, say)
    fit = place.fit(taken)
    if fit >= at_once:
        return JobLimits(wanted, threads, _card_bytes(there, at_once))
    one, available = format_bytes(place.one(taken)), format_bytes(place.available)
    if jobs is not None and at_once > 1:
        all_of_them = format_bytes(at_once * place.one(taken))
        way_out = f"Type --jobs {fit}" if fit else "Type --jobs 1 to try one at a time, or a smaller --batch-size"
        raise UsageError(
            f"--jobs {jobs}: {at_once} runs at a time take about {all_of_them} of {place.name} ({one} each: {name}), "
            f"and {available} are available. {way_out}"
        )
    if fit == 0:
        say(
            f"note: a run of {name} takes about {one} of {place.name}, and {available} are available; it is tried all "
            "the same. A smaller --batch-size or --model takes less"
        )
    fewer, threads = hardware.share_cores(facts.cores, runs, facts.device, max(1, fit))
    if fewer < at_once and fit:
        say(
            f"note: {fewer} run{'s' if fewer > 1 else ''} at a time, not {at_once}: one takes about {one} of "
            f"{place.name} ({name}), and {available} are available"
        )
    return JobLimits(fewer, threads, _card_bytes(there, fewer))


def least_jobs(data_set: str, device: str) -> int | None:
    """How many runs of a data set's own protocol are sure to fit at a time, without asking torch; None: unknown."""
    from datasets.interface import Options

    description = registry.open_data_set(data_set, Options()).describe()
    there, shape = memory_places(device), description.image_shape
    if not there or shape is None or description.train_size is None or description.test_size is None:
        return None
    sizes = DataSizes(
        classes=len(description.classes),
        image_shape=shape,
        stored=description.train_size + description.test_size,
        train=description.train_size,
        test=description.test_size,
    )
    most = generous_bytes(description.protocol.model, description.protocol.batch_size, 1, sizes, device)
    return None if most is None else min(place.available for place in there) // most


def _obvious(specs: Iterable[RunSpec], sizes: DataSizes, device: str, jobs: int, there: Sequence[MemoryPlace]) -> bool:
    """Whether so many runs fit by far, which is known without torch."""
    most = [
        generous_bytes(*what, sizes, device) for what in {(spec.model, spec.batch_size, spec.members) for spec in specs}
    ]
    room = min(place.available for place in there)
    return all(each is not None and jobs * each <= room for each in most)


def _tightest(
    specs: Sequence[RunSpec], sizes: DataSizes, device: str, there: Sequence[MemoryPlace], say: Note
) -> tuple[str, Footprint, MemoryPlace]:
    """The run of which the fewest fit: its name, its memory, and where it gets tight."""
    kinds = {json.dumps(memory_kind(spec), sort_keys=True): spec for spec in specs}
    of_method: Counter[str] = Counter()
    asked = []
    for spec in sorted(kinds.values(), key=lambda spec: spec.batch_size, reverse=True):
        of_method[spec.method] += 1
        if of_method[spec.method] <= MOST_OF_A_METHOD:
            asked.append(spec)
    if len(asked) >= MANY_TO_ASK:
        say(f"note: estimating the memory of {len(asked)} kinds of runs (once for each) ...")
    taken = [(f"{spec.method} on {spec.model}", estimate_footprint(spec, sizes, device)) for spec in asked]
    return min(
        ((name, each, place) for name, each in taken for place in there), key=lambda item: _room(item[1], item[2])
    )


def _room(taken: Footprint, place: MemoryPlace) -> float:
    """How many times a run fits, in fractions."""
    return place.available / place.one(taken)


def _card_bytes(there: Sequence[MemoryPlace], jobs: int) -> int | None:
    """An equal share of a card for the tensors of each of several processes, so that none can starve the others."""
    cards = [place for place in there if place.card]
    if not cards or jobs < 2:
        return None
    return max(1, cards[0].available // jobs - GPU_CONTEXT)
