"""The evaluation of MixNN's targets: what it measures, what it concludes, and that it runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

DATA = "synthetic[classes=4,size=8,train=80,test=24]"
PATH = Path(__file__).parents[2] / "benchmarks" / "claims" / "mixnn_targets.py"


@pytest.fixture(scope="module")
def claim() -> ModuleType:
    found = importlib.util.spec_from_file_location("mixnn_targets", PATH)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_distances_corrections_and_damage_are_what_they_say(claim: Any) -> None:
    clean, given = np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])
    targets = np.array([[0.7, 0.2, 0.1], [0.6, 0.4, 0], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]], dtype=np.float32)
    measured = claim.closeness(targets, given, clean)
    assert measured["q to truth"] == pytest.approx((0.3 + 0.6 + 0.2 + 0.7) / 4)
    assert measured["given to truth"] == 0.5
    assert measured["q - given"] == pytest.approx(-0.05)
    assert (measured["corrected"], measured["damaged"]) == (0.5, 0.5)


def test_targets_that_are_the_given_labels_are_no_closer_at_all(claim: Any) -> None:
    clean, given = np.arange(7) % 3, np.arange(7) % 2
    measured = claim.closeness(np.eye(3, dtype=np.float32)[given], given, clean)
    assert (measured["q - given"], measured["corrected"], measured["damaged"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("curves", "says"),
    [
        ([[0, -0.1, -0.2], [0, -0.12, -0.22], [0, -0.11, -0.2]], "From epoch 1 to the last, 2"),
        ([[0, -0.1, 0.2], [0, -0.12, 0.22], [0, -0.11, 0.2]], "end no closer"),
        ([[0, -0.1, -0.2], [0, 0.3, -0.22], [0, -0.11, -0.2]], "From epoch 2 to the last, 2"),
    ],
)
def test_the_verdict_rests_on_the_interval_of_the_difference(claim: Any, curves: Any, says: str) -> None:
    columns = dict.fromkeys(claim.COLUMNS, 0.0)
    runs = [{epoch: {**columns, "q - given": value} for epoch, value in enumerate(curve)} for curve in curves]
    assert says in claim.verdict(claim.summaries(runs))


def test_a_quick_one_prints_a_table_and_draws_it(
    claim: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    claim.main(["--quick", "--dataset", DATA, "--noise", "sym", "--plot", str(tmp_path / "targets.png")])
    printed = capsys.readouterr().out
    assert "| epoch | q to truth | given to truth | q - given | corrected | damaged |" in printed
    assert len([line for line in printed.splitlines() if line.startswith("|")]) == 9
    assert "2 replicates" in printed
    assert (tmp_path / "targets.png").stat().st_size > 1000


def test_a_method_without_soft_targets_is_refused(claim: Any) -> None:
    with pytest.raises(SystemExit, match="no soft targets"):
        claim.main(["--quick", "--dataset", DATA, "--noise", "sym", "--method", "ce"])
