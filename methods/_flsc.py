"""Parameters of FLSC beyond DivideMix's. None is published: all are our design."""

from __future__ import annotations

from methods.interface import Parameter, Search
from methods.pieces.information_reduction import KINDS

FOREGROUND = "foreground"
NO_TRAINING = "no training of FLSC is known to us, this is DivideMix's"
_OURS = "ours (ASSUMPTION: the abstract gives no value)"

PARAMETERS = (
    Parameter(
        "localisation",
        0.5,
        "weight of the localisation score in the clean probability",
        "ours, chosen on development seeds; 1 is for small objects and misleading backgrounds",
        low=0.0,
        high=1.0,
        search=Search("uniform", 0.0, 1.0),
    ),
    Parameter(
        "reduction",
        "foreground",
        "whose information is reduced: the given label's, by keeping the foreground; the others are older readings",
        _OURS,
        choices=(FOREGROUND, *KINDS),
    ),
    Parameter("stage", "last", "whose feature maps are looked at and erased: last, before-last or its name", _OURS),
    Parameter(
        "erasing",
        0.1,
        "weight of the erasing's loss after its ramp; 0: none",
        _OURS,
        low=0.0,
        search=Search("log-uniform", 0.01, 1.0),
    ),
    Parameter(
        "erase",
        "features",
        "features: the map's; random: the same area elsewhere; area: nothing, its term alone; input: pixels",
        f"{_OURS}; input: Tu et al., CVPR 2023",
        choices=("features", "random", "area", "input"),
    ),
    Parameter("area", 0.1, "weight of a map's area within the erasing's loss", _OURS, low=0.0),
    Parameter("erasing_floor", 0.1, "weight of the erasing of an image whose label is surely right", _OURS, low=0.0),
    Parameter("erasing_slope", 0.9, "how much that weight grows to where it is surely wrong", _OURS, low=0.0),
    Parameter(
        "erasing_ramp",
        16 / 300,
        "share of the training over which the erasing's weight grows from 0 (at least 1 epoch; 0: at once)",
        f"{_OURS}: that of DivideMix's lambda_u",
        low=0.0,
        high=1.0,
    ),
)
