"""DivideMix: the split, the targets, the loss of a mix, and which network learns from whose split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.dividemix import DivideMix
from methods.interface import Phase, Setting, Steps
from methods.losses import cross_entropy

torch.set_num_threads(1)

SAMPLES, CLASSES, SIZE = 24, 4, 3
TRAIN = Phase("train", 12)


class Linear(nn.Module):
    """A linear network on flattened images."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layer = nn.Linear(SIZE * SIZE, CLASSES)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


class Task:
    """A training part whose inference gives what the test sets."""

    def __init__(self, epochs: int = 12, samples: int = SAMPLES, batch_size: int = 8) -> None:
        self.samples, self.classes, self.epochs, self.batch_size = samples, CLASSES, epochs, batch_size
        self.labels = torch.arange(samples) % CLASSES
        self.steps_per_epoch = 1000
        self.logits = [torch.zeros(samples, CLASSES), torch.zeros(samples, CLASSES)]
        self.states: dict[str, Tensor] = {}

    def state(self, name: str, tensor: Tensor) -> Tensor:
        self.states[name] = tensor.clone()
        return self.states[name]

    def infer(self, network: int = 0) -> Tensor:
        return self.logits[network]


class Step:
    """One step over streams of (index, labels, views)."""

    def __init__(self, streams: Mapping[str, Any], learn: tuple[int, ...], networks: Sequence[nn.Module]) -> None:
        self.streams, self.learn, self.networks = streams, learn, networks
        self.draws: dict[str, Tensor] = {}
        first = next(iter(streams.values()))
        self.index, self.labels = first.index, first.labels

    def network(self, number: int) -> nn.Module:
        return self.networks[number]

    def logits(self, stream: str | None = None, view: int = 0, network: int = 0) -> Tensor:
        batch = next(iter(self.streams.values())) if stream is None else self.streams[stream]
        logits: Tensor = self.networks[network](batch.views[view])
        return logits


def started(task: Task | None = None, **values: Any) -> tuple[Any, Any]:
    task = task or Task()
    method: Any = DivideMix(**values)
    method.start(task)
    return method, task


def batch(index: Sequence[int], task: Task, seed: int, views: int = 2) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(len(index), 1, SIZE, SIZE, generator=generator) for _ in range(views)]
    rows = torch.tensor(index)
    return SimpleNamespace(index=rows, labels=task.labels[rows], views=images)


def step_of(task: Task, unlabelled: bool = True, learn: int = 0, weight: float = 0.7, lambda_u: float = 3.0) -> Step:
    streams = {"labelled": batch([3, 9, 14, 2], task, 1)}
    if unlabelled:
        streams["unlabelled"] = batch([20, 0, 5], task, 2)
    step = Step(streams, (learn,), [Linear(0), Linear(1)])
    order = torch.rand(20, generator=torch.Generator().manual_seed(3))
    step.draws = {"weight": torch.tensor(weight), "order": order, "lambda_u": torch.tensor(lambda_u)}
    return step


def setting(epochs: int) -> Setting:
    return Setting("digits", "sym", 0.4, 4, 100, (1, 8, 8), epochs, 64, "none", frozenset())


# ---- The split -------------------------------------------------------------------------------------------------------


def test_each_network_learns_from_the_split_of_the_other() -> None:
    method, task = started()
    task.states["clean"][0] = (torch.arange(SAMPLES) < 10).float()
    task.states["clean"][1] = (torch.arange(SAMPLES) >= 6).float()
    first, second = method.passes(TRAIN, 11)
    assert (first.learn, second.learn) == ((0,), (1,))
    assert first.streams["labelled"].index.tolist() == list(range(6, SAMPLES))
    assert second.streams["labelled"].index.tolist() == list(range(10))
    assert second.streams["unlabelled"].index.tolist() == list(range(10, SAMPLES))
    assert first.streams["labelled"].batch == 4  # half of the run's batch of 8, the other half is unlabelled


def test_in_warm_up_each_network_learns_in_a_pass_of_its_own_over_everything() -> None:
    method, _ = started()
    passes = method.passes(TRAIN, method.effective["warm_up"] - 1)
    assert [work.learn for work in passes] == [(0,), (1,)]
    assert all(work.streams["all"].index is None for work in passes)


# ---- Targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epochs", "warm_up", "expected"), [(80, 1 / 80, 1), (40, 1 / 80, 2), (300, 1 / 30, 10)])
def test_a_published_warm_up_of_one_epoch_stays_one_epoch(epochs: int, warm_up: float, expected: int) -> None:
    """WebVision's and Clothing1M's; the floor of two epochs is for shorter trainings."""
    method, _ = started(Task(epochs=epochs), warm_up=warm_up)
    assert method.effective["warm_up"] == expected


def test_targets_use_the_other_networks_mixture_and_both_networks_guesses() -> None:
    method, task = started(temperature=1.0)
    task.states["clean"][0], task.states["clean"][1] = 0.9, 0.25
    step = step_of(task)
    method.loss(step)
    own, other = ((lambda view, net=net: net(view).softmax(dim=1)) for net in step.networks)
    known, rest = step.streams["labelled"], step.streams["unlabelled"]
    mean = (own(known.views[0]) + own(known.views[1])) / 2
    refined = 0.25 * nn.functional.one_hot(known.labels, CLASSES) + 0.75 * mean
    assert torch.allclose(method.soft_targets()[known.index], refined, atol=1e-6)
    guessed = sum(member(view) for member in (own, other) for view in rest.views) / 4
    assert torch.allclose(method.soft_targets()[rest.index], guessed, atol=1e-6)
    untouched = [i for i in range(SAMPLES) if i not in (*known.index.tolist(), *rest.index.tolist())]
    given_labels = nn.functional.one_hot(task.labels, CLASSES).float()
    assert torch.equal(method.soft_targets()[untouched], given_labels[untouched])


# ---- The loss --------------------------------------------------------------------------------------------------------


def by_hand(step: Step, targets: Tensor, labelled: int, lambda_u: float) -> Tensor:
    """The loss written out from the paper: mixed images and targets, cross-entropy, squared error, uniform prior."""
    streams = list(step.streams.values())
    images = torch.cat([view for stream in streams for view in stream.views])
    rows = torch.cat([targets[stream.index] for stream in streams for _ in range(2)])
    partner = step.draws["order"][: len(images)].argsort()
    weight = float(step.draws["weight"])
    mixed = weight * images + (1 - weight) * images[partner]
    rows = weight * rows + (1 - weight) * rows[partner]
    p = step.networks[step.learn[0]](mixed).softmax(dim=1)
    total = -(rows[:labelled] * p[:labelled].log()).sum(dim=1).mean()
    if len(p) > labelled:
        total = total + lambda_u * ((p[labelled:] - rows[labelled:]) ** 2).sum() / (len(p) - labelled) / CLASSES
    prior = torch.full((CLASSES,), 1 / CLASSES)
    return total + (prior * (prior / p.mean(dim=0)).log()).sum()


@pytest.mark.parametrize("learn", [0, 1])
@pytest.mark.parametrize("unlabelled", [True, False])
def test_the_loss_is_the_papers(learn: int, unlabelled: bool) -> None:
    method, task = started()
    task.states["clean"].copy_(torch.rand(2, SAMPLES, generator=torch.Generator().manual_seed(5)))
    step = step_of(task, unlabelled, learn)
    loss = method.loss(step)
    assert torch.allclose(loss, by_hand(step, method.soft_targets(), 8, 3.0), atol=1e-6)
    loss.backward()
    assert all(weight.grad is not None for weight in step.networks[learn].parameters())
    assert all(weight.grad is None for weight in step.networks[1 - learn].parameters())


def test_without_the_unlabelled_forward_only_labelled_rows_of_the_mix_count() -> None:
    method, task = started(lambda_u=0.0, forward_unlabelled=False)
    step = step_of(task, lambda_u=0.0)
    seen: list[int] = []
    step.networks[0].register_forward_hook(lambda module, images, logits: seen.append(len(logits)))
    loss = method.loss(step)
    assert seen[-1] == 8
    full, full_task = started(lambda_u=0.0)
    other = step_of(full_task, lambda_u=0.0)
    # the cross-entropy is the same, the uniform prior is of other rows
    assert not torch.allclose(loss, full.loss(other))
    with pytest.raises(ValueError, match="lambda_u=0"):
        DivideMix(forward_unlabelled=False)


@pytest.mark.parametrize("learn", [0, 1])
def test_warm_up_is_cross_entropy_of_the_learning_network_less_its_entropy(learn: int) -> None:
    method, task = started()
    step = Step({"all": batch([1, 5, 7], task, 4, views=1)}, (learn,), [Linear(0), Linear(1)])
    plain = cross_entropy(step.logits(network=learn), step.labels).mean()
    assert torch.allclose(method.loss(step), plain)
    p = step.logits(network=learn).softmax(dim=1)
    entropy = -(p * p.log()).sum(dim=1).mean()
    penalised, _ = started(penalty=2.0)
    assert torch.allclose(penalised.loss(step), plain - 2 * entropy)


def test_an_extra_term_is_added_for_the_learning_network() -> None:
    method, task = started()
    base = method.loss(step_of(task, learn=1))
    asked: list[int] = []

    def extra(step: Step, network: int) -> Tensor:
        asked.append(network)
        return torch.tensor(0.5)

    method.extra = extra
    assert torch.allclose(method.loss(step_of(task, learn=1)), base + 0.5)
    assert asked == [1]


# ---- The schedule ----------------------------------------------------------------------------------------------------


@given(st.integers(3, 40), st.integers(1, 7), st.floats(0, 1))
def test_lambda_u_grows_from_zero_at_the_end_of_warm_up(epochs: int, steps: int, ramp: float) -> None:
    method, _ = started(Task(epochs=epochs), ramp=ramp)
    warm_up = method.effective["warm_up"]
    weights = torch.cat(
        [
            method.passes(TRAIN, epoch)[0].draws(Steps(steps, 4), torch.Generator().manual_seed(0))["lambda_u"]
            for epoch in range(warm_up, epochs)
        ]
    )
    assert (weights[1:] >= weights[:-1]).all() and float(weights.max()) <= 25
    if ramp > 0:
        assert float(weights[0]) == 0
    if warm_up + method.effective["ramp"] < epochs - 1:
        assert float(weights[-1]) == 25


def test_mixing_weights_are_at_least_a_half_and_orders_cover_four_batches() -> None:
    method, _ = started()
    (work, _) = method.passes(TRAIN, 11)
    first, again = (work.draws(Steps(50, 2), torch.Generator().manual_seed(1)) for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert float(first["weight"].min()) >= 0.5 and float(first["weight"].max()) <= 1
    # labelled and unlabelled batches of up to 4 + 1, two views each, however few labelled samples there are
    assert first["order"].shape == (50, 20)


# ---- The refit -------------------------------------------------------------------------------------------------------


def set_losses(task: Task, network: int, wrong: Sequence[int], gap: float = 6.0) -> None:
    """Inference that agrees with all labels but those of `wrong`."""
    logits = gap * nn.functional.one_hot(task.labels, CLASSES).float()
    logits[list(wrong)] = logits[list(wrong)].roll(1, dims=1)
    task.logits[network] = logits + torch.linspace(0, 0.5, task.samples).unsqueeze(1) * logits.sign()


def test_mixtures_are_fitted_from_the_last_epoch_of_warm_up_on() -> None:
    method, task = started()
    set_losses(task, 0, [1, 2])
    set_losses(task, 1, [1, 7])
    for epoch in range(method.effective["warm_up"] - 1):
        method.end_epoch(TRAIN, epoch)
        assert (method.clean_probability() == 1).all()
    method.end_epoch(TRAIN, method.effective["warm_up"] - 1)
    clean = method.clean_probability()
    assert clean[1] < 0.1 and abs(float(clean[2]) - 0.5) < 0.1 and abs(float(clean[7]) - 0.5) < 0.1
    assert (clean[8:] > 0.9).all()
    assert method.selected().dtype == torch.bool and not method.selected()[1]
    assert {"clean", "past", "targets"} == set(task.states)


def test_a_history_averages_the_last_epochs_normalised_losses() -> None:
    method, _ = started(history=3)
    fitted: list[Tensor] = []
    method.fit = lambda network, losses: fitted.append(losses.clone()) or torch.ones(SAMPLES)
    seen: list[Tensor] = []
    warm_up = method.effective["warm_up"]
    for turn in range(6):
        losses = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(turn))
        method.infer_losses = lambda network, losses=losses: losses
        seen.append((losses - losses.min()) / (losses.max() - losses.min()))
        method.end_epoch(TRAIN, warm_up - 1 + turn)
        assert torch.allclose(fitted[-1], torch.stack(seen[-3:]).mean(dim=0), atol=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.sampled_from([0.0, 1.0, 50.0]))
def test_whatever_is_inferred_the_next_epoch_has_batches(seed: int, scale: float) -> None:
    method, task = started(threshold=0.9)
    generator = torch.Generator().manual_seed(seed)
    task.logits = [scale * torch.randn(SAMPLES, CLASSES, generator=generator) for _ in range(2)]
    method.end_epoch(TRAIN, 11)
    clean = method.clean_probability()
    assert ((clean >= 0) & (clean <= 1)).all()
    assert all(len(work.streams["labelled"].index) >= 2 for work in method.passes(TRAIN, 11))


def test_one_epoch_has_no_room() -> None:
    assert "--epochs" in str(DivideMix().unsuitable(setting(1)))
    assert DivideMix().unsuitable(setting(2)) is None
