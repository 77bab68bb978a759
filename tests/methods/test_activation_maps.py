"""Activation maps, what they leave out of an image, and what erasing them leaves of a score."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.pieces import activation_maps as maps_of
from methods.pieces import erasing
from methods.pieces import information_reduction as reductions

torch.set_num_threads(1)

CHANNELS, CLASSES = 5, 4
seeds = st.integers(0, 10_000)


class Pooled(nn.Module):
    """A pointwise convolution and ReLU, then global mean pooling and a linear layer: symmetric under flips."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, CHANNELS, 1), nn.Linear(CHANNELS, CLASSES)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))
        self.feature_info: Any = [{"module": "image", "num_chs": 3}, {"module": "stem", "num_chs": CHANNELS}]

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_from(self.forward_to(images, "stem"), "stem")

    def forward_to(self, images: Tensor, stage: str) -> Tensor:
        return images if stage == "image" else self.stem(images).relu()

    def forward_from(self, features: Tensor, stage: str, pre_logits: bool = False) -> Tensor:
        # in place, as layers of real networks may work
        features = features.mul_(1) if stage == "stem" else self.stem(features).relu()
        pooled = features.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def get_classifier(self) -> nn.Module:
        return self.fc


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_the_mean_of_an_unrectified_map_and_the_bias_are_the_logit(seed: int) -> None:
    module, images = Pooled(seed), normal(6, 3, 4, 5, seed=seed)
    classes = torch.arange(6) % CLASSES
    features = module.forward_to(images, "stem").detach()
    weights, logits, scores = maps_of.channel_weights(module, features, classes, "stem")
    positions = features.shape[2] * features.shape[3]
    # Grad-CAM where pooling and a linear layer follow: the classifier's row over the positions
    torch.testing.assert_close(weights * positions, module.fc.weight.detach()[classes], rtol=1e-4, atol=1e-6)
    means = maps_of.activation_map(features, module.fc.weight[classes]).mean((1, 2))
    expected = module(images).gather(1, classes.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(means + module.fc.bias[classes], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, module(images).detach())
    torch.testing.assert_close(scores + module.fc.bias.detach(), logits)


@given(seed=seeds, stage=st.sampled_from(["last", "before-last"]))
@settings(max_examples=25, deadline=None)
def test_a_flipped_image_has_the_flipped_map_and_the_same_reduction(seed: int, stage: str) -> None:
    module, images, classes = Pooled(seed), normal(3, 3, 4, 6, seed=seed), torch.tensor([0, 1, 2])
    plain = maps_of.attend(module, images, classes, stage)
    flipped = maps_of.attend(module, images.flip(3), classes, stage)
    torch.testing.assert_close(flipped.maps, plain.maps.flip(2), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        maps_of.information_reduction(flipped.maps, flipped.energy),
        maps_of.information_reduction(plain.maps, plain.energy),
        rtol=1e-4,
        atol=1e-5,
    )


def test_attending_needs_no_gradient_mode_and_leaves_none() -> None:
    module = Pooled()
    with torch.no_grad():
        attention = maps_of.attend(module, normal(2, 3, 4, 4), torch.tensor([0, 1]), "last")
    assert not any(part.requires_grad for part in (attention.logits, attention.maps, attention.energy))
    assert all(weight.grad is None for weight in module.parameters())


def test_a_stage_is_found_by_place_and_name_and_refused_else() -> None:
    found = [maps_of.stage_name(Pooled(), stage) for stage in ("last", "before-last", "image")]
    assert found == ["stem", "image", "image"]
    with pytest.raises(ValueError, match=r"stage=layer9 must be .* one of .*: image, stem"):
        maps_of.stage_name(Pooled(), "layer9")


def test_tokens_are_no_feature_maps() -> None:
    module = Pooled()
    module.feature_info[-1]["num_chs"] = CHANNELS + 1
    with pytest.raises(ValueError, match="convolutional"):
        maps_of.feature_maps(module, normal(2, 3, 4, 4), "last")


@given(seed=seeds, scale=st.floats(1e-4, 1e4), shift=st.floats(-10, 10))
def test_min_max_reaches_one_and_zero_whatever_the_scale(seed: int, scale: float, shift: float) -> None:
    raw = uniform(3, 4, 4, seed=seed) * scale + shift * scale
    found = maps_of.min_max(raw)
    assert found.amin() >= 0 and found.amax() <= 1
    assert torch.equal(found.amax((1, 2)), torch.ones(3)) and torch.equal(found.amin((1, 2)), torch.zeros(3))


@given(value=st.floats(-1e6, 1e6, width=32))
def test_a_constant_map_is_zero_with_a_finite_gradient(value: float) -> None:
    raw = torch.full((2, 3, 3), value, requires_grad=True)
    found = maps_of.min_max(raw)
    torch.autograd.backward(found.sum())
    assert torch.equal(found, torch.zeros(2, 3, 3))
    assert raw.grad is not None and raw.grad.isfinite().all()


@given(seed=seeds)
def test_ranks_have_mean_one_half_and_the_order_of_the_values(seed: int) -> None:
    raw = (uniform(3, 4, 4, seed=seed) * 6).floor()
    ranks = maps_of.rank_normalised(raw)
    torch.testing.assert_close(ranks.mean((1, 2)), torch.full((3,), 0.5))
    flat, ranked = raw.flatten(1), ranks.flatten(1)
    order = (flat.unsqueeze(1) - flat.unsqueeze(2)).sign()
    assert torch.equal(order, (ranked.unsqueeze(1) - ranked.unsqueeze(2)).sign())


@given(seed=seeds, size=st.integers(4, 20))
def test_upsampling_stays_within_a_maps_range(seed: int, size: int) -> None:
    raw = normal(2, 4, 4, seed=seed)
    large = maps_of.upsample(raw, (size, size))
    assert (large.amax((1, 2)) <= raw.amax((1, 2)) + 1e-6).all()
    assert (large.amin((1, 2)) >= raw.amin((1, 2)) - 1e-6).all()


@given(seed=seeds, one=st.floats(1e-6, 1e6), two=st.floats(1e-6, 1e6))
def test_the_reduction_is_a_share_that_scales_do_not_move(seed: int, one: float, two: float) -> None:
    first, energy = normal(4, 3, 3, seed=seed), uniform(4, 3, 3, seed=seed + 1)
    found = maps_of.information_reduction(first, energy)
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(maps_of.information_reduction(one * first, two * energy), found, rtol=1e-3, atol=1e-5)
    proportional = maps_of.information_reduction(one * energy, two * energy)
    torch.testing.assert_close(proportional, torch.zeros(4), rtol=0, atol=1e-5)


def test_a_map_that_meets_no_energy_loses_everything() -> None:
    left = torch.tensor([[[1.0, 2.0, 0.0, 0.0]]])
    assert maps_of.information_reduction(left, left.flip(2)).item() == 1
    assert maps_of.information_reduction(torch.zeros_like(left), left).item() == 1
    assert maps_of.information_reduction(left, torch.zeros_like(left)).item() == 1
    assert maps_of.information_reduction(-left, left).item() == 1


@given(seed=seeds)
def test_the_whole_reduction_does_not_depend_on_the_scale_of_features_or_row(seed: int) -> None:
    module, images, classes = Pooled(seed), normal(4, 3, 4, 4, seed=seed), torch.arange(4)
    before = maps_of.attend(module, images, classes, "last")
    with torch.no_grad():
        module.fc.weight.mul_(7)
        for weight in module.stem.parameters():
            weight.mul_(3)
    after = maps_of.attend(module, images, classes, "last")
    torch.testing.assert_close(
        maps_of.information_reduction(after.maps, after.energy),
        maps_of.information_reduction(before.maps, before.energy),
        rtol=1e-3,
        atol=1e-5,
    )


@given(before=st.floats(-1e3, 1e3), after=st.floats(-1e3, 1e3), more=st.floats(0, 100))
def test_what_erasing_leaves_is_a_share_that_grows_with_the_score(before: float, after: float, more: float) -> None:
    values = maps_of.retained_score(torch.full((2,), before), torch.tensor([after, after + more]))
    assert ((values >= 0) & (values <= 1)).all()
    assert values[1] >= values[0]


def test_erasing_nothing_leaves_one_half_and_raising_the_score_still_has_a_gradient() -> None:
    before = torch.tensor([2.0, 2.0, 2.0, -1.0])
    after = torch.tensor([2.0, 3.0, -1.0, -1.0], requires_grad=True)
    left = maps_of.retained_score(before, after)
    torch.autograd.backward(left.sum())
    torch.testing.assert_close(left.detach(), torch.tensor([0.5, 0.6, 0.0, 0.0]), rtol=1e-5, atol=1e-5)
    assert after.grad is not None and (after.grad[:2] > 0).all() and (after.grad[2:] == 0).all()


@pytest.mark.parametrize("kind", reductions.KINDS)
def test_every_kind_of_information_gives_logits_and_a_share(kind: reductions.Kind) -> None:
    module, images = Pooled(), normal(5, 3, 8, 8)
    images[0] = 0
    found = reductions.logits_and_reduction(module, images, torch.arange(5) % CLASSES, "last", kind)
    torch.testing.assert_close(found[:, :-1], module(images).detach())
    assert found[:, -1].isfinite().all() and (found[:, -1] >= 0).all() and (found[:, -1] <= 1).all()


@given(seed=seeds)
@settings(max_examples=25, deadline=None)
def test_retained_entropy_grows_with_every_value_of_the_map(seed: int) -> None:
    information = reductions.local_entropy(uniform(2, 8, 8, seed=seed))
    assert information.amin() >= 0 and information.amax() <= math.log(reductions.BINS) + 1e-5
    gate = uniform(2, 8, 8, seed=seed + 1)
    larger = gate + (1 - gate) * uniform(2, 8, 8, seed=seed + 2)
    share, more = reductions.retained_share(gate, information), reductions.retained_share(larger, information)
    assert (more >= share - 1e-6).all()
    torch.testing.assert_close(reductions.retained_share(torch.ones(2, 8, 8), information), torch.ones(2))
    assert torch.equal(reductions.retained_share(torch.zeros(2, 8, 8), information), torch.zeros(2))


def test_local_entropy_is_zero_where_nothing_varies_and_counts_only_the_image_at_its_border() -> None:
    half = torch.cat([torch.zeros(1, 9, 5), torch.ones(1, 9, 5)], dim=2)
    entropy = reductions.local_entropy(half)
    assert torch.equal(entropy[..., :3], torch.zeros(1, 9, 3)) and torch.equal(entropy[..., 7:], torch.zeros(1, 9, 3))
    assert entropy[0, 0, 4].item() == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4), abs=1e-5)


@given(seed=seeds)
def test_standardised_values_have_mean_zero_and_deviation_one_in_each_class(seed: int) -> None:
    labels = torch.arange(40) % 3
    values = uniform(40, seed=seed) + labels
    found = reductions.standardised_per_class(values, labels, 4)
    for label in range(3):
        assert found[labels == label].mean().item() == pytest.approx(0, abs=1e-4)
        assert found[labels == label].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    flat = reductions.standardised_per_class(torch.tensor([2.0, 2.0, 5.0]), torch.tensor([0, 0, 1]), 3)
    assert torch.equal(flat, torch.zeros(3))


def test_location_gives_high_probability_to_small_reductions_and_one_where_all_are_equal() -> None:
    labels = torch.arange(60) % 3
    reduction = 0.1 * uniform(60) + 0.6 * (torch.arange(60) >= 40)
    found = reductions.location_clean_probability(reduction, labels, 3)
    assert found[:40].min() > 0.5 > found[40:].max()
    assert torch.equal(reductions.location_clean_probability(torch.ones(60), labels, 3), torch.ones(60))


def test_joining_with_weight_zero_is_the_loss_alone_to_the_bit() -> None:
    by_loss, by_location = uniform(9), uniform(9, seed=1)
    assert reductions.joined_clean_probability(by_loss, by_location, 0.0) is by_loss
    assert torch.equal(reductions.joined_clean_probability(by_loss, by_location, 1.0), by_location)


def test_rolled_maps_keep_their_values() -> None:
    raw = torch.arange(24.0).view(2, 3, 4)
    moved = erasing.rolled(raw, torch.tensor([[0.0, 0.0], [0.34, 0.25]]))
    assert torch.equal(moved[0], raw[0])
    assert torch.equal(moved[1], raw[1].roll((-1, -1), (0, 1)))


def test_erasing_reaches_the_weights_before_the_stage_and_not_those_behind_it() -> None:
    module, images, classes = Pooled(3), normal(6, 3, 4, 4), torch.arange(6) % CLASSES
    loss = erasing.erasure_loss(module, images, classes, "last", area=0.0)
    assert loss.shape == (6,) and ((loss >= 0) & (loss <= 1)).all()
    torch.autograd.backward(loss.sum())
    assert module.stem.weight.grad is not None and module.stem.weight.grad.abs().sum() > 0
    assert module.fc.weight.grad is None
    assert all(weight.requires_grad for weight in module.parameters())


def test_the_area_term_alone_is_the_mean_of_the_map_and_has_a_gradient() -> None:
    module, images, classes = Pooled(3), normal(6, 3, 4, 4), torch.arange(6) % CLASSES
    loss = erasing.erasure_loss(module, images, classes, "last", area=2.0, erase=False)
    attention = maps_of.attend(module, images, classes, "last")
    torch.testing.assert_close(loss.detach(), 2 * maps_of.min_max(attention.maps).mean((1, 2)))
    torch.autograd.backward(loss.sum())
    assert module.stem.weight.grad is not None and module.stem.weight.grad.abs().sum() > 0


@given(seed=seeds)
def test_softened_targets_still_sum_to_one_and_hand_over_what_was_asked(seed: int) -> None:
    targets, fraction = normal(5, CLASSES, seed=seed).softmax(dim=1), uniform(5, seed=seed)
    found = erasing.softened(targets, fraction)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(5))
    largest = targets.argmax(dim=1, keepdim=True)
    expected = targets.gather(1, largest).squeeze(1) * (1 - fraction)
    torch.testing.assert_close(found.gather(1, largest).squeeze(1), expected)


def test_masking_erases_more_of_what_is_less_believed() -> None:
    module, images = Pooled(), normal(2, 3, 10, 10)[:1].expand(2, -1, -1, -1).clone()
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    targets = torch.eye(CLASSES)[:1].expand(2, -1)
    loss = erasing.masking_loss(module, images, targets, torch.tensor([1.0, 0.0]), "before-last")
    assert loss.shape == (2,) and loss.isfinite().all()
    erased = (seen[0] == 0).all(dim=1).sum((1, 2))
    assert 0 <= erased[0] < erased[1] <= 10
