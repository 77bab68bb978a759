"""What Co-teaching and its successors declare alike, and the training of all methods in Co-teaching's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods._published import SOURCES, recipe_row
from methods.interface import Parameter, Recipe, Search, Value

CO_TEACHING, CO_TEACHING_PLUS, JOCOR = (SOURCES[name] for name in ("co-teaching", "co-teaching+", "jocor"))

CO_TEACHING_TRAINING: Mapping[str, Mapping[str, Any]] = {
    data_set: {
        "model": "cnn9",
        "epochs": 200,
        "batch_size": 128,
        "augmentation": "none",
        "gradient_clip": None,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "schedule": f"linear:{decay}@momentum=0.1",
    }
    for data_set, decay in (("mnist", 80), ("cifar10", 80), ("cifar100", 100))
}
"""Co-teaching's own: Adam, whose beta1 goes from 0.9 to 0.1 where the rate begins to fall."""
SMALLER_CNN_TRAINING = {
    data_set: {**CO_TEACHING_TRAINING[data_set], "model": "cnn7"} for data_set in ("cifar10", "cifar100")
}
"""That of Co-teaching+ and JoCoR, whose networks are smaller; their MLP for MNIST isn't among our models."""
CO_TEACHING_DEVIATION = (
    "images are normalised, where the codes only scale them to [0, 1]; all 200 epochs train, with incomplete batches, "
    "where the codes leave out the first epoch and the last batch of each"
)
SAME_DEVIATION = dict.fromkeys(CO_TEACHING_TRAINING, CO_TEACHING_DEVIATION)


def compared_by_co_teaching(values: Mapping[str, Mapping[str, Value]], assumed: str) -> tuple[Recipe, ...]:
    """Recipes, by data set, of a method that Co-teaching's paper compares with; `assumed` is what it doesn't say.

    The networks of these methods' own authors (in Keras) aren't among ours.
    """
    deviation = f"it is trained as in Co-teaching's tables, not on its authors' networks; ASSUMPTION: {assumed}; "
    deviations = dict.fromkeys(values, deviation + CO_TEACHING_DEVIATION)
    return recipe_row(CO_TEACHING, "unknown", values, CO_TEACHING_TRAINING, deviations=deviations)


GRADUAL = 10 / 200
"""All three codes: 10 epochs of 200."""


def gradual_parameter(source: str) -> Parameter:
    """The length of the ramp of the forget rate."""
    return Parameter(
        "gradual",
        GRADUAL,
        "share of the training over which the forget rate rises from 0 to the noise rate (at least 1 epoch)",
        source,
        low=0.0,
        high=1.0,
        search=Search("uniform", 0.02, 0.5),
    )


def exponent_parameter(source: str) -> Parameter:
    """The shape of that ramp."""
    return Parameter(
        "exponent",
        1.0,
        "power to which the rise of the forget rate is taken",
        source,
        low=0.1,
        high=10.0,
        search=Search("log-uniform", 0.5, 2.0),
    )
