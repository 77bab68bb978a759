"""A run that is put aside and taken up again ends as if it had never stopped; its curves can be read meanwhile."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from bench.records.store import Store
from bench.training.outcome import PauseReached
from bench.training.run import run_spec


def quiet(done: int, total: int) -> None:
    """No progress."""


def without_provenance(record: dict[str, Any] | None) -> dict[str, Any]:
    assert record is not None
    return {key: value for key, value in record.items() if key != "provenance"}


@pytest.mark.parametrize("name", ["ce", "elr", "selc+"])
def test_a_run_put_aside_twice_ends_in_the_same_record(name: str, make: Any, tmp_path: Path) -> None:
    spec, runtime = make(name, epochs=4)
    whole, torn = Store(tmp_path / "whole"), Store(tmp_path / "torn")
    run_spec(spec, runtime, whole, quiet)
    record = whole.read(spec.run_id)
    total = len(without_provenance(record)["curves"]["epoch"])
    held = without_provenance(record)["curves"]["noisy_holdout_accuracy"]
    for share, reached in ((0.25, 0.25), (0.5, 0.5), (0.25, 0.5)):  # the last time it has come further already
        with pytest.raises(PauseReached) as pause:
            run_spec(spec, runtime.model_copy(update={"pause_at": share}), torn, quiet)
        partial = torn.read_partial(spec.run_id)
        assert partial is not None and not torn.has(spec.run_id)
        epochs = math.ceil(reached * total)
        assert (pause.value.epochs, partial["total_epochs"]) == (epochs, total)
        assert partial["curves"]["noisy_holdout_accuracy"] == held[:epochs]
    run_spec(spec, runtime, torn, quiet)
    assert without_provenance(torn.read(spec.run_id)) == without_provenance(record)
    assert torn.read_partial(spec.run_id) is None and not torn.checkpoint_path(spec.run_id).exists()


def test_a_finished_run_is_not_put_aside(make: Any, tmp_path: Path) -> None:
    spec, runtime = make("ce", epochs=2)
    store = Store(tmp_path)
    run_spec(spec, runtime.model_copy(update={"pause_at": 0.9}), store, quiet)  # rounds up to the last epoch
    assert store.has(spec.run_id)
