"""MixNN on a stand-in for the core: what each of its stages computes, and what must hold for all inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.interface import Phase, Setting, Steps
from methods.losses import cross_entropy, soft_cross_entropy
from methods.mixnn import NearestNeighbourMixing
from methods.pieces.mixing import mix, partners

SAMPLES, CLASSES, SIZE = 12, 4, 3
TRAIN = Phase("train", 30)
seeds = st.integers(0, 2**31)


class LinearNetwork(nn.Module):
    """Logits are linear in the features, and these are the images."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images: Tensor) -> Tensor:
        return self.with_features(images)[0]

    def with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = images.flatten(1)
        return features @ self.weights, features


class Setup:
    """Images, labels, a network and a started method."""

    def __init__(self, seed: int = 0, epochs: int = 30, period: int | None = None, **values: Any) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.images = torch.randn(SAMPLES, 1, SIZE, SIZE, generator=generator)
        self.labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
        self.network = LinearNetwork(torch.randn(SIZE * SIZE, CLASSES, generator=generator))
        self.states: dict[str, Tensor] = {}
        self.method = NearestNeighbourMixing(**values)
        self.task = SimpleNamespace(
            samples=SAMPLES,
            classes=CLASSES,
            labels=self.labels,
            epochs=epochs,
            batch_size=SAMPLES,
            steps_per_epoch=50,
            restart_period=period,
            state=self.state,
            infer=self.infer,
        )
        self.method.start(self.task)  # type: ignore[arg-type]

    def state(self, name: str, tensor: Tensor) -> Tensor:
        self.states[name] = tensor.clone()
        return self.states[name]

    def infer(self, network: int, output: Callable[..., Tensor] | None = None) -> Tensor:
        with torch.no_grad():
            logits, features = self.network.with_features(self.images)
        return logits if output is None else torch.cat([logits, features], dim=1)

    def batch(self, index: Tensor) -> SimpleNamespace:
        return SimpleNamespace(index=index, labels=self.labels[index], views=[self.images[index]])

    def step(self, epoch: int, index: Tensor | None = None, draws: Mapping[str, Tensor] | None = None) -> Any:
        """A step on the samples `index` (None: all), with the streams that the method asks for."""
        index = torch.arange(SAMPLES) if index is None else index
        streams = {
            name: self.batch(index if stream.beside is None else stream.index[index])
            for name, stream in self.method.passes(TRAIN, epoch)[0].streams.items()
        }
        return SimpleNamespace(
            epoch=epoch,
            index=index,
            labels=self.labels[index],
            streams=streams,
            draws=draws or {},
            learn=(0,),
            network=lambda number: self.network,
            logits=lambda: self.network(streams["all"].views[0]),
        )

    def loss(self, epoch: int, index: Tensor | None = None, draws: Mapping[str, Tensor] | None = None) -> Tensor:
        return self.method.loss(self.step(epoch, index, draws))

    def others(self) -> Tensor:
        """Each sample's nearest other one by Euclidean distance, (SAMPLES,)."""
        flat = self.images.flatten(1)
        return torch.cdist(flat, flat).fill_diagonal_(torch.inf).argmin(dim=1)


def spread_targets(setup: Setup, seed: int) -> None:
    """Soft targets and weights as after some training."""
    generator = torch.Generator().manual_seed(seed)
    setup.states["targets"].copy_((2 * torch.randn(SAMPLES, CLASSES, generator=generator)).softmax(dim=1))
    setup.states["weights"].copy_(torch.rand(SAMPLES, generator=generator))


def after_start(setup: Setup) -> int:
    """An epoch in which neighbours are mixed."""
    return int(setup.method.effective["correction_start"])


def test_lengths_are_shares_of_the_training() -> None:
    assert Setup(epochs=300).method.effective == {"warm_up": 9, "correction_start": 60, "refreshes": 25}
    assert Setup(epochs=30).method.effective == {"warm_up": 2, "correction_start": 6, "refreshes": 24}
    assert Setup(epochs=2).method.effective == {"warm_up": 1, "correction_start": 1, "refreshes": 1}


def test_the_warm_up_is_cross_entropy_without_augmentation() -> None:
    setup = Setup()
    assert setup.method.passes(TRAIN, 0)[0].streams["all"].views == ("none",)
    assert torch.equal(setup.loss(0), cross_entropy(setup.network(setup.images), setup.labels).mean())
    assert Setup(warm_up_view="weak").method.passes(TRAIN, 0)[0].streams["all"].views == ("weak",)


@pytest.mark.parametrize("early_loss", ["linear", "ce"])
def test_before_the_correction_partners_are_random(early_loss: str) -> None:
    setup = Setup(early_loss=early_loss)
    drawn = setup.method.passes(TRAIN, 2)[0].draws(Steps(1, SAMPLES), torch.Generator().manual_seed(1))
    draws = {name: values[0] for name, values in drawn.items()}
    partner, weight = partners(draws["order"], SAMPLES), draws["weight"]
    p = setup.network(mix(setup.images, partner, weight)).softmax(dim=1)
    cost = 1 - p if early_loss == "linear" else -p.log()
    rows = torch.arange(SAMPLES)
    expected = weight * cost[rows, setup.labels] + (1 - weight) * cost[rows, setup.labels[partner]]
    assert torch.allclose(setup.loss(2, draws=draws), expected.mean(), atol=1e-6)
    assert torch.equal(setup.states["targets"], nn.functional.one_hot(setup.labels, CLASSES).float())


@given(seeds, st.sampled_from(["batch", "bank"]))
def test_equal_weights_are_plain_mixing(seed: int, scope: str) -> None:
    setup = Setup(seed, scope=scope, refreshes=1)
    spread_targets(setup, seed)
    setup.states["weights"].fill_(0.3)
    nearest = setup.others()
    if scope == "bank":
        setup.states["neighbours"].copy_(nearest.unsqueeze(1))
    targets = setup.states["targets"]
    expected = soft_cross_entropy(setup.network(mix(setup.images, nearest, 0.5)), mix(targets, nearest, 0.5))
    assert torch.allclose(setup.loss(after_start(setup)), expected.mean(), atol=1e-4)


def test_equal_weights_of_k_neighbours_are_their_mean() -> None:
    setup = Setup(neighbours=SAMPLES - 1, refreshes=1, epsilon="symmetric")
    setup.states["weights"].zero_()
    # everybody is everybody's neighbour, so all mixtures are the mean image and the mean target
    mean = setup.network(setup.images.mean(dim=0, keepdim=True))
    expected = soft_cross_entropy(mean, setup.states["targets"].mean(dim=0, keepdim=True))
    assert torch.allclose(setup.loss(after_start(setup)), expected.mean(), atol=1e-5)


def test_surely_noisy_neighbours_leave_a_sample_to_itself_as_in_the_code() -> None:
    setup = Setup(refreshes=1)
    setup.states["weights"].zero_()
    own = soft_cross_entropy(setup.network(setup.images), setup.states["targets"])
    assert torch.allclose(setup.loss(after_start(setup)), own.mean(), atol=1e-5)


@given(seeds)
def test_a_clean_sample_beside_a_noisy_one_stays_itself_and_the_noisy_one_becomes_it(seed: int) -> None:
    setup = Setup(seed, refreshes=1)
    spread_targets(setup, seed)
    nearest = setup.others()
    pair = torch.tensor([0, int(nearest[0])])
    setup.states["weights"].zero_()
    setup.states["weights"][0] = 1
    own = soft_cross_entropy(setup.network(setup.images[:1]), setup.states["targets"][:1])
    # in a batch of these two each is the other's neighbour
    assert torch.allclose(setup.loss(after_start(setup), pair), own.squeeze(), atol=1e-4)


@given(seeds, st.sampled_from(["symmetric", "as-released"]), st.integers(1, 3))
def test_the_order_of_a_batch_does_not_matter(seed: int, epsilon: str, neighbours: int) -> None:
    losses, targets = [], []
    for shuffled in (False, True):
        setup = Setup(seed, epsilon=epsilon, neighbours=neighbours)
        spread_targets(setup, seed)
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(seed)) if shuffled else None
        losses.append(setup.loss(after_start(setup), order))
        targets.append(setup.states["targets"])
    assert torch.allclose(*losses, atol=1e-4)
    assert torch.allclose(*targets, atol=1e-6)


def test_targets_move_in_their_epochs_only_and_by_their_momentum() -> None:
    setup = Setup(epochs=50, refreshes=4, momentum=0.9)
    start = after_start(setup)
    moved = []
    before = setup.states["targets"].clone()
    p = setup.network(setup.images).softmax(dim=1).detach()
    for epoch in range(start, 50):
        setup.loss(epoch)
        if not torch.equal(before, setup.states["targets"]):
            moved.append(epoch)
            assert torch.allclose(setup.states["targets"], 0.9 * before + 0.1 * p, atol=1e-6)
        before = setup.states["targets"].clone()
    assert moved == [19, 29, 39, 49]
    left = setup.states["targets"] - (1 - 0.9**4) * p
    assert torch.allclose(left, 0.9**4 * nn.functional.one_hot(setup.labels, CLASSES), atol=1e-5)


@given(st.integers(2, 400), st.integers(1, 60), st.floats(0, 0.99))
def test_there_are_as_many_refreshes_as_asked_for_or_epochs_left(epochs: int, asked: int, start: float) -> None:
    method = Setup(epochs=epochs, refreshes=asked, correction_start=start).method
    refreshed = [epoch for epoch in range(epochs) if epoch in method.refreshed]
    first = int(method.effective["correction_start"])
    assert len(refreshed) == method.effective["refreshes"] == min(asked, epochs - first)
    assert all(epoch >= first for epoch in refreshed)
    if refreshed:
        assert refreshed[-1] == epochs - 1


def test_under_restarts_targets_move_in_the_last_epoch_of_each_period() -> None:
    assert sorted(Setup(epochs=300, period=10).method.refreshed) == [*range(59, 300, 10)]
    assert Setup(epochs=300, period=10).method.effective["refreshes"] == 25
    # of 25 periods' ends every fifth, the last one among them
    assert sorted(Setup(epochs=300, period=10, refreshes=5).method.refreshed) == [99, 149, 199, 249, 299]
    # a period of the shortened schedule that is a single epoch, and one that never ends
    assert sorted(Setup(epochs=30, period=1).method.refreshed) == [*range(5, 30)]
    assert Setup(epochs=30, period=40).method.refreshed == Setup(epochs=30).method.refreshed


@given(st.integers(2, 400), st.integers(1, 60), st.floats(0, 0.99), st.integers(1, 50))
def test_periods_that_end_after_the_warm_up_are_where_targets_move(
    epochs: int, asked: int, start: float, period: int
) -> None:
    method = Setup(epochs=epochs, refreshes=asked, correction_start=start, period=period).method
    first = max(int(method.effective["correction_start"]) - 1, int(method.effective["warm_up"]))
    ends = [epoch for epoch in range(first, epochs) if epoch % period == period - 1]
    if ends:
        assert method.refreshed <= set(ends) and max(method.refreshed) == ends[-1]
        assert len(method.refreshed) == min(asked, len(ends))


def test_the_epoch_before_neighbours_are_mixed_may_move_targets_and_still_mixes_at_random() -> None:
    setup, plain = Setup(period=3, refreshes=99), Setup()
    before = after_start(setup) - 1
    assert before == 5
    drawn = setup.method.passes(TRAIN, before)[0].draws(Steps(1, SAMPLES), torch.Generator().manual_seed(1))
    draws = {name: values[0] for name, values in drawn.items()}
    p = setup.network(setup.images).softmax(dim=1).detach()
    assert torch.equal(setup.loss(before, draws=draws), plain.loss(before, draws=draws))
    expected = 0.9 * plain.states["targets"] + 0.1 * p
    assert torch.allclose(setup.states["targets"], expected, atol=1e-6)
    assert torch.equal(plain.states["targets"], nn.functional.one_hot(setup.labels, CLASSES).float())


@given(seeds, st.floats(0, 1), st.integers(1, 4), st.integers(2, SAMPLES))
def test_targets_stay_distributions_and_losses_finite(seed: int, momentum: float, neighbours: int, size: int) -> None:
    setup = Setup(seed, momentum=momentum, neighbours=neighbours)
    setup.network.weights.data.mul_(30)
    setup.states["weights"].zero_()
    for epoch in range(after_start(setup), 30):
        assert setup.loss(epoch, torch.arange(size)).isfinite()
    targets = setup.states["targets"]
    assert targets.min() >= 0
    assert torch.allclose(targets.sum(dim=1), torch.ones(SAMPLES), atol=1e-5)


@pytest.mark.parametrize("size", [1, 2])
def test_a_last_batch_of_few_samples_has_few_neighbours(size: int) -> None:
    setup = Setup(neighbours=5, refreshes=1)
    assert setup.loss(after_start(setup), torch.arange(size)).isfinite()


def test_duplicates_are_each_others_neighbours() -> None:
    setup = Setup(refreshes=1)
    setup.images[:] = setup.images[:1]
    expected = soft_cross_entropy(setup.network(setup.images), mix(setup.states["targets"], setup.others(), 0.5))
    assert torch.allclose(setup.loss(after_start(setup)), expected.mean(), atol=1e-5)


def test_only_the_mixed_pass_has_a_gradient() -> None:
    setup = Setup()
    passes: list[bool] = []
    forward = setup.network.with_features

    def watched(images: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = forward(images)
        passes.append(logits.requires_grad)
        return logits, features

    setup.network.with_features = watched  # type: ignore[method-assign]
    setup.loss(after_start(setup))
    assert passes == [False, True]
    setup.method.scope = "bank"
    setup.states["neighbours"] = setup.method.found = setup.others().unsqueeze(1)
    setup.method.refreshed = frozenset()
    setup.loss(after_start(setup))
    assert passes == [False, True, True]


# ---- What is refitted per epoch --------------------------------------------------------------------------------------


def test_weights_are_fitted_from_the_warm_ups_end_on_to_the_mean_of_the_history() -> None:
    setup = Setup(history=2)
    setup.method.end_epoch(TRAIN, 0)
    assert (setup.states["weights"] == 1).all()
    logits = setup.infer(0)
    given = cross_entropy(logits, setup.labels)
    setup.method.end_epoch(TRAIN, 1)
    first = (given - given.min()) / (given.max() - given.min())
    assert torch.allclose(setup.states["losses"][0], first, atol=1e-6)
    weights = setup.states["weights"].clone()
    assert weights[given.argmin()] > weights[given.argmax()]
    # the second of the history takes its own place, the third that of the first
    setup.network.weights.data.neg_()
    setup.method.end_epoch(TRAIN, 2)
    assert torch.allclose(setup.states["losses"][0], first, atol=1e-6)
    second = setup.states["losses"][1].clone()
    assert not torch.allclose(second, first)
    setup.method.end_epoch(TRAIN, 3)
    assert torch.allclose(setup.states["losses"], second.repeat(2, 1), atol=1e-6)


def test_weights_speak_of_the_corrected_target_and_an_overruled_label_is_not_believed() -> None:
    setup = Setup()
    predicted = setup.network(setup.images).argmax(dim=1)
    setup.states["targets"].copy_(nn.functional.one_hot(predicted, CLASSES))
    setup.method.end_epoch(TRAIN, 10)
    overruled = predicted != setup.labels
    assert overruled.any()
    assert (setup.method.clean_probability()[overruled] == 0).all()
    assert torch.equal(setup.method.clean_probability()[~overruled], setup.states["weights"][~overruled])
    assert not setup.method.selected()[overruled].any()
    assert torch.equal(setup.method.soft_targets(), setup.states["targets"])


def test_losses_that_are_all_alike_leave_everybody_clean() -> None:
    setup = Setup()
    setup.network.weights.data.zero_()
    setup.method.end_epoch(TRAIN, 5)
    assert (setup.states["weights"] == 1).all()


@pytest.mark.parametrize("neighbours", [1, 3])
def test_the_bank_holds_the_neighbours_of_the_whole_set(neighbours: int) -> None:
    setup = Setup(scope="bank", neighbours=neighbours)
    assert (setup.states["neighbours"] == torch.arange(SAMPLES).unsqueeze(1)).all()
    setup.method.end_epoch(TRAIN, after_start(setup) - 1)
    flat = setup.images.flatten(1)
    expected = torch.cdist(flat, flat).fill_diagonal_(torch.inf).argsort(dim=1)[:, :neighbours]
    assert torch.equal(setup.states["neighbours"], expected)
    streams = setup.method.passes(TRAIN, after_start(setup))[0].streams
    assert [stream.beside for stream in streams.values()] == [None] + neighbours * ["all"]


# ---- What can't run --------------------------------------------------------------------------------------------------


def setting(samples: int, batch: int, epochs: int = 30) -> Setting:
    return Setting("digits", "sym", 0.4, 10, samples, (1, 8, 8), epochs, batch, "none", frozenset())


def test_more_neighbours_than_there_are_others_are_refused_with_what_to_type() -> None:
    assert NearestNeighbourMixing(neighbours=63).unsuitable(setting(1000, 64)) is None
    assert "neighbours=63]" in str(NearestNeighbourMixing(neighbours=64).unsuitable(setting(1000, 64)))
    assert NearestNeighbourMixing(neighbours=64, scope="bank").unsuitable(setting(1000, 64)) is None
    for scope in ("batch", "bank"):
        assert "neighbours=39]" in str(NearestNeighbourMixing(neighbours=40, scope=scope).unsuitable(setting(40, 64)))
    assert "--epochs" in str(NearestNeighbourMixing().unsuitable(setting(1000, 64, epochs=1)))


@pytest.mark.parametrize("value", [{"neighbours": 0}, {"scope": "world"}, {"momentum": 1.1}, {"correction_start": 1}])
def test_parameters_outside_their_meaning_are_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        NearestNeighbourMixing(**value)
