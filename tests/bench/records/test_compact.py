"""Records in the short form that is committed: short enough, with the measures that boards need, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench.execution.worker import load_file
from bench.records import schema
from bench.records.compact import MOST_BYTES, compact_record, read_jsonl, write_jsonl
from bench.records.store import Store
from bench.system.errors import UsageError

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_runners.py")


def long_record(seed: int = 0, epochs: int = 120) -> dict[str, Any]:
    """A record with every key, of realistic length."""
    random = np.random.Generator(np.random.Philox(seed))
    record = fake.record_of(fake.spec_for(seed, epochs=epochs, alpha=0.1, beta=1.0))
    curve = random.random(epochs).tolist()
    names = ("train_loss", "test_accuracy", "noisy_holdout_accuracy", "clean_holdout_accuracy")
    record["curves"] = {"epoch": list(range(1, epochs + 1)), "phase": ["train"] * epochs} | dict.fromkeys(names, curve)
    rare = ("measured_epoch", "memorised", "learnt", "corrected", "selector_auroc")
    record["curves"] |= dict.fromkeys(rare, curve[:20])
    record["measures"] |= {f"measure_{number}": float(random.random()) for number in range(20)}
    record["measures"]["test_predictions"] = "x" * 8000
    record["provenance"] = {
        "seconds": {"train": 12.345678, "total": 13.0},
        "host": "machine",
        "versions": {f"package-{number}": "1.2.3" for number in range(6)},
    }
    return record


@pytest.mark.parametrize("epochs", [2, 40, 120, 1000])
def test_committed_records_are_short_and_keep_their_measures(epochs: int) -> None:
    record = long_record(epochs=epochs)
    small = compact_record(record)
    assert len(json.dumps(small, separators=(",", ":"))) <= 3072
    assert "test_predictions" not in small["measures"] and "host" not in small["provenance"]
    assert small["spec"] == record["spec"] and small["run_id"] == record["run_id"]
    for name, value in small["measures"].items():
        if isinstance(value, float):
            assert value == pytest.approx(record["measures"][name], rel=1e-5)
    assert compact_record(small) == small
    assert ("left_out" in small) == (epochs > 2)


def test_committed_curves_have_four_digits_and_keep_the_last_epoch() -> None:
    record = long_record(epochs=120)
    small = compact_record(record)
    kept = small["curves"]
    assert kept["epoch"][-1] == 120 and len(kept["epoch"]) == len(kept["test_accuracy"])
    for epoch, value in zip(kept["epoch"], kept["test_accuracy"], strict=True):
        assert value == float(f"{record['curves']['test_accuracy'][epoch - 1]:.4g}")


def test_committed_curves_of_the_training_set_outlast_those_that_boards_show_the_end_of() -> None:
    record = long_record(epochs=120)
    record["curves"]["measured_epoch"] = list(range(6, 121, 6))
    record["curves"] |= {f"selector_{name}": [0.1234] * 20 for name in ("precision", "corrected", "damaged")}
    kept = compact_record(record)["curves"]
    assert {"memorised", "selector_auroc", "test_accuracy"} <= set(kept) and "selector_precision" not in kept
    assert kept["measured_epoch"][-1] == record["curves"]["measured_epoch"][-1]
    assert len(kept["measured_epoch"]) == len(kept["memorised"]) == len(kept["selector_auroc"])
    assert len(kept["epoch"]) == len(kept["test_accuracy"]) <= 20
    for epoch, value in zip(kept["measured_epoch"], kept["memorised"], strict=True):
        place = record["curves"]["measured_epoch"].index(epoch)
        assert value == float(f"{record['curves']['memorised'][place]:.4g}")


def test_a_record_of_many_parameters_says_in_a_word_that_its_curves_are_left_out() -> None:
    """Many parameters leave room for the measures or for the names of all that is missing, not for both."""
    record = long_record(epochs=120)
    record["spec"]["parameters"] = {f"a_parameter_of_the_method_{number}": 1 / 3 for number in range(28)}
    small = compact_record(record)
    assert len(schema.encode_record(small)) <= MOST_BYTES
    assert small["spec"] == record["spec"]
    assert small["curves"] == {}
    assert small["left_out"][0] == "curves"
    assert not any(text.startswith("curves.") for text in small["left_out"])
    assert compact_record(small) == small


def test_lines_come_back_each_run_once(tmp_path: Path) -> None:
    records = [fake.record_of(fake.spec_for(seed)) for seed in range(3)]
    path = tmp_path / "digits.jsonl"
    write_jsonl(path, [*records, records[0] | {"provenance": {"host": "elsewhere"}}])
    assert read_jsonl(path) == records
    assert read_jsonl(Store(tmp_path / "runs").write_record(records[1])) == records[1:2]


def test_a_bad_line_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "digits.jsonl"
    write_jsonl(path, [fake.record_of(fake.spec_for(1))])
    path.write_bytes(path.read_bytes() + b"<<<<<<< HEAD\n")
    with pytest.raises(UsageError, match=r"digits\.jsonl, line 2: broken JSON"):
        read_jsonl(path)
    with pytest.raises(UsageError, match="can't read the records"):
        read_jsonl(tmp_path / "none.jsonl")
