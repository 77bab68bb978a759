"""What a run's observer measures of a method that says much about its labels, and of one that says nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.spec import RunSpec, Runtime
from bench.training.curves import CurveRecorder, count_views
from bench.training.noisy_data import NoisyData, build_noisy_data, build_trainer, build_training_part
from datasets.audited import AuditedLabels
from datasets.opinions import Opinions
from methods.ce import CrossEntropy
from methods.interface import Method, Pass, Phase, Stream

EPOCHS = 3


def spec_of(**fields: Any) -> RunSpec:
    values: dict[str, Any] = {
        "method": "ce",
        "data_set": "synthetic[classes=4,size=8,train=80,test=24]",
        "data_sha256": "tiny",
        "noise": "pairflip",
        "rate": 0.4,
        "model": "cnn-small",
        "epochs": EPOCHS,
        "batch_size": 32,
        "learning_rate": 0.05,
    }
    return RunSpec(**(values | fields))


def problem_of(spec: RunSpec, tmp_path: Path) -> NoisyData:
    return build_noisy_data(spec, Runtime(data_source=spec.data_set, noise_source=spec.noise, cache=str(tmp_path)))


class Teller(CrossEntropy):
    """Two phases, two views late in the first; says that even samples are clean and that every label is class 0."""

    name = "teller"

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("warm", self.task.epochs), Phase("again", 2, initialise=(0,)))

    def passes(self, phase: Phase, epoch: int) -> tuple[Pass, ...]:
        late = phase.name == "warm" and epoch == phase.epochs - 1
        return (Pass({"all": Stream(views=("weak", "weak") if late else ("weak",))}),)

    def clean_probability(self) -> Tensor:
        return 1 - torch.arange(self.task.samples) % 2 * 0.5

    def selected(self) -> Tensor:
        return torch.arange(self.task.samples) % 2 == 0

    def soft_targets(self) -> Tensor:
        return torch.nn.functional.one_hot(torch.zeros(self.task.samples, dtype=torch.long), 4).float()


def observed(
    spec: RunSpec, problem: NoisyData, method: Method | None, monkeypatch: pytest.MonkeyPatch
) -> CurveRecorder:
    """The observer of a whole run."""
    if method is not None:
        monkeypatch.setattr("bench.training.noisy_data.load_method", lambda name: lambda **values: method)
    trainer = build_trainer(problem, spec, torch.device("cpu"))
    observer = CurveRecorder(problem, trainer)
    for done in trainer.epochs():
        observer.record_epoch(done)
    return observer


def test_a_methods_own_words_are_measured_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of()
    problem = problem_of(spec, tmp_path)
    observer = observed(spec, problem, Teller(), monkeypatch)
    measures = observer.measures()
    found, wrong = measures["selector"], observer.noisy_labels != observer.clean_labels
    assert (found["source"], found["kept_source"], found["corrected_source"]) == (
        "clean_probability",
        "selected",
        "soft_targets",
    )
    assert found["precision"] == pytest.approx(np.mean(~wrong[::2]))
    assert found["recall"] == pytest.approx(np.sum(~wrong[::2]) / np.sum(~wrong))
    assert found["corrected"] == pytest.approx(np.mean(observer.clean_labels[wrong] == 0))
    assert found["damaged"] == pytest.approx(np.mean(observer.clean_labels[~wrong] != 0))
    # curves of both phases, and choices among all of their epochs
    assert observer.curves["epoch"] == list(range(1, EPOCHS + 3))
    assert observer.curves["phase"] == ["warm"] * EPOCHS + ["again"] * 2
    assert len(observer.curves["selector_damaged"]) == len(observer.curves["measured_epoch"]) == EPOCHS + 2
    assert observer.curves["selector_corrected"][-1] == found["corrected"]
    assert 1 <= measures["holdout_epoch"] <= EPOCHS + 2
    assert measures["best_test_accuracy"] == max(observer.curves["test_accuracy"])
    assert measures["views"] == 2


def test_what_a_method_does_not_say_is_read_off_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of()
    observer = observed(spec, problem_of(spec, tmp_path), None, monkeypatch)
    found = observer.selector
    assert (found["source"], found["kept_source"], found["corrected_source"]) == ("loss", "lowest", "prediction")
    assert found["precision"] == found["recall"]
    assert found["corrected"] == observer.curves["corrected"][-1]
    assert found["damaged"] == pytest.approx(1 - observer.curves["learnt"][-1])


@pytest.mark.parametrize(("noise", "rate"), [("none", None), ("sym", 1.0)])
def test_without_both_kinds_of_labels_ranks_are_null(
    noise: str, rate: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(noise=noise, rate=rate, epochs=1)
    found = observed(spec, problem_of(spec, tmp_path), None, monkeypatch).selector
    assert [found[name] for name in ("auroc", "average_precision", "precision", "recall")] == [None] * 4
    assert (found["corrected"] is None, found["damaged"] is None) == (noise == "none", noise != "none")


@pytest.mark.parametrize(("privileges", "told"), [(("noise_rate",), None), (("noise_rate=0.3",), 0.3)])
def test_the_noise_rate_is_the_realised_one_unless_the_user_gave_it(
    privileges: tuple[str], told: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(privileges=privileges)
    problem, method = problem_of(spec, tmp_path), Teller()
    monkeypatch.setattr(Teller, "needs", ("noise_rate",))
    part = build_training_part(problem, method, spec, torch.device("cpu"))
    given, clean = problem.noisy.labels[problem.train], problem.clean_labels[problem.train]
    assert part.privileges["noise_rate"] == (float(np.mean(given != clean)) if told is None else told)


def test_views_are_those_of_the_last_epochs() -> None:
    method = Teller()
    assert count_views(method, (Phase("warm", 3), Phase("again", 2))) == 2
    assert count_views(method, (Phase("again", 2),)) == 1


def test_what_people_said_is_measured_where_it_is_known() -> None:
    scores = np.log(np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
    recorder = SimpleNamespace(_log_probabilities=scores, noisy_data=SimpleNamespace(data=None))
    recorder.noisy_data.data = SimpleNamespace(audited=None, opinions=None)
    assert CurveRecorder._peoples_measures(cast(Any, recorder)) == {}
    recorder.noisy_data.data = SimpleNamespace(
        audited=AuditedLabels(np.array([0, 0, -1]), corrected=1, dropped=1),
        opinions=Opinions(np.array([[4, 0], [2, 2], [1, 1]]), "f" * 64),
    )
    found = CurveRecorder._peoples_measures(cast(Any, recorder))
    assert found["audited"] == {"test_accuracy": 0.5, "corrected": 1, "dropped": 1}
    assert found["people"]["sha256"] == "f" * 64 and found["people"]["cross_entropy"] > 0
