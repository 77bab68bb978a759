"""What a reader of one table must know before believing it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.leaderboard.choose import Rule
from bench.leaderboard.model import Record, Replicate, Row
from bench.leaderboard.settings import listed
from bench.leaderboard.stats import LEAST_REPLICATES

ENOUGH_HELD_OUT = 2000
"""Held-out labels that a choice should rest on."""
COARSE = 0.001
"""One test image that is worth more than this is worth a mention."""


def caveats(
    setting: Mapping[str, Any],
    rows: Sequence[Row],
    records: Sequence[Record],
    replicates: Sequence[Replicate],
    rule: Rule,
) -> list[str]:
    """Sentences under a table, the gravest first."""
    found = [
        _oracle(rule),
        _few(replicates, rows),
        _held_out(records, rule),
        _balance(setting, rows),
        _resolution(records),
        _machines(records),
        _code(records),
    ]
    return [sentence for sentence in found if sentence]


def _oracle(rule: Rule) -> str:
    if not rule.oracle:
        return ""
    return "Ranked by an oracle: the epoch was chosen on the clean test labels, which nobody has when it matters."


def _few(replicates: Sequence[Replicate], rows: Sequence[Row]) -> str:
    if len(replicates) >= LEAST_REPLICATES or not any(row.rank for row in rows):
        return ""
    return (
        f"Fewer than {LEAST_REPLICATES} replicates: no bold. So few ({len(replicates)}) can't tell which row is best."
    )


def _held_out(records: Sequence[Record], rule: Rule) -> str:
    """Held-out labels, all replicates together, and the standard error of one replicate's hold-out accuracy."""
    if rule.name != "holdout":
        return ""
    sizes: dict[Any, int] = {}
    for record in records:
        samples, spec = record["measures"].get("samples") or {}, record["spec"]
        if samples.get("holdout"):
            sizes[spec.get("split_seed"), spec.get("noise_seed")] = samples["holdout"]
    if not sizes:
        return ""
    total, smallest = sum(sizes.values()), min(sizes.values())
    error = 50 / math.sqrt(smallest)
    enough = "" if total >= ENOUGH_HELD_OUT else f", fewer than {ENOUGH_HELD_OUT:,}"
    return (
        f"Epochs were chosen on {smallest:,} held-out noisy labels a replicate, {total:,} in all{enough}; a hold-out "
        f"accuracy has a standard error of up to {error:.1f} points."
    )


def _balance(setting: Mapping[str, Any], rows: Sequence[Row]) -> str:
    names = sorted(row.name for row in rows if "balanced_classes" in row.assumes)
    if not names or setting.get("imbalance") in (None, 1, 1.0):
        return ""
    verb = "assumes" if len(names) == 1 else "assume"
    return f"Classes are unbalanced here ({setting['imbalance']}), and {listed(names)} {verb} that they are balanced."


def _resolution(records: Sequence[Record]) -> str:
    sizes = {size for record in records if (size := (record["measures"].get("samples") or {}).get("test"))}
    if not sizes or 1 / min(sizes) <= COARSE:
        return ""
    return f"The test set has {min(sizes):,} images: one of them is {100 / min(sizes):.2f} points of a single run."


def _machines(records: Sequence[Record]) -> str:
    kinds = {(own.get("device"), own.get("threads")) for own in _provenances(records)} - {(None, None)}
    if len(kinds) < 2:
        return ""
    said = listed(
        sorted(f"{device or 'an unnamed device'} with {threads or 'unknown'} threads" for device, threads in kinds)
    )
    return f"Seconds come from {said}: compare them with care."


def _code(records: Sequence[Record]) -> str:
    own = _provenances(records)
    revisions = sorted({str(each["git_revision"])[:10] for each in own if each.get("git_revision")})
    dirty = sum(each.get("git_dirty") is True for each in own)
    parts = [f"{len(revisions)} revisions of the code trained these runs"] if len(revisions) > 1 else []
    parts += [f"{dirty} of {len(own)} runs come from a working tree with uncommitted changes"] if dirty else []
    return f"{'; '.join(parts)}." if parts else ""


def _provenances(records: Sequence[Record]) -> list[Mapping[str, Any]]:
    return [record.get("provenance") or {} for record in records]
