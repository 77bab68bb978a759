"""Shards: one part of a plan for each machine. The parts depend on the plan alone, so machines need no contact.

Read `split_plan` for the division; `parse_shard` reads `--shard`, and `slurm_shard` the variables of a SLURM array.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bench.spec import RunSpec
from bench.system.errors import UsageError
from bench.system.text import digest

SLURM = "slurm"
"""The value of `--shard` for "the shard of this task of a SLURM array"."""
MOST_SHARDS = 10_000

_TASK = "SLURM_ARRAY_TASK_"
_TYPED = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})")


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, specs: Iterable[RunSpec], cost: Callable[[RunSpec], float]) -> tuple[RunSpec, ...]:
        """The runs of this shard, in the order of `specs`."""
        return split_plan(specs, cost, self.count)[self.number - 1]


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """The shard of `--shard`: "2/4", or "slurm", which is looked up in `environment`. Raises UsageError."""
    if text.strip().lower() == SLURM:
        return slurm_shard(environment)
    typed = _TYPED.fullmatch(text.strip())
    number, count = (int(typed[1]), int(typed[2])) if typed else (0, 0)
    if not 1 <= number <= count <= MOST_SHARDS:
        last = f" (1/{count} to {count}/{count})" if 1 <= count <= MOST_SHARDS else ""
        raise UsageError(
            f"--shard {text}: must be NUMBER/COUNT, counted from 1 to at most {MOST_SHARDS:,}{last}, such as --shard "
            "1/4 on the first of four machines; or --shard slurm in a SLURM array"
        )
    return Shard(number, count)


def slurm_shard(environment: Mapping[str, str]) -> Shard:
    """The shard of this task of a SLURM array: its place among the task ids. Raises UsageError outside an array.

    A list of ids without an even step (`--array=1,2,5`) is refused: no variable tells a task its place in it.
    """
    if f"{_TASK}ID" not in environment:
        raise UsageError(
            f"--shard slurm: {_TASK}ID isn't set, so this is no task of a SLURM array. Submit the script by "
            "sbatch --array=1-4, or type --shard 1/4"
        )
    number = _number(environment, "ID")
    first, last = _number(environment, "MIN", number), _number(environment, "MAX", number)
    count = _number(environment, "COUNT", (last - first) // max(1, _number(environment, "STEP", 1)) + 1)
    # Not SLURM_ARRAY_TASK_STEP, which is 1 for a list such as 0,2,4 as well.
    step = max(1, (last - first) // max(1, count - 1))
    place, beyond = divmod(number - first, step)
    if beyond or first + (count - 1) * step != last or not 0 <= place < count <= MOST_SHARDS:
        raise UsageError(
            f"--shard slurm: task {number} of {count} from {first} to {last} can't tell its place. Submit an array "
            f"with an even step, such as sbatch --array=1-{max(1, min(count, MOST_SHARDS))}, or type --shard 1/4"
        )
    return Shard(place + 1, count)


def _number(environment: Mapping[str, str], name: str, otherwise: int = 0) -> int:
    text = environment.get(f"{_TASK}{name}", str(otherwise))
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--shard slurm: {_TASK}{name}={text} is no whole number. Type --shard 1/4") from None


def split_plan(
    specs: Iterable[RunSpec], cost: Callable[[RunSpec], float], count: int
) -> tuple[tuple[RunSpec, ...], ...]:
    """`count` parts of about equal cost that hold every run once, each in the order of `specs`.

    The dearest run goes first, and every run goes to the part with the least cost so far, so that no two parts differ
    by more than one run's cost. Runs are divided one by one: boards compare merged records, so replicates needn't stay
    together. Equal costs are ordered by run id, so that the parts depend on the set of runs alone.
    """
    runs = {spec.run_id: spec for spec in specs}
    dearest_first = sorted((-cost(spec), run_id) for run_id, spec in runs.items())
    loads = [(0.0, part) for part in range(count)]
    part_of: dict[str, int] = {}
    for negative_cost, run_id in dearest_first:
        load, part = loads[0]
        heapq.heapreplace(loads, (load - negative_cost, part))
        part_of[run_id] = part
    parts: list[list[RunSpec]] = [[] for _ in range(count)]
    for run_id, spec in runs.items():
        parts[part_of[run_id]].append(spec)
    return tuple(map(tuple, parts))


def plan_name(specs: Iterable[RunSpec]) -> str:
    """Eight hex digits that are equal where two machines plan the same runs."""
    return digest("\n".join(sorted({spec.run_id for spec in specs})))[:8]
