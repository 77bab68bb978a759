"""Parameters and published settings of ELR+.

Sources: Liu et al., NeurIPS 2020, arXiv 2007.00151, and the configurations of its official code (shengliu66/ELR).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods._published import OTHER_SCALE, cifar_training, keyed, published
from methods.elr import EarlyLearningRegularization
from methods.interface import Parameter, Search

_CODE = "ELR's official code (shengliu66/ELR 934af53), of ELR+"
_CIFAR10_STEPS = 200 * 391
_CIFAR100_STEPS = 250 * 391
_CLOTHING1M_STEPS = 15 * 3000
_WEBVISION_STEPS = 100 * 2061
"""65,944 images, Google's part of the first 50 classes, in batches of 32."""

PARAMETERS = (
    *EarlyLearningRegularization.parameters,
    Parameter(
        "alpha",
        1.0,
        "both parameters of the Beta distribution of the blend",
        "official code, CIFAR",
        low=0.01,
        high=1000.0,
        search=Search("log-uniform", 0.1, 8.0),
    ),
    Parameter(
        "decay",
        0.997,
        "decay of the averaged weights per step of a training of reference_steps",
        "official code, CIFAR",
        low=0.0,
        high=1.0,
        open_high=True,
        search=Search("uniform", 0.99, 0.9999),
    ),
    Parameter(
        "average_ramp",
        40_000 / _CIFAR10_STEPS,
        "share of the training over which that decay rises from 0.7 % of itself (0: a plain mean of the weights first)",
        "official code, CIFAR-10: 40,000 of 78,200 steps",
        low=0.0,
        high=1.0,
    ),
    Parameter(
        "reference_steps",
        _CIFAR10_STEPS,
        "steps of the training that the decay is published for",
        "official code, CIFAR-10: 200 epochs of 391 batches",
        low=1,
    ),
    Parameter(
        "ramp",
        0.0,
        "share of the training over which the regulariser's weight rises from 0.7 % of itself (0: at once)",
        "official code, CIFAR-10",
        low=0.0,
        high=1.0,
    ),
    Parameter(
        "refine",
        False,
        "whether mixed labels are multiplied by the targets and normalised",
        "official code: with 100 classes only",
    ),
)

_TRAINING = cifar_training("preact-resnet18", 200, 0.02, 5e-4, "step:150@0.1")
_LARGE: Mapping[str, Any] = {key: value for key, value in _TRAINING.items() if key != "augmentation"}

RECIPES = (
    keyed("cifar10", {"lam": 3.0, "beta": 0.7}, _CODE, "sym-incl", training=_TRAINING, deviation=OTHER_SCALE),
    keyed("cifar10", {"lam": 1.0, "beta": 0.9}, _CODE, "asym", training=_TRAINING, deviation=OTHER_SCALE),
    published(
        "cifar100",
        {
            "lam": 7.0,
            "beta": 0.9,
            "average_ramp": 40_000 / _CIFAR100_STEPS,
            "reference_steps": _CIFAR100_STEPS,
            "ramp": 40_000 / _CIFAR100_STEPS,
            "refine": True,
        },
        _CODE,
        training={**_TRAINING, "epochs": 250, "schedule": "step:200@0.1"},
    ),
    published(
        "clothing1m",
        {"decay": 0.9999, "average_ramp": 0.0, "reference_steps": _CLOTHING1M_STEPS},
        f"{_CODE}; its 3000 class-balanced batches an epoch are left out",
        "clean validation",
        training={
            **_LARGE,
            "model": "timm:resnet50",
            "epochs": 15,
            "batch_size": 64,
            "learning_rate": 2e-3,
            "weight_decay": 1e-3,
            "schedule": "step:7@0.1",
        },
    ),
    published(
        "webvision",
        {"alpha": 1.5, "average_ramp": 0.0, "reference_steps": _WEBVISION_STEPS},
        _CODE,
        training={
            **_LARGE,
            "model": "timm:inception_resnet_v2",
            "epochs": 100,
            "batch_size": 32,
            "schedule": "step:50@0.1",
        },
    ),
)
