"""Records as runs write them, without a run."""

from __future__ import annotations

import random
from typing import Any

from bench.spec import RunSpec

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


def make(method: str, seed: int, accuracy: float | None, **fields: Any) -> Record:
    """The record of one replicate; `fields` replace those of its spec."""
    seeds = {"seed": seed, "noise_seed": seed, "split_seed": seed}
    return of(RunSpec(method=method, **(SETTING | seeds | fields)), accuracy)


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
            **{name: chance.random() for name in ("worst_class_accuracy", "balanced_accuracy", "memorised", "learnt")},
            **{name: chance.random() for name in ("negative_log_likelihood", "expected_calibration_error")},
            "corrected": None,
            "selector": {"source": "loss", "auroc": chance.random(), "average_precision": None},
            "networks": 1,
            "views": 1,
            "units_per_sample_epoch": 3.0,
            "labels_sha256": f"{spec.noise_seed:064x}",
            "realised_rate": 0.4,
            "noise_caption": "0.4 in all 10 classes (the true class excluded), 0.40 overall",
            "samples": {"train": 1260, "holdout": 140, "test": 397},
            "classes": 10,
            "assumes": [],
            "control": False,
            "test_predictions": "A" * 600,
        },
        "provenance": {
            "seconds": {name: chance.uniform(1, 2) for name in ("train", "evaluate", "measure", "total")},
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
