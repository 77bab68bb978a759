"""Runs with outsiders: what the data, the controls that are told the truth, and the record make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.cli.main import main
from bench.records.store import Store
from bench.training.noisy_data import build_noisy_data, build_training_part
from bench.training.run import run_spec
from methods.ce_clean import CrossEntropyClean
from methods.ce_oracle import CrossEntropyOracle

CPU = torch.device("cpu")


def quiet(done: int, total: int) -> None:
    """No progress."""


def test_a_run_with_held_out_classes_has_one_class_less(make: Any, tmp_path: Path) -> None:
    spec, runtime = make("ce-clean", noise="open-set", rate=0.25)
    problem = build_noisy_data(spec, runtime)
    assert len(problem.data.description.classes) == 3 and problem.data.test.labels.max() == 2
    assert problem.clean_labels is not None
    assert np.mean(problem.clean_labels < 0) == pytest.approx(0.25)
    assert problem.noisy.labels.max() == 2
    part = build_training_part(problem, CrossEntropyOracle(), spec, CPU)
    assert part.classes == 3
    store = Store(tmp_path / "runs")
    run_spec(spec, runtime, store, quiet)
    measures = (store.read(spec.run_id) or {})["measures"]
    assert measures["classes"] == 3 and measures["samples"]["test"] == len(problem.data.test)
    assert measures["realised_rate"] == problem.noisy.realised_rate and "0.25 open" in measures["noise_caption"]
    assert measures["memorised"] is not None and measures["corrected"] is not None


def test_a_run_with_other_images_trains_on_them(make: Any) -> None:
    spec, runtime = make("ce", noise="open-set", rate=0.5)
    runtime = runtime.model_copy(update={"noise_source": "open-set[convention=images,by=synthetic]"})
    problem, plain = build_noisy_data(spec, runtime), build_noisy_data(*make("ce", noise="none", rate=None))
    where = np.arange(len(problem.train))
    images, before = (each.images.store("train", CPU).plain(torch.from_numpy(where)) for each in (problem, plain))
    assert problem.clean_labels is not None
    outside = problem.clean_labels[problem.train] < 0
    both = [np.asarray(each) for each in (images, before)]
    assert len(problem.data.description.classes) == 4
    assert 0.4 < outside.mean() < 0.6
    assert np.array_equal(problem.train, plain.train)
    assert np.array_equal((both[0] != both[1]).any(axis=(1, 2, 3)), outside)


def test_a_matrix_of_all_classes_is_refused_where_some_are_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "matrix.npy", np.eye(10))
    typed = ["run", "--methods", "forward", "--dataset", "digits", "--out", str(tmp_path / "runs")]
    assert main([*typed, "--noise", "open-set", "--transition-matrix", str(tmp_path / "matrix.npy")]) == 2
    assert "leaves 8 of 10 classes" in capsys.readouterr().err and not (tmp_path / "runs").exists()


class OneBatch:
    """A step of four samples with fixed logits."""

    learn = (0,)
    index = torch.arange(4)

    def __init__(self, logits: torch.Tensor) -> None:
        self._logits = logits

    def logits(self, network: int = 0) -> torch.Tensor:
        return self._logits


@pytest.mark.parametrize(("clean", "inside"), [([0, -1, 2, -1], [0, 2]), ([0, 1, 2, 0], [0, 1, 2, 3]), ([-1] * 4, [])])
def test_the_clean_control_trains_without_outsiders(clean: list[int], inside: list[int]) -> None:
    labels, logits = torch.tensor(clean), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    method = CrossEntropyClean()
    method.task = type("Task", (), {"privileges": {"clean_labels": labels}})()  # type: ignore[assignment]
    method.outsiders = bool((labels < 0).any())
    loss = method.loss(OneBatch(logits))  # type: ignore[arg-type]
    expected = torch.nn.functional.cross_entropy(logits[inside], labels[inside]) if inside else torch.zeros(())
    torch.testing.assert_close(loss, expected)
