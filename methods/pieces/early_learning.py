"""Early-learning regularisation: targets that average predictions from 0 on, and the pull towards them.

Liu et al., "Early-learning regularization prevents memorization of noisy labels", NeurIPS 2020, arXiv 2007.00151.
"""

from __future__ import annotations

from torch import Tensor, log1p, where

CLAMP = 1e-4
"""Probabilities are clamped to [1e-4, 1 - 1e-4] (official code), so that the regulariser stays finite."""


def early_learning_regularizer(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Mean of ln(1 - <t, p>) (0-d), in [ln 1e-4, 0], of p (B, K) clamped and targets t (B, K) of sum 1 or less."""
    clamped = probabilities.clamp(CLAMP, 1 - CLAMP)
    return log1p(-(targets * clamped).sum(dim=1)).mean()


def as_distributions(targets: Tensor) -> Tensor:
    """Targets (..., K) scaled to sum 1; uniform where nothing was averaged yet."""
    total = targets.sum(dim=-1, keepdim=True)
    return where(total > 0, targets / total.clamp(min=1e-12), 1 / targets.shape[-1])
