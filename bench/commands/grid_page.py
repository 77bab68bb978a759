"""What the shared grid chose and what it cost, for people and for programs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.plan import LeftOut
from bench.progress import duration
from bench.tuning.race import Chosen

if TYPE_CHECKING:
    from rich.table import Table

Record = Mapping[str, Any]
Document = dict[str, Any]

SCHEMA = 1


def as_json(
    chosen: Sequence[Chosen],
    undecided: Mapping[str, str],
    diverged: Mapping[str, Collection[int]],
    records: Sequence[Record],
    left_out: Sequence[LeftOut],
    command: str,
) -> Document:
    """Everything as JSON-able values; shares from 0 to 1.

    A setting without criterion diverged; one with fewer splits than its method was dropped on the way, when it had the
    criterion that stands here. `records`: what the choices rest on.
    """
    return {
        "schema": SCHEMA,
        "command": command,
        "methods": [_method(each) for each in chosen],
        "undecided": [{"method": name, "reason": reason} for name, reason in sorted(undecided.items())],
        "left_out": [{"method": each.method, "reason": each.reason} for each in left_out],
        "cost": _cost(records, sum(len(numbers) for numbers in diverged.values())),
    }


def _method(one: Chosen) -> Document:
    own, decision = one.candidates, one.decision
    assert decision is not None
    penalty = own.declaration["own_penalty"]
    return {
        "method": own.method,
        "penalty": penalty,
        "own": 0,
        "best": decision.best,
        "chosen": decision.chosen,
        "kept": decision.kept,
        "splits": len(own.splits),
        "settings": [
            {
                "learning_rate": point.learning_rate,
                "weight_decay": point.weight_decay,
                "penalty": None if penalty is None else dict(point.parameters)[penalty],
                "criterion": None if score is None else score.mean,
                "standard_error": None if score is None else score.error,
                "held_out_labels": None if score is None else score.labels,
                "splits": judged,
            }
            for point, score, judged in zip(own.points, one.scores, one.standing.judged, strict=True)
        ],
    }


def _cost(records: Sequence[Record], diverged: int) -> Document:
    """What the choices took, wherever their runs were trained: runs, passes of images, seconds."""
    return {
        "runs": len(records),
        "settings_diverged": diverged,
        "forward_passes": sum(_passes(record) for record in records),
        "seconds": sum(_seconds(record) for record in records),
    }


def _passes(record: Record) -> float:
    """Forward passes of an image in the whole run, a backward pass counting as two."""
    measures = record["measures"]
    return float(measures["units_per_sample_epoch"] * record["spec"]["epochs"] * measures["samples"]["train"])


def _seconds(record: Record) -> float:
    return float(((record.get("provenance") or {}).get("seconds") or {}).get("total") or 0.0)


def page(document: Document) -> tuple[Table, list[str]]:
    """The table of what was chosen, and the lines under it."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("method", "own values", "criterion", "best of the grid", "criterion", "chosen"):
        table.add_column(title, overflow="fold")
    for each in document["methods"]:
        settings = each["settings"]
        own, best = settings[each["own"]], settings[each["best"]]
        table.add_row(
            each["method"],
            _values(own, each["penalty"]),
            _criterion(own),
            "the same" if each["best"] == each["own"] else _values(best, each["penalty"]),
            "" if each["best"] == each["own"] else _criterion(best),
            "own values" if each["kept"] else "best",
        )
    changed = [each["method"] for each in document["methods"] if not each["kept"]]
    cost = document["cost"]
    lines = [
        "Criterion: accuracy on held-out noisy labels, in percent, mean over the splits ± standard error. Own values "
        "stay unless they lie more than the best's standard error below the best.",
        f"{len(document['methods'])} methods chosen for, {len(changed)} with other values than before"
        + (f": {', '.join(changed)}" if changed else ""),
        f"cost: {cost['runs']:,} runs, {cost['forward_passes']:.3g} forward passes of an image (a backward pass is "
        f"two), {duration(cost['seconds'])} of training",
    ]
    if cost["settings_diverged"]:
        lines.append(f"{cost['settings_diverged']} settings diverged, and aren't chosen")
    lines += [f"undecided: {each['method']}: {each['reason']}" for each in document["undecided"]]
    lines += [f"left out: {each['method']}: {each['reason']}" for each in document["left_out"]]
    return table, lines


def _values(setting: Mapping[str, Any], penalty: str | None) -> str:
    other = f"wd {setting['weight_decay']:g}" if penalty is None else f"{penalty} {setting['penalty']:g}"
    return f"lr {setting['learning_rate']:g}, {other}"


def _criterion(setting: Mapping[str, Any]) -> str:
    if setting["criterion"] is None:
        return "diverged"
    return f"{100 * setting['criterion']:.1f} ± {100 * setting['standard_error']:.1f}"
