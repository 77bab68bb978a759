"""The mixup ensemble: members that mix by themselves, each of which is mixup."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.interface import Phase, Steps
from methods.losses import cross_entropy
from methods.mixup import Mixup
from methods.mixup_ensemble import MixupEnsemble

TRAIN = Phase("train", 2)


def stepped(weight: Tensor, networks: list[Any], seed: int = 0) -> tuple[Any, Tensor, Tensor]:
    """A step of six images, each member's weight given."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(6, 5, generator=generator)
    labels = torch.randint(5, (6,), generator=generator)
    draws = {"weight": weight, "order": torch.rand(len(weight), 8, generator=generator)}
    step = SimpleNamespace(
        labels=labels,
        learn=tuple(range(len(weight))),
        draws=draws,
        streams={"all": SimpleNamespace(views=[images])},
        network=networks.__getitem__,
    )
    return step, images, labels


def linear(seed: int) -> torch.nn.Linear:
    layer = torch.nn.Linear(5, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(5, 5, generator=torch.Generator().manual_seed(seed)))
        layer.bias.zero_()
    return layer


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_with_weights_of_one_it_is_cross_entropy_of_every_member(seed: int) -> None:
    networks = [linear(1), linear(2)]
    step, images, labels = stepped(torch.ones(2), networks, seed)
    expected = sum(cross_entropy(network(images), labels).mean() for network in networks)
    assert torch.allclose(MixupEnsemble().loss(step), torch.as_tensor(expected))


@settings(max_examples=25)
@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_members_gradient_does_not_depend_on_the_others(mine: float, theirs: float) -> None:
    gradients = []
    for other_weight, other in ((theirs, linear(2)), (0.5, linear(3))):
        network = linear(1)
        step, *_ = stepped(torch.tensor([mine, other_weight]), [network, other])
        gradients.append(torch.autograd.grad(MixupEnsemble().loss(step), network.weight)[0])
    assert torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_members_draw_for_themselves_and_the_first_as_mixup_does(alpha: float) -> None:
    (work,), (alone,) = MixupEnsemble(alpha=alpha, members=3).passes(TRAIN, 0), Mixup(alpha=alpha).passes(TRAIN, 0)
    drawn = work.draws(Steps(50, 8), torch.Generator().manual_seed(1))
    single = alone.draws(Steps(50, 8), torch.Generator().manual_seed(1))
    assert drawn["weight"].shape == (50, 3) and drawn["order"].shape == (50, 3, 8)
    assert work.learn == (0, 1, 2)
    for name, values in drawn.items():
        assert torch.equal(values[:, 0], single[name])
        assert not torch.equal(values[:, 0], values[:, 1])


def test_its_first_member_is_mixup_bit_for_bit(trained: Any, equal: Any) -> None:
    members = trained(MixupEnsemble())
    assert len(members) == 2
    assert equal(members[:1], trained(Mixup()))
    assert not equal(members[:1], members[1:])
