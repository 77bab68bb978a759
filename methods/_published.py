"""Training settings that several papers share, and recipes made from a row of a published table.

Sources: configuration files of the official repositories named in `SOURCES`. What a schedule or an augmentation of
ours can't say is left out of a recipe rather than replaced: WebVision's and Clothing1M's crops and colour jitter, and
the ImageNet weights of Clothing1M's ResNet-50.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from methods.interface import Recipe, Value

SOURCES = {
    "anl": "ANL, official code (Virusdoll/Active-Negative-Loss 0c50009)",
    "apl": "APL, official code (HanxunH/Active-Passive-Losses 04bce53)",
    "alf": "asymmetric losses, official code (hitcszx/ALFs 61245e9)",
    "eps": "eps-softmax, NeurIPS 2024 and official code (cswjl/eps-softmax f81685c)",
    "jal": "JAL, official code (cswjl/joint-asymmetric-loss 0f9eb7b)",
    "gjs": "GJS, official code (ErikEnglesson/GJS 1a3c9e0)",
    "elr": "ELR, official code (shengliu66/ELR 934af53)",
    "sce": "SCE, PyTorch reproduction (HanxunH/SCELoss-Reproduce c81fb33)",
    "forward": "Forward, official code (giorgiop/loss-correction 15a79de)",
    "co-teaching": "Co-teaching, official code (bhanML/Co-teaching 7c7fbe2)",
    "co-teaching+": "Co-teaching+, official code (xingruiyu/coteaching_plus a68ed61)",
    "jocor": "JoCoR, official code and README (hongxin001/JoCoR 86db359)",
    "ogc": "OGC, official code (Virusdoll/OGC a6b342a)",
}

CITATIONS = {
    "anl": "ANL",
    "apl": "APL",
    "alf": "asymmetric losses",
    "eps": "eps-softmax",
    "jal": "JAL",
    "gjs": "GJS",
    "elr": "ELR",
    "sce": "SCE",
    "forward": "Forward",
    "co-teaching": "Co-teaching",
    "co-teaching+": "Co-teaching+",
    "jocor": "JoCoR",
    "ogc": "OGC",
    "dividemix": "DivideMix",
    "c2d": "C2D",
    "selc": "SELC",
    "mixnn": "MixNN",
    "sop": "SOP",
    "cores2": "CORES2",
    "volminnet": "VolMinNet",
    "m-correction": "M-correction",
    "mixup": "mixup",
    "confident-learning": "confident learning",
    "nls": "negative label smoothing",
}
"""The names of sources, each with the words by which a recipe's text cites it."""


def cited_sources(text: str) -> tuple[str, ...]:
    """The names of the sources that a text cites, in its order. Raises ValueError where it cites none."""
    places = {
        name: found.start()
        for name, words in CITATIONS.items()
        if (found := re.search(rf"(?<!\w){re.escape(words)}(?![\w+])", text))
    }
    if not places:
        raise ValueError(f"no source of `CITATIONS` is cited in {text!r}")
    return tuple(sorted(places, key=places.__getitem__))


OTHER_SCALE = "its code divides CIFAR-10's images by 0.2023, 0.1994 and 0.2010, so that inputs are a quarter larger"
"""DivideMix, ELR, SELC, MixNN, SOP, CORES2, GJS and M-correction; batch normalisation takes most of it up."""
FRESH_WEIGHTS = "its network starts from ImageNet's weights, here from fresh ones"

_SGD: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "gradient_clip": 5.0}

ROBUST_LOSS_TRAINING: Mapping[str, Mapping[str, Any]] = {
    "mnist": _SGD
    | {"model": "cnn4", "epochs": 50, "batch_size": 128, "learning_rate": 0.01, "weight_decay": 1e-3}
    | {"schedule": "cosine", "augmentation": "none"},
    "cifar10": _SGD
    | {"model": "cnn8", "epochs": 120, "batch_size": 128, "learning_rate": 0.01, "weight_decay": 1e-4}
    | {"schedule": "cosine", "augmentation": "crop4+flip"},
    "cifar100": _SGD
    | {"model": "resnet34", "epochs": 200, "batch_size": 128, "learning_rate": 0.1, "weight_decay": 1e-5}
    | {"schedule": "cosine", "augmentation": "crop4+flip+rotate20"},
    "webvision": _SGD
    | {"model": "timm:resnet50", "epochs": 250, "batch_size": 512, "learning_rate": 0.4, "weight_decay": 3e-5}
    | {"schedule": "exponential:0.97", "nesterov": True},
    "clothing1m": _SGD
    | {"model": "timm:resnet50", "epochs": 10, "batch_size": 256, "learning_rate": 5e-3, "weight_decay": 1e-3}
    | {"schedule": "step:5@0.1", "gradient_clip": None},
}
"""The protocol of the APL, ANL, asymmetric-loss, eps-softmax and JAL codes, by data set."""

APL_MNIST_TRAINING: Mapping[str, Any] = {
    **ROBUST_LOSS_TRAINING["mnist"],
    "weight_decay": 1e-2,
    "nesterov": True,
}
"""The APL code's own MNIST settings; its cosine ends at 0.001, which our schedule's end at 0 stands for."""

APL_TRAINING: Mapping[str, Mapping[str, Any]] = {
    **{name: ROBUST_LOSS_TRAINING[name] for name in ("cifar10", "cifar100", "webvision")},
    "mnist": APL_MNIST_TRAINING,
}
APL_DEVIATIONS = {
    "mnist": "its cosine ends at a learning rate of 0.001, here at 0",
    "cifar100": "its code trains a ResNet-50, here it is the ResNet-34 of the later codes",
}
"""Where the APL code's own training, for every loss that it runs, can't be followed."""

OGC_TRAINING: Mapping[str, Mapping[str, Any]] = {
    data_set: _SGD
    | {"model": model, "epochs": 150, "batch_size": 128, "learning_rate": 0.1, "weight_decay": 5e-4}
    | {"schedule": "step:50,100@0.1", "augmentation": "crop4+flip+rotate15"}
    for data_set, model in (("cifar10", "resnet18"), ("cifar100", "resnet34"))
}
"""The comparison of OGC's code. ASSUMPTION: its ResNets' first weights are those of ANL's, by the same authors."""

HUMAN_LABELS = (
    ("cifar10", "human-aggre"),
    ("cifar10", "human-random1"),
    ("cifar10", "human-random2"),
    ("cifar10", "human-random3"),
    ("cifar10", "human-worst"),
    ("cifar100", "human-noisy"),
)
"""The label sets that the literature calls CIFAR-N, as (data set, noise)."""

CIFAR_N_TRAINING: Mapping[str, Any] = {
    **ROBUST_LOSS_TRAINING["cifar10"],
    "model": "resnet34",
    "epochs": 100,
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "schedule": "step:60@0.1",
}
"""The CIFAR-N protocol. The gradient clip is that of the codes that follow it here."""


def cifar_training(model: str, epochs: int, learning_rate: float, weight_decay: float, schedule: str) -> dict[str, Any]:
    """Training settings on CIFAR of most codes beyond the robust losses': SGD, batches of 128, no gradient clip."""
    return _SGD | {
        "model": model,
        "epochs": epochs,
        "batch_size": 128,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "gradient_clip": None,
        "augmentation": "crop4+flip",
    }


_NO_CHANGE: Mapping[str, Any] = {}


def published(
    data_set: str,
    values: Mapping[str, Value],
    source: str,
    chosen: str = "unknown",
    noise: str | None = None,
    rate: float | None = None,
    training: Mapping[str, Any] = _NO_CHANGE,
    deviation: str = "",
) -> Recipe:
    """A recipe of the sources that the text `source` cites; that of Clothing1M says what it leaves out."""
    deviation = deviation or (FRESH_WEIGHTS if data_set == "clothing1m" and training else "")
    names = cited_sources(source)
    return Recipe(data_set, values, source, chosen, noise, rate, None, training, names, deviation)


def on_cifar10(data_set: str, deviation: str) -> str:
    """`deviation` on CIFAR-10, none elsewhere."""
    return deviation if data_set == "cifar10" else ""


def recipe_row(
    source: str,
    chosen: str,
    cells: Mapping[str, Mapping[str, Value]],
    trainings: Mapping[str, Mapping[str, Any]] = ROBUST_LOSS_TRAINING,
    change: Mapping[str, Any] = _NO_CHANGE,
    deviations: Mapping[str, str] = _NO_CHANGE,
) -> tuple[Recipe, ...]:
    """One row of a published table as plain recipes: data set -> parameter values.

    `trainings` gives each data set's training settings (none: they aren't published), of which `change`
    replaces some; `deviations` says, by data set, where these can't follow the source.
    """
    return tuple(
        published(
            data_set,
            values,
            source,
            chosen,
            training={**trainings[data_set], **change} if data_set in trainings else {},
            deviation=deviations.get(data_set, ""),
        )
        for data_set, values in cells.items()
    )


def keyed(
    data_set: str,
    values: Mapping[str, Value],
    source: str,
    noise: str,
    rate: float | None = None,
    training: Mapping[str, Any] = _NO_CHANGE,
    chosen: str = "unknown",
    deviation: str = "",
) -> Recipe:
    """A recipe that its source keys by noise, or by noise and rate; "none" is clean data, a row's rate 0."""
    return published(data_set, values, source, chosen, noise, rate, training, deviation)
