"""Sparse over-parametrisation."""

from __future__ import annotations

import torch
from torch import Tensor

from methods import _sop
from methods.interface import Method, Step, Task
from methods.pieces.sparse_noise import label_noise, noisy_prediction, separation, without_noise

INITIAL = 1e-8
"""Where every u and v begins."""


class SparseOverParametrization(Method):
    """Sparse over-parametrisation: each sample learns its own label noise s = u^2 y - v^2 (1 - y) beside the
    network, u one number and v one per class, y the given label as a one-hot vector.

    L = mean_i [-ln q_y + ||e + s - y||^2], q = (p + s) raised to 1e-4 and brought to sum 1, p the softmax, e the
    predicted class as a one-hot vector, u^2 and v^2 clamped to [0, 1]. v learns from the second term only, u from
    both, the network from the first. From values near 0, SGD without momentum makes s sparse: it grows where
    network and label keep disagreeing, and takes the label's pull off the network. With both rates 0 the network's
    gradient is that of cross-entropy wherever no probability is below 1e-4; a sample whose p_y is below it pulls
    nothing.

    clean_probability and soft_targets read the rows: y - s, brought to sum 1, and its value at the given label
    (ASSUMPTION: the paper scores no sample).

    Deviations from the official code: u and v are brought back to [-1, 1] before each use, as the paper's
    algorithm does; in the code one large step beyond, where the clamp has no gradient, fixes a sample's noise for
    good. All rows begin at 1e-8 instead of N(0, 1e-8) draws: their sign is without effect. ASSUMPTION: the
    published rates are for a batch of 128 and 300 epochs, and are multiplied by (batch / 128) (300 / epochs): a
    row's growth from 1e-8 takes many visits, and so takes the same share of any training. Unscaled, 30 epochs end
    before most rows have grown. The paper has the same rates for its ResNet-34, whose training is shorter.

    Cost: a forward and a backward pass, as cross-entropy; memory for (K + 1) numbers a sample.

    Source: Liu et al., ICML 2022, arXiv 2202.14026, table A.1, and its official code 4d991ce, keyed by noise (its
    symmetric noise includes the true class); the plain setting is that of symmetric noise. Table A.1's plain SOP
    trains a ResNet-34; the recipes' training is the one that the code ships. Its rates for Clothing1M (0.1 and 1) are
    for a training of other length and batch, to which ours can't be brought: no recipe.
    """

    name = "sop"
    summary = "learns each sample's label noise as a sparse part of its own"
    source = "Liu et al., ICML 2022, arXiv 2202.14026"
    parameters = _sop.PARAMETERS
    recipes = _sop.recipes()
    lr_u: float
    lr_v: float

    def start(self, task: Task) -> None:
        """Rows u (samples, 1) and v (samples, K), with their rates brought to this run's batch and epochs."""
        super().start(task)
        share = task.batch_size / _sop.REFERENCE_BATCH * _sop.REFERENCE_EPOCHS / task.epochs
        self.effective = {"lr_u": self.lr_u * share, "lr_v": self.lr_v * share}
        self.u = task.rows("u", torch.full((task.samples, 1), INITIAL), self.effective["lr_u"])
        self.v = task.rows("v", torch.full((task.samples, task.classes), INITIAL), self.effective["lr_v"])

    def rows_of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """u (B, 1) and v (B, K) of a batch, brought back to [-1, 1] where the last step led beyond."""
        with torch.no_grad():
            for rows in (self.u, self.v):
                rows.index_copy_(0, index, rows[index].clamp(-1, 1))
        return self.u[index], self.v[index]

    def fit(self, logits: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """The batch mean of -ln q_y + ||e + s - y||^2, and q (B, K)."""
        added, removed = label_noise(*self.rows_of(step.index), step.labels)
        prediction = noisy_prediction(logits.softmax(dim=1), added, removed)
        own = -prediction.gather(1, step.labels[:, None]).squeeze(1).log()
        return (own + separation(logits, step.labels, added, removed)).mean(), prediction

    def loss(self, step: Step) -> Tensor:
        """The batch mean of -ln q_y + ||e + s - y||^2."""
        return self.fit(step.logits(), step)[0]

    def clean_probability(self) -> Tensor | None:
        """What is left of the given label once its noise is taken off, (samples,)."""
        return self._targets().gather(1, self.task.labels[:, None]).squeeze(1)

    def soft_targets(self) -> Tensor | None:
        """The given labels less their learned noise, (samples, K)."""
        return self._targets()

    def _targets(self) -> Tensor:
        return without_noise(self.u.detach(), self.v.detach(), self.task.labels)
