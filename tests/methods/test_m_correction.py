"""M-correction: mixup first, then labels bootstrapped by a Beta mixture on the losses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.interface import Phase, Setting, Steps
from methods.m_correction import MCorrection
from methods.mixup import Mixup

torch.set_num_threads(1)

SAMPLES, CLASSES, SIZE = 20, 4, 3
TRAIN = Phase("train", 9)
LATE = 8


class Task:
    """A training part of nine epochs whose inference gives what the test sets."""

    def __init__(self) -> None:
        self.samples, self.classes, self.epochs, self.batch_size = SAMPLES, CLASSES, 9, 8
        self.labels = torch.arange(SAMPLES) % CLASSES
        self.steps_per_epoch = 1000
        self.logits = torch.zeros(SAMPLES, CLASSES)
        self.states: dict[str, Tensor] = {}

    def state(self, name: str, tensor: Tensor) -> Tensor:
        self.states[name] = tensor.clone()
        return self.states[name]

    def infer(self, network: int = 0) -> Tensor:
        return self.logits


class Step:
    """One step of five samples."""

    def __init__(self, task: Task, epoch: int, seed: int = 0, weight: float = 0.3) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.epoch, self.learn = epoch, (0,)
        self.index = torch.tensor([4, 11, 0, 7, 18])
        self.labels = task.labels[self.index]
        self.images = torch.randn(5, 1, SIZE, SIZE, generator=generator)
        self.streams = {"all": SimpleNamespace(index=self.index, labels=self.labels, views=[self.images])}
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, CLASSES))
        with torch.no_grad():
            for values in self.net.parameters():
                values.copy_(torch.randn(values.shape, generator=generator))
        self.draws = {"weight": torch.tensor(weight), "order": torch.rand(8, generator=generator)}

    def network(self, number: int) -> nn.Module:
        return self.net

    def logits(self) -> Tensor:
        logits: Tensor = self.net(self.images)
        return logits


def started(epochs: int = 9, **values: Any) -> tuple[Any, Any]:
    method, task = MCorrection(**values), Task()
    task.epochs = epochs
    method.start(task)  # type: ignore[arg-type]
    return method, task


@given(st.integers(0, 30), st.floats(0, 1, width=32))
def test_warm_up_is_mixup(seed: int, weight: float) -> None:
    method, task = started()
    step: Any = Step(task, 0, seed, weight)
    assert torch.allclose(method.loss(step), Mixup().loss(step), rtol=1e-5, atol=1e-5)
    assert task.states["targets"].sum() == SAMPLES


@pytest.mark.parametrize("z", ["hard", "soft"])
def test_labels_are_bootstrapped_by_their_clean_probability(z: str) -> None:
    method, task = started(z=z)
    task.states["clean"].copy_(torch.linspace(0, 1, SAMPLES))
    step: Any = Step(task, LATE)
    loss = method.loss(step)
    p = step.logits().softmax(dim=1)
    prediction = nn.functional.one_hot(p.argmax(dim=1), CLASSES).float() if z == "hard" else p
    w = torch.linspace(0, 1, SAMPLES)[step.index].clamp(1e-4, 1 - 1e-4).unsqueeze(1)
    targets = w * nn.functional.one_hot(step.labels, CLASSES) + (1 - w) * prediction
    assert torch.allclose(method.soft_targets()[step.index], targets, atol=1e-6)
    partner = step.draws["order"][:5].argsort()
    q = step.net(0.3 * step.images + 0.7 * step.images[partner]).softmax(dim=1)
    ce = -((0.3 * targets + 0.7 * targets[partner]) * q.log()).sum(dim=1).mean()
    prior = -(q.mean(dim=0) * CLASSES).log().mean()
    assert torch.allclose(loss, ce + prior, atol=1e-5)
    # the prediction that a label is mended by is a target, and lets no gradient through
    assert not method.soft_targets().requires_grad


def test_without_regulariser_and_all_clean_it_stays_mixup() -> None:
    method, task = started(regulariser=0.0)
    step: Any = Step(task, LATE)
    assert torch.allclose(method.loss(step), Mixup().loss(step), atol=5e-3)


def test_the_mixture_is_fitted_from_the_last_epoch_of_warm_up_on() -> None:
    method, task = started()
    assert method.effective == {"warm_up": 3}
    task.logits = 6 * nn.functional.one_hot(task.labels, CLASSES).float()
    wrong = torch.tensor([1, 5, 6, 13])
    task.logits[wrong] = task.logits[wrong].roll(1, dims=1)
    task.logits += torch.linspace(0, 0.5, SAMPLES).unsqueeze(1) * task.logits.sign()
    for epoch in (0, 1):
        method.end_epoch(TRAIN, epoch)
        assert (method.clean_probability() == 1).all() and method.selected().all()
    method.end_epoch(TRAIN, 2)
    assert sorted((~method.selected()).nonzero().flatten().tolist()) == wrong.tolist()


def test_under_the_published_length_bootstrapping_begins_where_the_code_begins_it() -> None:
    """Epoch 106 of 300, counted from 1, so after the learning rate's drop; a third of a shorter training."""
    assert started(epochs=300)[0].effective == {"warm_up": 105}
    assert started(epochs=30)[0].effective == {"warm_up": 10}


def test_draws_repeat_and_warm_up_needs_room() -> None:
    method, _ = started()
    (work,) = method.passes(TRAIN, LATE)
    first, again = (work.draws(Steps(30, 6), torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["order"].shape == (30, 6)
    assert float(first["weight"].std()) < 0.12  # Beta(32, 32) keeps near a half: 0.062
    one = Setting("digits", "sym", 0.4, 4, 100, (1, 8, 8), 1, 64, "none", frozenset())
    assert "--epochs" in str(method.unsuitable(one))
