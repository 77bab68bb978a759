"""What `js` and `gjs` share: their parameters and their published training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from methods._published import OTHER_SCALE, SOURCES, keyed, on_cifar10, published
from methods.interface import Parameter, Recipe, Search


def parameters(weight: float) -> tuple[Parameter, ...]:
    """The weight of the label, and whether the divergence is scaled."""
    return (
        Parameter(
            "weight",
            weight,
            "weight of the label in the divergence; 0: cross-entropy, 1: mean absolute error",
            "official code, CIFAR-10, symmetric noise 0.4",
            low=0.0,
            open_low=True,
            high=1.0,
            open_high=True,
            search=Search("uniform", 0.05, 0.95),
        ),
        Parameter(
            "scaled",
            True,
            "divide by -(1 - weight) ln(1 - weight), which gives the limits above",
            "paper; the WebVision code doesn't",
        ),
    )


def scale(weight: float) -> float:
    """What the scaled loss was divided by: -(1 - weight) ln(1 - weight)."""
    return -(1 - weight) * math.log1p(-weight)


def cifar(
    data_set: str, noise: str, rate: float | None, weight: float, learning_rate: float, weight_decay: float
) -> Recipe:
    """One CIFAR configuration of the official code. Every view is its strong one, which stands as `augmentation`."""
    training: Mapping[str, Any] = {
        "model": "preact-resnet34-narrow",
        "epochs": 400,
        "batch_size": 128,
        "optimizer": "sgd",
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "momentum": 0.9,
        "nesterov": True,
        "schedule": "step:200,300@0.1",
        "gradient_clip": None,
        "augmentation": "randaugment:1:3+crop4+flip+cutout16",
    }
    deviation = on_cifar10(data_set, OTHER_SCALE)
    return keyed(
        data_set, {"weight": weight, "scaled": True}, SOURCES["gjs"], noise, rate, training, deviation=deviation
    )


def webvision(learning_rate: float, batch_size: int) -> Recipe:
    """The WebVision configuration of the official code, whose loss isn't scaled."""
    training = {
        "model": "timm:resnet50",
        "epochs": 300,
        "batch_size": batch_size,
        "optimizer": "sgd",
        "learning_rate": learning_rate,
        "weight_decay": 1e-4,
        "momentum": 0.9,
        "nesterov": True,
        "schedule": "exponential:0.97",
        "gradient_clip": None,
    }
    return published("webvision", {"weight": 0.1, "scaled": False}, SOURCES["gjs"], training=training)
