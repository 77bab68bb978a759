"""Forward loss correction with the true transition matrix."""

from __future__ import annotations

from torch import Tensor

from methods._co_teaching import compared_by_co_teaching
from methods.interface import Method
from methods.losses import forward_corrected


class Forward(Method):
    """Forward correction: L = -ln sum_i p_i T_iy, T_ij = P(noisy j | clean i); the network learns the clean
    posterior.

    Source: Patrini et al., CVPR 2017, arXiv 1609.03683. T is the noise's own, a privilege; for a T estimated
    from the noisy data alone see `forward-estimated`. T = identity is cross-entropy. The clip of the official
    code (Keras, 1e-7) is left out: the sum is taken over logarithms.
    """

    name = "forward"
    aliases = ("f-correction",)
    summary = "cross-entropy of the prediction sent through the true transition matrix"
    source = "Patrini et al., CVPR 2017, arXiv 1609.03683"
    needs = ("transition_matrix",)
    recipes = compared_by_co_teaching(
        {"mnist": {}, "cifar10": {}, "cifar100": {}}, "the true matrix trains like the estimated one of those tables"
    )

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """-ln sum_i p_i T_iy."""
        return forward_corrected(logits, labels, transition=self.task.privileges["transition_matrix"])
