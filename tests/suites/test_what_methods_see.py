"""What every registered method has seen: the same training, bit for bit, where labels that it isn't told are replaced.

Four epochs, so that warm-ups end and selectors, corrections and second phases do their work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.registry import methods
from bench.spec import RunSpec
from bench.training.noisy_data import NoisyData, build_trainer

CPU = torch.device("cpu")
DATA = "synthetic[classes=4,size=8,train=120,test=8]"
EPOCHS = 4


def trained_state(problem: NoisyData, spec: RunSpec) -> dict[str, Tensor]:
    """Every weight and buffer of networks and averages, and all that the method kept or learned beside them."""
    trainer = build_trainer(problem, spec, CPU)
    for _ in trainer.epochs():
        pass
    networks = enumerate((*trainer.networks, *trainer.task.averages))
    found = {
        f"network {number}: {name}": value.clone()
        for number, network in networks
        for name, value in network.module.state_dict().items()
    }
    found |= {f"learned: {name}": learned.values.detach() for name, learned in trainer.task.learned.items()}
    return found | {f"state: {name}": value for name, value in trainer.task.states.items()}


def differing(left: dict[str, Tensor], right: dict[str, Tensor]) -> list[str]:
    """The names of tensors that aren't equal bit for bit (NaN equals itself)."""
    assert left.keys() == right.keys()
    return [name for name in left if not torch.equal(left[name].nan_to_num(nan=7.25), right[name].nan_to_num(nan=7.25))]


def with_random_clean_labels(problem: NoisyData) -> NoisyData:
    """The same noisy labels, on which all clean ones are drawn anew: those of training part, hold-out and test set."""
    drawn = np.random.default_rng(1)
    data = problem.data
    train, test = (
        dataclasses.replace(part, labels=drawn.integers(4, size=len(part.labels))) for part in (data.train, data.test)
    )
    clean = drawn.integers(4, size=len(problem.clean_labels))
    assert (clean != problem.clean_labels).mean() > 0.5
    data = dataclasses.replace(data, train=train, test=test)
    return dataclasses.replace(problem, data=data, clean_labels=clean)


def with_random_held_labels(problem: NoisyData) -> NoisyData:
    """The same training part, beside a hold-out whose noisy labels are drawn anew."""
    labels = problem.noisy.labels.copy()
    labels[problem.hold_out] = np.random.default_rng(2).integers(4, size=len(problem.hold_out))
    assert len(problem.hold_out) > 20
    return dataclasses.replace(problem, noisy=dataclasses.replace(problem.noisy, labels=labels))


@pytest.fixture
def problem_and_spec(make: Any, problem_of: Any) -> Callable[[str], tuple[NoisyData, RunSpec]]:
    """The small problem of a method under pair noise, of which a quarter is held out."""

    def build(method: str) -> tuple[NoisyData, RunSpec]:
        fields = {"data_set": DATA, "epochs": EPOCHS, "noise": "pairflip", "hold_out": 0.25, "batch_size": 32}
        needs = set(methods()[method]["needs"])
        # a rate that the user states, since the realised one is counted on clean labels
        told = sorted("noise_rate=0.4" if name == "noise_rate" else name for name in needs)
        spec, runtime = make(method, privileges=tuple(told), **fields)
        return problem_of(spec, runtime), spec

    return build


def test_training_depends_on_no_label_that_the_method_is_not_told(method: str, problem_and_spec: Any) -> None:
    declared = methods()[method]
    problem, spec = problem_and_spec(method)
    usual = trained_state(problem, spec)
    changed = differing(usual, trained_state(with_random_clean_labels(problem), spec))
    assert bool(changed) == ("clean_labels" in declared["needs"]), (
        f"{method} declares that it needs {declared['needs']}, and with other clean labels these change: {changed[:5]}"
    )
    changed = differing(usual, trained_state(with_random_held_labels(problem), spec))
    assert bool(changed) == declared["uses_held_labels"], (
        f"{method} declares uses_held_labels = {declared['uses_held_labels']}, and with other labels on the hold-out "
        f"these tensors change: {changed[:5]}"
    )
