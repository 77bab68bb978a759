"""What holds for every registered method, however it was added."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.models import build
from bench.planning.cost import DeclaredCosts
from bench.records.store import Store
from bench.registry import load_method, methods, models
from bench.training.networks import PassCounter, TrainedNetwork
from bench.training.noisy_data import build_trainer, build_training_part
from bench.training.outcome import Interrupted
from bench.training.precision import Precision
from bench.training.run import run_spec
from bench.training.step import Batch, TrainingStep
from methods.interface import Steps

CPU = torch.device("cpu")


def quiet(done: int, total: int) -> None:
    """No progress."""


def result(record: dict[str, Any]) -> dict[str, Any]:
    """The part of a record that is a function of its spec."""
    return {key: value for key, value in record.items() if key != "provenance"}


def finite_log_probabilities(method: str, problem: Any, spec: Any) -> None:
    """Train and check that predictions are log-probabilities."""
    trainer = build_trainer(problem, spec, CPU)
    for done in trainer.epochs():
        assert math.isfinite(done.train_loss)
    images = trainer.batch_loader.store.plain(torch.arange(8))
    for network in trainer.networks:
        network.module.eval()
    with torch.no_grad():
        scores = trainer.method.predict(trainer.networks, images)
    assert scores.shape == (8, 4)
    assert torch.allclose(scores.exp().sum(dim=1), torch.ones(8), atol=1e-5)


def test_two_epochs_make_a_whole_record_and_the_same_one_again(method: str, make: Any, tmp_path: Path) -> None:
    spec, runtime = make(method)
    records = []
    for attempt in ("first", "second"):
        store = Store(tmp_path / attempt)
        run_spec(spec, runtime, store, quiet)
        records.append(store.read(spec.run_id))
    assert result(records[0]) == result(records[1])
    json.dumps(records[0], allow_nan=False)
    curves = records[0]["curves"]
    assert len(curves["epoch"]) == len(curves["train_loss"]) >= spec.epochs
    assert all(math.isfinite(loss) for loss in curves["train_loss"])
    measures = records[0]["measures"]
    assert measures["test_accuracy"] == curves["test_accuracy"][-1]
    assert measures["noisy_holdout_accuracy"] == curves["noisy_holdout_accuracy"][-1]
    passes = measures["forward_per_sample_epoch"] + 2 * measures["backward_per_sample_epoch"]
    assert measures["units_per_sample_epoch"] == pytest.approx(passes) and passes > 0
    # two epochs are mostly warm-up, so this finds a declaration that was forgotten, no more
    assert 1 / 4 < passes * spec.epochs / DeclaredCosts(methods(), models()).units(spec) < 4
    assert not store.checkpoint_path(spec.run_id).exists()


def test_a_run_stopped_after_every_epoch_ends_in_the_same_record(method: str, make: Any, tmp_path: Path) -> None:
    spec, runtime = make(method, epochs=3)
    whole, torn = Store(tmp_path / "whole"), Store(tmp_path / "torn")
    run_spec(spec, runtime, whole, quiet)
    stop = SimpleNamespace(now=False, begun=0)

    def stop_after_one_more(done: int, total: int) -> None:
        stop.now = done > stop.begun

    for _ in range(20):
        stop.now, stop.begun = False, len(_curve(torn, spec.run_id))
        try:
            run_spec(spec, runtime, torn, stop_after_one_more, lambda: stop.now)
            break
        except Interrupted:
            assert torn.checkpoint_path(spec.run_id).exists()
    record = torn.read(spec.run_id)
    assert result(record) == result(whole.read(spec.run_id))
    assert record["provenance"]["attempts"] >= 3


def _curve(store: Store, run_id: str) -> list[Any]:
    """The curve in a run's checkpoint."""
    path = store.checkpoint_path(run_id)
    return torch.load(path, weights_only=True)["curves"]["epoch"] if path.exists() else []


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_no_noise_and_nothing_but_noise(method: str, rate: float, make: Any, problem_of: Any) -> None:
    spec, runtime = make(method, rate=rate)
    if rate == 1.0 and method == "ce-oracle":
        with pytest.raises(ValueError, match="no samples"):
            finite_log_probabilities(method, problem_of(spec, runtime), spec)
        return
    finite_log_probabilities(method, problem_of(spec, runtime), spec)


def test_batches_of_one_class(method: str, make: Any, problem_of: Any) -> None:
    spec, runtime = make(method)
    problem = problem_of(spec, runtime)
    labels = np.zeros_like(problem.noisy.labels)
    one_class = dataclasses.replace(problem, noisy=dataclasses.replace(problem.noisy, labels=labels))
    finite_log_probabilities(method, one_class, spec)


def test_autocast_computes_losses_in_float32(method: str, make: Any, problem_of: Any, equal: Any, weights: Any) -> None:
    spec, runtime = make(method)
    problem = problem_of(spec, runtime)
    low = spec.model_copy(update={"precision": "bf16"})
    trainer = build_trainer(problem, low, CPU)
    for done in trainer.epochs():
        assert math.isfinite(done.train_loss)
    assert all(weight.dtype == torch.float32 for weight in trainer.networks[0].parameters())
    logits = trainer.networks[0](trainer.batch_loader.store.plain(torch.arange(4)))
    assert logits.dtype == torch.float32
    # otherwise bf16 would be fp32 under another name
    trained = [network.module.state_dict() for network in (*trainer.networks, *trainer.task.averages)]
    assert not equal(trained, weights(problem, spec))


def test_clean_labels_reach_only_methods_that_declare_them(
    method: str, make: Any, problem_of: Any, weights: Callable[..., Any], equal: Callable[..., bool], tmp_path: Path
) -> None:
    """The same noisy labels as `--labels` hands them over, the clean ones permuted, give identical weights."""
    spec, runtime = make(method)
    drawn = problem_of(spec, runtime)
    np.save(tmp_path / "labels.npy", drawn.noisy.labels)
    problem = problem_of(spec, runtime.model_copy(update={"labels_source": str(tmp_path / "labels.npy")}))
    assert (problem.noisy.labels == drawn.noisy.labels).all()
    # a label file has no matrix; a method that needs one keeps that of the draw
    problem = dataclasses.replace(problem, noisy=dataclasses.replace(problem.noisy, matrix=drawn.noisy.matrix))
    shuffled = dataclasses.replace(problem, clean_labels=np.random.default_rng(0).permutation(problem.clean_labels))
    told = bool({"clean_labels", "noise_rate"} & set(methods()[method]["needs"]))
    assert equal(weights(problem, spec), weights(shuffled, spec)) != told


@pytest.mark.parametrize("epoch", [0, -1])
def test_shapes_do_not_depend_on_data(method: str, epoch: int, make: Any, problem_of: Any) -> None:
    """Methods that declare static shapes are run on shapes alone, which finds what a CUDA graph couldn't hold.

    In the first epoch of the first phase, which may be a warm-up, and in the last of the last.
    """
    spec, runtime = make(method)
    subject = load_method(method)(**spec.parameters)
    if not subject.static_shapes:
        return
    part = build_training_part(problem_of(spec, runtime), subject, spec, CPU)
    trainer = build_trainer(problem_of(spec, runtime), spec, CPU)
    phase = trainer.phases[epoch]
    number = epoch % phase.epochs
    work = trainer.method.passes(phase, number)[-1]
    drawn = work.draws(Steps(1, spec.batch_size), torch.Generator().manual_seed(0))
    first_draws = {name: value[0] for name, value in drawn.items()}
    states = dict(trainer.task.states)
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        networks = [
            TrainedNetwork(
                build(spec.model, num_classes=4, in_chans=3, image_size=(8, 8), seed=0),
                Precision("fp32", CPU),
                PassCounter(),
            )
            for _ in trainer.networks
        ]
        # an average that the loss asks: the shapes of its weights are those of its network
        for average in trainer.task.averages:
            network = networks[trainer.networks.index(average.source)]
            average.module, average.classifier = network.module, network.classifier
        batches = {
            name: Batch(
                torch.zeros(spec.batch_size, dtype=torch.int64),
                torch.zeros(spec.batch_size, dtype=torch.int64),
                [torch.zeros(spec.batch_size, 3, 8, 8) for _ in stream.views],
            )
            for name, stream in work.streams.items()
        }
        kept = (*states.values(), *(learned.values for learned in trainer.task.learned.values()))
        fakes = {id(tensor): mode.from_tensor(tensor) for tensor in kept}
        fakes |= {
            id(value): mode.from_tensor(value) for value in trainer.task.privileges.values() if torch.is_tensor(value)
        }
        fakes[id(trainer.task.labels)] = mode.from_tensor(trainer.task.labels)
        for name, value in vars(trainer.method).items():
            if id(value) in fakes:
                setattr(trainer.method, name, fakes[id(value)])
        trainer.task.privileges = {name: fakes.get(id(value), value) for name, value in trainer.task.privileges.items()}
        draws = {name: mode.from_tensor(value) for name, value in first_draws.items()}
        loss = trainer.method.loss(TrainingStep(phase.name, number, work.learn, draws, batches, networks))
        loss.backward()
    assert loss.shape == () and loss.dtype == torch.float32
    assert part.classes == 4
