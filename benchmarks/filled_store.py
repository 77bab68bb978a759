"""A store with records that no run made, as long as those of real runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.records.schema import SCHEMA, encode_record
from bench.records.store import Store
from bench.spec import RunSpec

CURVES = ("epoch", "train_loss", "test_accuracy", "noisy_holdout_accuracy", "clean_holdout_accuracy", "memorised")


def fill(folder: Path, specs: Iterable[RunSpec], seconds: float = 2.5) -> Store:
    """A store in `folder` with a record of each spec."""
    store = Store(folder)
    for spec in specs:
        record = {
            "schema": SCHEMA,
            "run_id": spec.run_id,
            "spec": spec.model_dump(mode="json"),
            "curves": {name: [0.123456789] * spec.epochs for name in CURVES},
            "measures": {"test_accuracy": 0.5},
            "provenance": {"seconds": {"total": seconds}},
        }
        store.folder(spec.run_id).mkdir(parents=True)
        # not by Store.write_record, which waits for the disk at every one
        (store.folder(spec.run_id) / "record.json").write_bytes(encode_record(record))
    return store
