"""Parameters and published settings of DivideMix and of the methods that build on it.

Sources: Li et al., ICLR 2020, arXiv 2002.07394, appendix B (table 7: the weight of the unlabelled loss per noise and
rate), and the official code (LiJunnan1992/DivideMix).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods._published import OTHER_SCALE, cifar_training, keyed, on_cifar10, published
from methods.interface import Parameter, Recipe, Search, Value
from methods.pieces.judges import JUDGE
from methods.pieces.lengths import warm_up_parameter

_CODE = "DivideMix, official code (LiJunnan1992/DivideMix)"
_TABLE = "DivideMix, table 7 (appendix B), and official code"
_CHOSEN = "a small validation set, out of 0, 25, 50, 150"

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "lambda_u",
        25.0,
        "weight of the unlabelled loss after its ramp",
        "official code's default; table 7 keys it by noise and rate",
        low=0.0,
        search=Search("choice", choices=(0.0, 25.0, 50.0, 150.0)),
    ),
    Parameter(
        "threshold",
        0.5,
        "clean probability above which a sample is labelled",
        "paper (0.6 at 90 % noise)",
        low=0.0,
        high=1.0,
        open_high=True,
        search=Search("uniform", 0.3, 0.8),
    ),
    Parameter("temperature", 0.5, "of sharpening; 1: none", "paper", low=0.01, high=10.0),
    Parameter(
        "alpha",
        4.0,
        "both parameters of the Beta distribution of the mixing weight",
        "paper, CIFAR",
        low=0.01,
        high=1000.0,
        search=Search("log-uniform", 0.3, 8.0),
    ),
    warm_up_parameter(10 / 300, "official code, CIFAR-10: 10 of 300 epochs"),
    Parameter(
        "ramp",
        16 / 300,
        "share of the training over which lambda_u grows from 0 (at least 1 epoch; 0: at once)",
        "official code: 16 of 300 epochs",
        low=0.0,
        high=1.0,
    ),
    Parameter("history", 1, "epochs of losses that a mixture is fitted to the mean of", "paper", low=1, high=100),
    Parameter(
        "penalty",
        0.0,
        "weight of minus the entropy of the predictions during warm-up",
        "official code: 1 under asymmetric noise and on Clothing1M, else 0",
        low=0.0,
    ),
    Parameter(
        "forward_unlabelled",
        True,
        "whether the unlabelled part of a mix is forwarded (and so enters lambda_u's term and the uniform prior)",
        "official code: not on Clothing1M and WebVision, whose lambda_u is 0",
    ),
    JUDGE,
)

_TRAINING = cifar_training("preact-resnet18", 300, 0.02, 5e-4, "step:150@0.1")
_LARGE: Mapping[str, Any] = {
    **{key: value for key, value in _TRAINING.items() if key != "augmentation"},
    "epochs": 80,
    "batch_size": 64,
    "schedule": "step:40@0.1",
}
_ONE_OF_80: Mapping[str, Value] = {"lambda_u": 0.0, "alpha": 0.5, "warm_up": 1 / 80, "forward_unlabelled": False}


def _cifar(data_set: str, noise: str, rate: float | None, source: str = _TABLE, **values: Value) -> Recipe:
    """One cell of table 7; CIFAR-100 warms up for 30 of 300 epochs."""
    own: dict[str, Value] = {"warm_up": 30 / 300} if data_set == "cifar100" else {}
    return keyed(data_set, own | values, source, noise, rate, _TRAINING, _CHOSEN, on_cifar10(data_set, OTHER_SCALE))


RECIPES: tuple[Recipe, ...] = (
    published(
        "cifar10",
        {"lambda_u": 25.0},
        f"{_CODE}, its defaults: symmetric noise 0.5",
        _CHOSEN,
        training=_TRAINING,
        deviation=OTHER_SCALE,
    ),
    _cifar("cifar10", "sym-incl", 0.2, lambda_u=0.0),
    _cifar("cifar10", "sym-incl", 0.5, lambda_u=25.0),
    _cifar("cifar10", "sym-incl", 0.8, lambda_u=25.0),
    _cifar("cifar10", "sym-incl", 0.9, lambda_u=50.0, threshold=0.6, history=5),
    _cifar("cifar10", "asym", None, lambda_u=0.0, penalty=1.0),
    published(
        "cifar100",
        {"lambda_u": 150.0, "warm_up": 30 / 300},
        f"{_TABLE}, symmetric noise 0.5",
        _CHOSEN,
        training=_TRAINING,
    ),
    _cifar("cifar100", "sym-incl", 0.2, lambda_u=25.0),
    _cifar("cifar100", "sym-incl", 0.5, lambda_u=150.0),
    _cifar("cifar100", "sym-incl", 0.8, lambda_u=150.0),
    _cifar("cifar100", "sym-incl", 0.9, lambda_u=150.0, threshold=0.6, history=5),
    # DivideMix itself never ran it
    _cifar(
        "cifar100", "asym", 0.4, "C2D's authors (ContrastToDivide/C2D, issue 2), a sweep", lambda_u=150.0, penalty=1.0
    ),
    published(
        "clothing1m",
        {**_ONE_OF_80, "penalty": 1.0},
        f"{_CODE}; its 1000 class-balanced batches an epoch are left out",
        "clean validation",
        training={**_LARGE, "model": "timm:resnet50", "learning_rate": 2e-3, "weight_decay": 1e-3},
    ),
    published(
        "webvision",
        _ONE_OF_80,
        _CODE,
        training={**_LARGE, "model": "timm:inception_resnet_v2", "learning_rate": 0.01},
    ),
)
