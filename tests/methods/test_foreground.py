"""The foreground that attention keeps, and what a label loses with it: FLSC's first stage."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.flsc import ForegroundLocalisation
from methods.interface import Phase
from methods.losses import cross_entropy
from methods.pieces import erasing, foreground
from methods.pieces.mixtures import gaussian_clean_probability, normalised

torch.set_num_threads(1)

CHANNELS, CLASSES = 5, 4
seeds = st.integers(0, 10_000)


class Head(nn.Module):
    """Images are the maps of stage "image"; a pointwise layer makes those of "stem"; then a pooling and a linear layer.

    `flat`: the head flattens in place of pooling. Features may be negative.
    """

    def __init__(self, seed: int = 0, flat: bool = False, positions: int = 20) -> None:
        super().__init__()
        self.flat = flat
        self.stem = nn.Conv2d(3, CHANNELS, 1)
        self.fc = nn.Linear(CHANNELS * (positions if flat else 1), CLASSES)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))
        self.feature_info: Any = [{"module": "image", "num_chs": 3}, {"module": "stem", "num_chs": CHANNELS}]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.forward_from(self.forward_to(images, "stem"), "stem", pre_logits=True))
        return logits

    def forward_to(self, images: Tensor, stage: str) -> Tensor:
        return images if stage == "image" else self.stem(images)

    def forward_from(self, features: Tensor, stage: str, pre_logits: bool = False) -> Tensor:
        # in place, as layers of real networks may work
        maps = features.mul_(1) if stage == "stem" else self.stem(features)
        pooled = maps.flatten(1) if self.flat else maps.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def get_classifier(self) -> nn.Module:
        return self.fc


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scores(module: nn.Module, images: Tensor, stage: str = "last") -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return foreground.foreground_scores(module, images, stage)


def reduction(module: nn.Module, images: Tensor, labels: Tensor, stage: str = "last") -> Tensor:
    with torch.no_grad():
        whole, kept = foreground.whole_and_foreground_losses(module, images, labels, stage).unbind(1)
    return kept - whole


# ---- Attention -------------------------------------------------------------------------------------------------------


@given(seed=seeds, exponent=st.floats(-30, 30))
def test_attention_has_mean_one_and_no_scale(seed: int, exponent: float) -> None:
    features = normal(3, CHANNELS, 4, 5, seed=seed)
    weights = foreground.attention_weights(features)
    torch.testing.assert_close(weights.mean((1, 2)), torch.ones(3))
    torch.testing.assert_close(weights, features.norm(dim=1) / features.norm(dim=1).mean((1, 2), keepdim=True))
    torch.testing.assert_close(foreground.attention_weights(features * 10.0**exponent), weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equal_norms_are_weights_of_exactly_one(dtype: torch.dtype) -> None:
    signs = normal(3, CHANNELS, 3, 3).sign()
    features = (signs * torch.tensor([0.1, 7.0, 1e-3])[:, None, None, None]).to(dtype)
    assert torch.equal(foreground.attention_weights(features), torch.ones(3, 3, 3))
    assert torch.equal(foreground.attention_weights(torch.zeros(2, CHANNELS, 3, 3)), torch.ones(2, 3, 3))


def test_one_lit_position_has_all_the_weight() -> None:
    features = torch.zeros(1, CHANNELS, 2, 2)
    features[0, 1, 0, 1] = -3.0
    assert torch.equal(foreground.attention_weights(features), torch.tensor([[[0.0, 4.0], [0.0, 0.0]]]))


# ---- Scores of the foreground ----------------------------------------------------------------------------------------


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_behind_it_a_mean_pooling_is_weighted_by_attention(seed: int) -> None:
    module, images = Head(seed), normal(4, 3, 4, 5, seed=seed)
    whole, kept = scores(module, images)
    features = module.stem(images).detach()
    attention = features.norm(dim=1, keepdim=True)
    pooled = (attention * features).sum((2, 3)) / attention.sum((2, 3))
    torch.testing.assert_close(kept, module.fc(pooled).detach(), rtol=1e-4, atol=1e-4)
    assert torch.equal(whole, module(images).detach())


@given(seed=seeds, order=st.permutations(range(CLASSES)), flat=st.booleans())
@settings(max_examples=25, deadline=None)
def test_permuting_the_classes_permutes_the_scores(seed: int, order: list[int], flat: bool) -> None:
    module, images, labels = Head(seed, flat), normal(6, 3, 4, 5, seed=seed), torch.arange(6) % CLASSES
    whole, kept = scores(module, images)
    before = reduction(module, images, labels)
    places = torch.tensor(order)
    with torch.no_grad():
        module.fc.weight.copy_(module.fc.weight[places])
        module.fc.bias.copy_(module.fc.bias[places])
    permuted = scores(module, images)
    torch.testing.assert_close(permuted[0], whole[:, places], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(permuted[1], kept[:, places], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(reduction(module, images, places.argsort()[labels]), before, rtol=1e-3, atol=1e-3)


# ---- The information reduction ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_label_loses_exactly_nothing_where_attention_is_even(flat: bool, dtype: torch.dtype) -> None:
    module, labels = Head(flat=flat, positions=9), torch.arange(4) % CLASSES
    images = normal(4, 3, 1, 1).expand(4, 3, 3, 3).clone()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        assert torch.equal(reduction(module, images, labels), torch.zeros(4))
        assert torch.equal(reduction(module, torch.zeros_like(images), labels, "image"), torch.zeros(4))


@given(seed=seeds, stage=st.sampled_from(["last", "before-last"]))
@settings(max_examples=25, deadline=None)
def test_a_mirrored_image_loses_as_much(seed: int, stage: str) -> None:
    module, images, labels = Head(seed), normal(4, 3, 4, 5, seed=seed), torch.arange(4) % CLASSES
    found = reduction(module, images, labels, stage)
    torch.testing.assert_close(reduction(module, images.flip(3), labels, stage), found, rtol=1e-3, atol=1e-3)


def test_a_label_that_the_background_gives_loses_more_than_the_objects() -> None:
    """Position 0, strong, speaks for class 0; the other three, weak, for class 1."""
    module = Head(positions=4)
    with torch.no_grad():
        module.fc.weight.zero_()
        module.fc.bias.zero_()
        module.fc.weight[0, 0], module.fc.weight[1, 1] = 1.0, 1.0
        module.stem.weight.zero_()
        module.stem.bias.zero_()
        module.stem.weight[0, 0], module.stem.weight[1, 1] = 1.0, 1.0
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0, 0, 0], images[0, 1].view(-1)[1:] = 4.0, 1.0
    pair = images.expand(2, -1, -1, -1).clone()
    of_object, of_scene = reduction(module, pair, torch.tensor([0, 1]))
    assert of_object < 0 < of_scene


@given(
    values=st.lists(st.tuples(st.floats(0, 2.0**90, width=32), st.floats(0, 2.0**90, width=32)), min_size=1),
    weight=st.floats(0, 1),
)
def test_fostered_losses_are_losses(values: list[tuple[float, float]], weight: float) -> None:
    whole, kept = torch.tensor(values).unbind(1)
    found = foreground.fostered_losses(whole, kept, weight)
    assert found.isfinite().all() and (found >= 0).all()
    assert torch.equal(foreground.fostered_losses(whole, kept, 0.0), whole)
    assert torch.equal(foreground.fostered_losses(whole, kept, 1.0), kept)
    expected = (1 - weight) * whole.double() + weight * kept.double()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_it_is_finite_whatever_the_features_size(scale: float) -> None:
    images = scale * normal(4, 3, 4, 5)
    images[0] = 0
    found = foreground.attention_weights(images)
    assert found.isfinite().all()
    if scale < 1:
        assert reduction(Head(), images, torch.arange(4), "image").isfinite().all()


# ---- In the method ---------------------------------------------------------------------------------------------------


class Task:
    """A training part whose inference gives losses of whole images and of foregrounds that the test sets."""

    samples, classes, epochs, batch_size, steps_per_epoch = 40, CLASSES, 12, 8, 1000

    def __init__(self, whole: Tensor, kept: Tensor) -> None:
        self.labels, self.found, self.asked = torch.arange(self.samples) % CLASSES, (whole, kept), list[float]()

    def state(self, name: str, tensor: Tensor) -> Tensor:
        return tensor.clone()

    def infer(self, network: int = 0, units: float = 1.0, **options: Any) -> Tensor:
        self.asked.append(units)
        return torch.stack(self.found, dim=1)


def test_the_mixture_is_on_the_fostered_losses_at_no_further_pass() -> None:
    whole, kept = normal(40).abs(), normal(40, seed=1).abs()
    method: Any = ForegroundLocalisation(localisation=0.5)
    task = Task(whole, kept)
    method.start(cast(Any, task))
    task.asked.clear()
    method.end_epoch(Phase("train", 12), 11)
    expected = gaussian_clean_probability(normalised(whole + 0.5 * (kept - whole)))
    torch.testing.assert_close(method.clean[0], expected)
    torch.testing.assert_close(method.reductions[1], kept - whole)
    assert task.asked == [1.0, 1.0]


def test_selection_follows_the_foreground_even_where_the_loss_is_sure() -> None:
    """Joining posteriors couldn't move these: the loss alone is certain of every one."""
    whole = torch.where(torch.arange(40) < 20, 0.01, 8.0)
    kept = torch.where(torch.arange(40) < 10, 12.0, torch.where(torch.arange(40) < 20, 0.01, 8.0))
    splits = []
    for values in ({"localisation": 0.5}, {"localisation": 0.0}):
        method: Any = ForegroundLocalisation(**values)
        method.infer_losses = lambda network, g=values["localisation"]: foreground.fostered_losses(whole, kept, g)
        method.start(cast(Any, Task(whole, kept)))
        method.end_epoch(Phase("train", 12), 11)
        splits.append(method.selected())
    assert not splits[0][:10].any() and splits[1][:10].all()


# ---- Erasing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flat", [False, True])
def test_erasing_knows_places_only_where_more_than_a_pooling_follows(flat: bool) -> None:
    """A known limit: where only a mean pooling follows, other places of the same features change nothing."""
    module, features, classes = Head(flat=flat), normal(6, 3, 4, 5), torch.arange(6) % CLASSES
    shuffled = features.flatten(2)[..., torch.randperm(20, generator=torch.Generator().manual_seed(0))].view_as(
        features
    )
    plain, permuted = (
        erasing.erasure_loss(module, each, classes, "last", area=0.1).detach() for each in (features, shuffled)
    )
    assert torch.allclose(plain, permuted, atol=1e-5) is not flat


def test_losses_are_those_of_the_plain_forward() -> None:
    module, images, labels = Head(3), normal(6, 3, 4, 5), torch.arange(6) % CLASSES
    with torch.no_grad():
        found = foreground.whole_and_foreground_losses(module, images, labels, "last")
        assert torch.equal(found[:, 0], cross_entropy(module(images), labels))
