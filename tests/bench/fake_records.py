"""Records as runs write them, without a run."""

from __future__ import annotations

import datetime
import random
from collections.abc import Collection, Sequence
from typing import Any

from bench.leaderboard.model import Report, Row, Table
from bench.leaderboard.render import terminal
from bench.planning.recipe_files import FileChoice
from bench.spec import RESERVED_SEEDS, RunSpec

Record = dict[str, Any]
SETTING: dict[str, Any] = {
    "data_set": "digits",
    "data_sha256": "d" * 64,
    "noise": "sym",
    "rate": 0.4,
    "model": "cnn-small",
    "epochs": 30,
    "batch_size": 64,
    "learning_rate": 0.05,
}


def report_as_text(report: Report, setting_ids: Collection[str] | None = None, width: int = 80) -> str:
    """A report as a terminal of so many columns shows it."""
    return "\n".join(line.text for line in terminal.report_as_lines(report, setting_ids, width)) + "\n"


def make(
    method: str, seed: int, accuracy: float | None, measures: dict[str, Any] | None = None, **fields: Any
) -> Record:
    """The record of one replicate; `measures` replaces what it measured, `fields` those of its spec."""
    seeds = {"seed": seed, "noise_seed": seed, "split_seed": seed}
    record = of(RunSpec(method=method, **(SETTING | seeds | fields)), accuracy)
    record["measures"] |= measures or {}
    return record


def of(spec: RunSpec, accuracy: float | None) -> Record:
    """The record of a spec, as long as those of real runs and with as many digits, the same each time."""
    chance = random.Random(spec.run_id)

    def curve(n: int = spec.epochs) -> list[float]:
        return [chance.random() for _ in range(n)]

    names = ("train_loss", "test_accuracy", "noisy_holdout_accuracy", "clean_holdout_accuracy")
    measured = ("memorised", "learnt", "corrected", "selector_auroc")
    half = list(range(2, spec.epochs + 1, 2))
    return {
        "schema": 1,
        "run_id": spec.run_id,
        "spec": spec.model_dump(mode="json"),
        "curves": {
            "epoch": list(range(1, spec.epochs + 1)),
            "phase": ["train"] * spec.epochs,
            **{name: curve() for name in names},
            "measured_epoch": half,
            **{name: curve(len(half)) for name in measured},
        },
        "measures": {
            "test_accuracy": accuracy,
            "best_test_accuracy": None if accuracy is None else min(1.0, accuracy + 0.1),
            "holdout_test_accuracy": None if accuracy is None else min(1.0, accuracy + 0.05),
            "last10_test_accuracy": accuracy,
            **{name: chance.random() for name in ("negative_log_likelihood", "expected_calibration_error")},
            "worst_class_accuracy": 0.25,
            "memorised": 0.125,
            "learnt": 0.75,
            "corrected": None,
            "selector": {"source": "loss", "auroc": 0.875, "average_precision": 0.5, "precision": None, "recall": None},
            "networks": 1,
            "views": 1,
            "units_per_sample_epoch": 3.0,
            "labels_sha256": f"{spec.noise_seed:064x}",
            "realised_rate": 0.4,
            "noise_caption": "0.4 in all 10 classes, 0.40 overall",
            "samples": {"train": 1260, "holdout": 140, "test": 397},
            "classes": 10,
            "assumes": [],
            "control": False,
            "test_predictions": "A" * 600,
        },
        "provenance": {
            "seconds": {"train": 1.5, "evaluate": 0.25, "measure": 0.25, "total": 2.0},
            "peak_memory_bytes": chance.randrange(10**9),
            "parameters": 72_058,
            "device": "cpu",
            "threads": 1,
            "git_revision": "0123456789abcdef0123456789abcdef01234567",
            "git_dirty": False,
            "host": "somewhere",
            "versions": {"torch": "2.11.0", "python": "3.11.2"},
        },
    }


def several(method: str, accuracies: Sequence[float | None], **spec: Any) -> list[Record]:
    return [make(method, seed, accuracy, **spec) for seed, accuracy in enumerate(accuracies)]


def only_table(report: Report) -> Table:
    (board,) = report.boards
    (table,) = board.tables
    return table


def by_label(table: Table) -> dict[str, Row]:
    return {row.label: row for row in table.rows}


def failure(record: Record, reason: str = "the loss isn't finite", epoch: int | None = 2) -> Record:
    return {"schema": 1, "run_id": record["run_id"], "spec": record["spec"], "reason": reason, "epoch": epoch}


FIVE = (0.80, 0.82, 0.84, 0.86, 0.88)
LOWER = tuple(value - 0.1 - 0.001 * place for place, value in enumerate(FIVE))


def small_board() -> list[Record]:
    """A leader, a row that can't be told from it, a clearly worse one, a control, and one that was told more."""
    return [
        *several("gce", FIVE, parameters={"q": 0.7}),
        *several("sce", [value + (0.01 if n % 2 else -0.011) for n, value in enumerate(FIVE)]),
        *several("ce", LOWER),
        *several("ce-ema", [value - 0.02 for value in LOWER], measures={"control": True}),
        *several("forward", [value + 0.05 for value in FIVE], privileges=("transition_matrix",)),
    ]


def choice(**own: Any) -> FileChoice:
    """What a recipe file says of a choice: one of the grid's at sym 0.4, unless `own` says otherwise."""
    fields: dict[str, Any] = {
        "kind": "grid",
        "noise": "sym",
        "rate": 0.4,
        "seeds": (RESERVED_SEEDS,),
        "hold_out": 0.1,
        "held_out_labels": 2100,
        "last_epochs": 3,
        "trials": 9,
        "command": "tune",
        "date": datetime.date(2026, 1, 2),
    }
    return FileChoice(**(fields | own))
