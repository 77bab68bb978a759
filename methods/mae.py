"""Mean absolute error."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from methods._published import APL_DEVIATIONS, APL_TRAINING, SOURCES, recipe_row
from methods.interface import Method, Value
from methods.losses import mean_absolute_error

_NONE: Mapping[str, Mapping[str, Value]] = {"mnist": {}, "cifar10": {}, "cifar100": {}}


class MeanAbsoluteError(Method):
    """Mean absolute error in its reduced form: L = 1 - p_y, half of sum_k |p_k - [k = y]|.

    Source: Ghosh et al., AAAI 2017, arXiv 1712.09482. Symmetric (its sum over the classes is K - 1), so robust, but
    its gradient is cross-entropy's times p_y: it underfits, the more the more classes. The ALFs and eps-softmax codes
    use the full form, twice as large. ANL's MNIST configuration of this name runs cross-entropy; the recipe keeps
    the loss that it names.
    """

    name = "mae"
    summary = "mean absolute error 1 - p_y"
    source = "Ghosh et al., AAAI 2017, arXiv 1712.09482"
    recipes = (
        *recipe_row(SOURCES["anl"], "no parameters", _NONE),
        *recipe_row(SOURCES["apl"], "no parameters", _NONE, APL_TRAINING, deviations=APL_DEVIATIONS),
    )

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """1 - p_y."""
        return mean_absolute_error(logits, labels)
