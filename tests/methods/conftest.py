"""A training by the real core, small enough for a test of what a method makes of its networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.spec import RunSpec
from bench.training.images.image_store import ImageStore
from bench.training.method_task import TrainingPart
from bench.training.trainer import Trainer
from methods.interface import Method

torch.set_num_threads(1)

Weights = list[dict[str, Tensor]]


def train(method: Method, rate: float = 0.0, **fields: Any) -> Weights:
    """Weights of every network after training on 41 random images of 4 classes in batches of 8 and one of 9.

    `rate` is what is told as the noise rate; keyword arguments replace fields of the spec.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (41, 8, 8, 1), dtype=torch.uint8, generator=generator)
    labels = torch.randint(4, (41,), generator=generator)
    part = TrainingPart(
        images=ImageStore(images, [0.5], [0.25], pad=1),
        labels=labels,
        classes=4,
        held_images=ImageStore(images[:0], [0.5], [0.25]),
        held_labels=labels[:0],
        privileges={"noise_rate": rate},
    )
    values: dict[str, Any] = {
        "method": method.name,
        "data_set": "random",
        "data_sha256": "0",
        "noise": "none",
        "model": "cnn-small",
        "augmentation": "crop1",
        "strong_augmentation": "crop1+cutout",
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.05,
        "schedule": "constant",
    }
    trainer = Trainer(method, RunSpec(**(values | fields)), part, torch.device("cpu"))
    for done in trainer.epochs():
        assert math.isfinite(done.train_loss)
    return [network.module.state_dict() for network in trainer.networks]


def same(left: Weights, right: Weights) -> bool:
    """Whether two sets of weights agree bit for bit."""
    return all(torch.equal(a[name], b[name]) for a, b in zip(left, right, strict=True) for name in a)


@pytest.fixture
def trained() -> Callable[..., Weights]:
    """`train`, for tests."""
    return train


@pytest.fixture
def equal() -> Callable[[Weights, Weights], bool]:
    """`same`, for tests."""
    return same
