"""Parameters and published settings of MixNN.

Source: the official code (MacLLL/MixNN 12c6005), which releases CIFAR-10 and CIFAR-100 at K = 1 neighbour. Its epochs
count from 1: a warm-up of 9 (29) of 300 epochs, corrected targets from epoch 60 on.
"""

from __future__ import annotations

from methods._published import OTHER_SCALE, cifar_training, keyed, on_cifar10, published
from methods.interface import Parameter, Recipe, Search
from methods.pieces.judges import JUDGE
from methods.pieces.lengths import warm_up_parameter

_CODE = "MixNN, official code (MacLLL/MixNN 12c6005)"

PARAMETERS = (
    warm_up_parameter(9 / 300, "official code, CIFAR-10"),
    Parameter(
        "correction_start",
        60 / 300,
        "share of the training after which neighbours are mixed and targets corrected, not before the warm-up's end",
        "official code",
        low=0.0,
        high=1.0,
        open_high=True,
        search=Search("uniform", 0.1, 0.5),
    ),
    Parameter(
        "refreshes",
        25,
        "epochs in which targets take a step, spread evenly (over the last ones of the learning rate's periods where "
        "it restarts); every one where there are fewer",
        "official code: every tenth of 241 epochs",
        low=1,
        search=Search("integer", 5, 50),
    ),
    Parameter(
        "momentum",
        0.9,
        "what a target keeps of itself in a step",
        "official code",
        low=0.0,
        high=1.0,
        search=Search("uniform", 0.7, 0.99),
    ),
    Parameter(
        "neighbours",
        1,
        "neighbours that a sample is mixed with, fewer than there are others",
        "official code; more: ASSUMPTION",
        low=1,
        search=Search("integer", 1, 10),
    ),
    Parameter(
        "scope",
        "batch",
        "where neighbours are looked for: in the batch, or in the whole set by the last epoch's features",
        "official code; bank: ASSUMPTION",
        choices=("batch", "bank"),
    ),
    Parameter(
        "metric",
        "euclidean",
        "distance between features",
        "official code; cosine: ASSUMPTION",
        choices=("euclidean", "cosine"),
    ),
    Parameter(
        "epsilon",
        "as-released",
        "whether the sample's own weight alone has the e = 1e-10 that keeps sums above 0, or every one",
        "official code; symmetric: ASSUMPTION",
        choices=("as-released", "symmetric"),
    ),
    Parameter(
        "early_loss",
        "linear",
        "loss of random mixing before the correction: 1 - p, or cross-entropy",
        "official code; ce: ASSUMPTION",
        choices=("linear", "ce"),
    ),
    Parameter(
        "warm_up_view",
        "none",
        "augmentation during the warm-up",
        "official code; weak: ASSUMPTION",
        choices=("none", "weak"),
    ),
    Parameter(
        "history",
        1,
        "epochs whose losses are averaged before the mixture is fitted",
        "official code (5 at noise 0.8)",
        low=1,
        high=100,
    ),
    JUDGE,
)

_TRAINING = cifar_training("resnet34-default", 300, 0.02, 1e-3, "cosine-restarts:10")


def _recipes(data_set: str, warm_up: float) -> tuple[Recipe, ...]:
    """The plain setting, and that of symmetric noise 0.8, which averages five epochs' losses."""
    plain, deviation = {"warm_up": warm_up, "history": 1}, on_cifar10(data_set, OTHER_SCALE)
    return (
        published(data_set, plain, _CODE, training=_TRAINING, deviation=deviation),
        keyed(data_set, plain | {"history": 5}, _CODE, "sym-incl", 0.8, training=_TRAINING, deviation=deviation),
    )


RECIPES = (*_recipes("cifar10", 9 / 300), *_recipes("cifar100", 29 / 300))
