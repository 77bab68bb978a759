"""Label noise as a sparse part of its own beside each prediction: pure functions of the learned rows u and v.

Liu et al., "Robust training under label noise by over-parameterization", ICML 2022, arXiv 2202.14026. Throughout
`u` (B, 1) and `v` (B, K) are the rows of a batch's samples, `labels` (B,) their given labels.
"""

from __future__ import annotations

from torch import Tensor, where

from methods.pieces.mixing import one_hot

FLOOR = 1e-4
"""What probabilities are raised to, before and after they are brought to sum 1 (official code)."""


def label_noise(u: Tensor, v: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """U = u^2 at the given label and V = v^2 at the others, (B, K) each, in [0, 1]: the noise is s = U - V."""
    given = one_hot(labels, v.shape[1])
    return (u.square() * given).clamp(0, 1), (v.square() * (1 - given)).clamp(0, 1)


def noisy_prediction(probabilities: Tensor, added: Tensor, removed: Tensor) -> Tensor:
    """q = (p + U - V) raised to 1e-4 and brought to sum 1, (B, K): what is held against the given label.

    V is taken as a constant: only `separation` trains it.
    """
    raised = (probabilities + added - removed.detach()).clamp(min=FLOOR)
    scaled = raised / raised.sum(dim=1, keepdim=True)
    return scaled.clamp(FLOOR, 1)


def separation(logits: Tensor, labels: Tensor, added: Tensor, removed: Tensor) -> Tensor:
    """||e + U - V - y||^2, (B,), e the predicted class as a one-hot vector: no gradient reaches the network."""
    classes = logits.shape[1]
    predicted, given = one_hot(logits.argmax(dim=1), classes), one_hot(labels, classes)
    return (predicted - given + added - removed).square().sum(dim=1)


def without_noise(u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
    """The given labels less their noise, y - s = (1 - U) at y and V elsewhere, brought to sum 1: (B, K).

    Where nothing is left, every other class gets the same.
    """
    added, removed = label_noise(u, v, labels)
    given = one_hot(labels, v.shape[1])
    left = (given - added) * given + removed
    total = left.sum(dim=1, keepdim=True)
    others = (1 - given) / max(1, v.shape[1] - 1)
    return where(total > 0, left / total.clamp(min=1e-30), others)
