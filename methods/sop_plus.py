"""Sparse over-parametrisation with consistency and class balance."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, cat
from torch.nn.functional import kl_div

from methods import _sop
from methods.interface import Parameter, Pass, Phase, Search, Step, Stream
from methods.pieces.mixing import uniform_prior_penalty
from methods.sop import SparseOverParametrization


class SparseOverParametrizationPlus(SparseOverParametrization):
    """SOP+: `sop`'s loss on a weak view, plus two terms.

    L = L_sop + consistency mean_i KL(p || p') + balance KL(1/K || mean_i q): p and p' are the predictions of the
    weak and of a strong view, no gradient flows through p; q is `sop`'s prediction with its noise, averaged over the
    batch. The second term assumes balanced classes. Both views go through the network as one batch, so that batch
    normalisation sees both, as in the official code. Its values at both weights 0 are those of `sop` but for that.

    Where a data set's strong view has no AutoAugment and cutout, ours stands for it. Deviations and assumptions about
    the rows: see `sop`. The authors expect the second term to harm on highly imbalanced data (their repository,
    issue 9).

    Cost: two forward and two backward passes.

    Source: Liu et al., ICML 2022, arXiv 2202.14026, table A.1, and its official code 4d991ce (weights 0.9 and 0.1
    everywhere, rates keyed by noise as for `sop`, whose plain setting is that of symmetric noise).
    """

    name = "sop+"
    summary = "sop with agreement of a weak and a strong view, and balanced mean predictions"
    parameters = (
        *_sop.PARAMETERS,
        Parameter(
            "consistency",
            0.9,
            "weight of the divergence between the views",
            "official code",
            low=0.0,
            search=Search("log-uniform", 0.1, 10.0),
        ),
        Parameter(
            "balance",
            0.1,
            "weight of the divergence of the mean prediction from uniform",
            "official code",
            low=0.0,
            search=Search("log-uniform", 0.01, 1.0),
        ),
    )
    recipes = _sop.recipes(_sop.PLUS_TRAINING, consistency=0.9, balance=0.1)
    assumes = ("balanced_classes",)
    units = 6.0
    consistency: float
    balance: float

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything, a weak and a strong view of each image."""
        return (Pass(streams={"all": Stream(views=("weak", "strong"))}),)

    def loss(self, step: Step) -> Tensor:
        """`sop`'s loss of the weak view, the views' divergence and the batch's."""
        weak, strong = step.network(0)(cat(list(step.streams["all"].views))).chunk(2)
        fit, prediction = self.fit(weak, step)
        apart = kl_div(strong.log_softmax(dim=1), weak.detach().softmax(dim=1), reduction="none").sum(dim=1)
        # the softmax of ln q is q, but for what its floor added
        unbalanced = uniform_prior_penalty(prediction.log())
        return fit + self.consistency * apart.mean() + self.balance * unbalanced
