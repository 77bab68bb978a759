"""Numbers of one record, as boards average them over replicates. None stands for what a record doesn't hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Record = Mapping[str, Any]
Reader = Callable[[Record], float | None]


def finite_number(value: Any) -> float | None:
    """A finite number as float; None for null, NaN, infinity and whatever is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def measure(*names: str) -> Reader:
    """A reader of one of a record's measures; further names lead into nested ones."""
    return _reader("measures", *names)


def provenance(*names: str) -> Reader:
    """A reader of what a record's provenance says."""
    return _reader("provenance", *names)


def _reader(*names: str) -> Reader:
    def read(record: Record) -> float | None:
        value: Any = record
        for name in names:
            value = (value or {}).get(name)
        return finite_number(value)

    return read


def run_seconds(record: Record) -> float | None:
    """Seconds of a run; where only parts were recorded, their sum."""
    total = provenance("seconds", "total")(record)
    parts = [provenance("seconds", part)(record) for part in ("train", "evaluate", "measure")]
    known = [seconds for seconds in parts if seconds is not None]
    return total if total is not None or not known else sum(known)


def run_operations(record: Record) -> float | None:
    """Operations of a run's training: its passes, each with those of its backbone."""
    names = ("forward_per_sample_epoch", "backward_per_sample_epoch", "flops_forward", "flops_forward_backward")
    readers = [*map(measure, names), measure("samples", "train")]
    numbers = [number for read in readers if (number := read(record)) is not None]
    if len(numbers) < len(readers):
        return None
    forward, backward, forward_flops, step_flops, samples = numbers
    return (forward * forward_flops + backward * (step_flops - forward_flops)) * samples * int(record["spec"]["epochs"])


def single_network_accuracy(record: Record) -> float | None:
    """Mean test accuracy of a run's networks, each by itself; None for methods of one network."""
    accuracies = _network_accuracies(record)
    return math.fsum(accuracies) / len(accuracies) if accuracies else None


def network_spread(record: Record) -> float | None:
    """Largest minus smallest test accuracy among a run's networks; None for methods of one network."""
    accuracies = _network_accuracies(record)
    return max(accuracies) - min(accuracies) if accuracies else None


def _network_accuracies(record: Record) -> list[float]:
    """The accuracies of several networks; empty where fewer than two are known."""
    values = map(finite_number, record["measures"].get("network_test_accuracies") or ())
    accuracies = [value for value in values if value is not None]
    return accuracies if len(accuracies) > 1 else []
