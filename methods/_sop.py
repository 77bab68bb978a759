"""What `sop` and `sop+` share: the rows' learning rates and the published settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods._published import OTHER_SCALE, cifar_training, keyed, on_cifar10
from methods.interface import Parameter, Recipe, Search, Value

CODE = "SOP, official code (shengliu66/SOP 4d991ce)"
TABLE = "SOP, table A.1"

REFERENCE_BATCH, REFERENCE_EPOCHS = 128, 300
"""The training that the published learning rates are for: the official code's configuration."""

TRAINING = cifar_training("preact-resnet18", REFERENCE_EPOCHS, 0.02, 1e-3, "cosine")
"""The official code's configuration; its cosine ends at 0.0002, which our schedule's end at 0 stands for."""


def rate(name: str, of: str) -> Parameter:
    """The learning rate of one kind of rows."""
    return Parameter(
        name,
        10.0,
        f"learning rate of {of}, for a batch of 128 and 300 epochs (SGD without momentum, never lowered)",
        "paper, table A.1: CIFAR-10, symmetric noise",
        low=0.0,
        search=Search("log-uniform", 0.1, 100.0),
    )


PARAMETERS: tuple[Parameter, ...] = (
    rate("lr_u", "u, the part of the noise at the given label"),
    rate("lr_v", "v, the part of the noise at the other classes"),
)


PLUS_TRAINING = TRAINING | {"strong_augmentation": "crop4+flip+autoaugment+cutout16"}
"""SOP+'s second view on CIFAR-10 and CIFAR-100: AutoAugment's policy for CIFAR-10, and cutout after normalisation."""


def recipes(training: Mapping[str, Any] = TRAINING, **further: Value) -> tuple[Recipe, ...]:
    """The published rates, by data set and noise, for `training`; `further` values are the same in all."""
    symmetric, asymmetric = {"lr_u": 10.0, "lr_v": 10.0, **further}, {"lr_u": 10.0, "lr_v": 100.0, **further}
    hundred, hundred_asymmetric = {"lr_u": 1.0, "lr_v": 10.0, **further}, {"lr_u": 0.1, "lr_v": 100.0, **further}
    cells = (
        ("cifar10", symmetric, TABLE, "sym-incl"),
        ("cifar10", asymmetric, TABLE, "asym"),
        ("cifar100", hundred, f"{CODE}, and {TABLE}", "sym-incl"),
        ("cifar100", hundred_asymmetric, f"{CODE}; {TABLE} has lr_u = 1", "asym"),
    )
    plain = "" if training is not TRAINING else "it is the training of SOP+ that the code ships, not the ResNet-34's"
    return tuple(
        keyed(
            data_set,
            values,
            source,
            noise,
            training=training,
            deviation="; ".join(
                filter(None, (plain, "its cosine ends at 0.0002, here at 0", on_cifar10(data_set, OTHER_SCALE)))
            ),
        )
        for data_set, values, source, noise in cells
    )
