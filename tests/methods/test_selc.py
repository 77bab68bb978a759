"""What SELC and SELC+ compute: where targets stand after so many visits, and what each phase trains on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import one_hot

from bench.registry import methods
from bench.spec import RunSpec, Runtime
from bench.training.noisy_data import build_noisy_data, build_trainer
from methods.interface import Phase, Setting, Steps
from methods.losses import cross_entropy
from methods.selc import SelfEnsembleLabelCorrection
from methods.selc_plus import CORRECT, RETRAIN, SelfEnsembleLabelCorrectionPlus

torch.set_num_threads(1)

SAMPLES, CLASSES, EPOCHS = 9, 4, 20

seeds = st.integers(0, 2**31 - 1)


def normal(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


class LabelTask:
    """A task that keeps states and a run's length."""

    def __init__(self, epochs: int = EPOCHS) -> None:
        self.samples, self.classes, self.epochs = SAMPLES, CLASSES, epochs
        self.labels = torch.randint(CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(5))

    def state(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.clone()


def started(method: Any, epochs: int = EPOCHS) -> Any:
    method.start(LabelTask(epochs))
    return method


def visit(method: Any, logits: Tensor, index: Tensor, epoch: int = EPOCHS - 1) -> Tensor:
    """The loss of one batch, with the draws of its epoch's pass."""
    (work,) = method.passes(Phase(CORRECT, EPOCHS), epoch)
    drawn = work.draws(Steps(1, len(index)), torch.Generator().manual_seed(0))
    step = SimpleNamespace(
        phase=CORRECT,
        index=index,
        labels=method.task.labels[index],
        draws={name: value[0] for name, value in drawn.items()},
        logits=lambda: logits,
    )
    loss: Tensor = method.loss(step)
    return loss


@given(st.floats(0, 1), st.integers(0, 12), seeds, st.floats(0, 60))
def test_targets_are_distributions_and_the_loss_finite(momentum: float, visits: int, seed: int, scale: float) -> None:
    method = started(SelfEnsembleLabelCorrection(momentum=momentum))
    for number in range(visits):
        loss = visit(method, normal(seed + number, SAMPLES, CLASSES, scale=scale), torch.arange(SAMPLES))
        assert loss.isfinite() and loss >= 0
    targets = method.soft_targets()
    assert targets.min() >= 0 and torch.allclose(targets.sum(dim=1), torch.ones(SAMPLES), atol=1e-5)
    assert torch.equal(method.clean_probability(), targets[torch.arange(SAMPLES), method.task.labels])
    assert torch.equal(method.selected(), targets.argmax(dim=1) == method.task.labels)


@given(st.floats(0, 1), st.integers(0, 15))
def test_after_k_visits_the_given_label_weighs_momentum_to_the_k(momentum: float, visits: int) -> None:
    """Against predictions that give it nothing; the rest goes to what is predicted, geometrically."""
    method = started(SelfEnsembleLabelCorrection(momentum=momentum))
    predicted = (method.task.labels + 1) % CLASSES
    for _ in range(visits):
        visit(method, 1e4 * one_hot(predicted, CLASSES).float(), torch.arange(SAMPLES))
    expected = torch.full((SAMPLES,), momentum**visits)
    assert torch.allclose(method.clean_probability(), expected, rtol=1e-4, atol=1e-7)
    assert torch.allclose(method.targets.gather(1, predicted.unsqueeze(1)).squeeze(1), 1 - expected, atol=1e-5)


@given(seeds, st.integers(0, EPOCHS - 1), st.floats(0, 1))
def test_until_the_turning_point_it_is_cross_entropy(seed: int, epoch: int, share: float) -> None:
    method = started(SelfEnsembleLabelCorrection(turning_point=share, momentum=0.5))
    logits = normal(seed, SAMPLES, CLASSES, scale=3.0).requires_grad_()
    loss = visit(method, logits, torch.arange(SAMPLES), epoch)
    plain = cross_entropy(logits, method.task.labels).mean()
    (own,), (expected,) = torch.autograd.grad(loss, logits), torch.autograd.grad(plain, logits)
    before = epoch < method.effective["turning_point"]
    assert torch.equal(method.targets, one_hot(method.task.labels, CLASSES).float()) == before
    assert torch.equal(own, expected) == before


@given(seeds)
def test_momentum_one_is_cross_entropy_for_ever_and_zero_self_training(seed: int) -> None:
    logits = normal(seed, SAMPLES, CLASSES)
    for_ever = started(SelfEnsembleLabelCorrection(momentum=1))
    loss = visit(for_ever, logits, torch.arange(SAMPLES))
    assert torch.allclose(loss, cross_entropy(logits, for_ever.task.labels).mean())
    alone = started(SelfEnsembleLabelCorrection(momentum=0))
    loss = visit(alone, logits, torch.arange(SAMPLES))
    p = logits.softmax(dim=1)
    assert torch.allclose(loss, -(p * p.log()).sum(dim=1).mean(), atol=1e-6)
    assert torch.allclose(alone.targets, p)


def test_the_gradient_is_that_of_fixed_targets_and_others_stay_as_they_are() -> None:
    method = started(SelfEnsembleLabelCorrection(momentum=0.6))
    index = torch.tensor([4, 1, 7])
    before = method.targets.clone()
    logits = normal(3, 3, CLASSES).requires_grad_()
    loss = visit(method, logits, index)
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = (logits.softmax(dim=1) - method.targets[index]) / 3  # of a soft cross-entropy
    assert torch.allclose(gradient, expected.detach(), atol=1e-6)
    others = [i for i in range(SAMPLES) if i not in index.tolist()]
    assert torch.equal(method.targets[others], before[others]) and not torch.equal(method.targets, before)


@pytest.mark.parametrize(("share", "epochs", "length"), [(0.15, 200, 30), (0.15, 10, 2), (0.15, 2, 1), (0.0, 10, 0)])
def test_the_turning_point_scales_with_the_training(share: float, epochs: int, length: int) -> None:
    assert started(SelfEnsembleLabelCorrection(turning_point=share), epochs).effective == {"turning_point": length}


def test_one_epoch_is_too_short_and_says_what_to_type() -> None:
    values = dict.fromkeys(("data_set", "noise", "augmentation"), "none")
    setting = Setting(
        **values, rate=0.4, classes=4, samples=9, image_shape=(3, 8, 8), epochs=1, batch_size=4, given=frozenset()
    )
    assert "--epochs 2" in (SelfEnsembleLabelCorrectionPlus().unsuitable(setting) or "")
    assert SelfEnsembleLabelCorrection(turning_point=0).unsuitable(setting) is None


class Linear(nn.Module):
    """A linear network on flattened images."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


@given(seeds, st.floats(0, 1))
def test_the_second_phase_is_mixup_on_the_corrected_labels_which_stay(seed: int, weight: float) -> None:
    method = started(SelfEnsembleLabelCorrectionPlus())
    method.targets.copy_(normal(seed, SAMPLES, CLASSES).softmax(dim=1))
    kept, index = method.targets.clone(), torch.tensor([8, 0, 3, 5])
    images, network = normal(seed + 1, 4, 1, 3, 3), Linear()
    step = SimpleNamespace(
        phase=RETRAIN,
        index=index,
        labels=method.task.labels[index],
        draws={"weight": torch.tensor(weight), "order": torch.tensor([0.4, 0.1, 0.9, 0.3, 0.7])},
        streams={"all": SimpleNamespace(views=[images])},
        network=lambda number: network,
    )
    corrected = one_hot(kept.argmax(dim=1), CLASSES).float()[index]
    partner = torch.tensor([1, 3, 0, 2])
    mixed, target = (weight * value + (1 - weight) * value[partner] for value in (images, corrected))
    expected = -(target * network(mixed).log_softmax(dim=1)).sum(dim=1).mean()
    assert torch.allclose(method.loss(step), expected, atol=1e-5)
    assert torch.equal(method.targets, kept)


def test_each_phase_of_selc_plus_is_as_long_as_the_run_and_the_second_begins_anew() -> None:
    method = started(SelfEnsembleLabelCorrectionPlus(alpha=0.3))
    first, second = method.phases()
    assert (first.name, first.epochs, first.initialise) == (CORRECT, EPOCHS, ())
    assert (second.name, second.epochs, second.initialise) == (RETRAIN, EPOCHS, (0,))
    draws = [
        method.passes(phase, 0)[0].draws(Steps(4, 3), torch.Generator().manual_seed(0)).keys()
        for phase in (first, second)
    ]
    assert [set(each) for each in draws] == [{"momentum"}, {"weight", "order"}]


def spec_of(method: str, **parameters: Any) -> RunSpec:
    defaults = {parameter["name"]: parameter["default"] for parameter in methods()[method]["parameters"]}
    return RunSpec(
        method=method,
        parameters=defaults | parameters,
        data_set="synthetic[classes=4,size=8,train=80,test=24]",
        data_sha256="tiny",
        noise="sym",
        rate=0.4,
        model="cnn-small",
        augmentation="crop1",
        strong_augmentation="crop1+cutout",
        epochs=2,
        batch_size=32,
        learning_rate=0.05,
        weight_decay=0.0,
        precision="fp32",
    )


def trained(problem: Any, spec: RunSpec, epochs: int) -> tuple[dict[str, Tensor], list[float], Any]:
    """Weights and training losses after so many epochs of a run."""
    trainer = build_trainer(problem, spec, torch.device("cpu"))
    losses = [done.train_loss for _, done in zip(range(epochs), trainer.epochs(), strict=False)]
    weights = {name: value.clone() for name, value in trainer.networks[0].module.state_dict().items()}
    return weights, losses, trainer


def test_trained_by_the_core_it_is_ce_bit_for_bit_until_its_turning_point(tmp_path: Path) -> None:
    runtime = Runtime(
        data_source="synthetic[classes=4,size=8,train=80,test=24]",
        noise_source="sym",
        cache=str(tmp_path),
        threads=1,
        checkpoint_seconds=0.0,
    )
    problem = build_noisy_data(spec_of("ce"), runtime)
    plain, losses, _ = trained(problem, spec_of("ce"), 2)
    never, own, _ = trained(problem, spec_of("selc", turning_point=1.0), 2)
    assert own == losses and all(torch.equal(never[name], plain[name]) for name in plain)
    early, one, trainer = trained(problem, spec_of("selc", turning_point=0.5, momentum=0.0), 2)
    assert one[0] == losses[0] and one[1] != losses[1]
    assert not all(torch.equal(early[name], plain[name]) for name in plain)
    assert not torch.equal(trainer.method.targets, one_hot(trainer.task.labels, 4).float())
