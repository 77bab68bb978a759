"""What an image says of its given label, and what only the part of it says that a network attends to.

The abstract of FLSC (Neural Networks 191, 2025, 107712) names the information reduction of a foreground image and joins
it to selection by loss; it gives no formula. Read here as pointwise information: the score of a class less its prior is
what an image, or a region of it, tells about that class (Qin et al., "infoCAM", arXiv 2106.10472), so that a label
loses log p(y|x) - log p(y|x_fg) where only the foreground is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.losses import cross_entropy
from methods.pieces.activation_maps import class_scores, feature_maps

_ROUNDING = 1e-6


def attention_weights(features: Tensor) -> Tensor:
    """Norm of the feature vector at each position over its mean: (B, C, H, W) -> (B, H, W) float32 >= 0, mean 1.

    No function of any label. Exactly 1 throughout where the norms differ by no more than rounding, which includes
    features that are 0. Positive scaling of the features changes it by rounding alone.
    """
    sizes = features.detach().float()
    # by the largest entry first: squares must neither overflow nor vanish
    norms = (sizes / _nonzero(sizes.abs().amax((1, 2, 3), keepdim=True))).norm(dim=1)
    low, high = norms.amin((1, 2), keepdim=True), norms.amax((1, 2), keepdim=True)
    shares = norms / _nonzero(high)
    return torch.where(low >= (1 - _ROUNDING) * high, 1.0, shares / _nonzero(shares.mean((1, 2), keepdim=True)))


def foreground_scores(module: nn.Module, images: Tensor, stage: str) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of images (B, C, H, W), and of their foreground: the maps at `stage` times `attention_weights`.

    With mean pooling and a linear layer behind the stage: pooling weighted by attention instead of evenly. In eval
    mode.
    """
    features = feature_maps(module, images, stage)
    weights = attention_weights(features).unsqueeze(1)
    # in the features' own precision, so that weights of 1 change no bit; a copy, because a layer may work in place
    kept = (features.float() * weights).to(features.dtype)
    whole, _ = class_scores(module, features.clone(), stage)
    foreground, _ = class_scores(module, kept, stage)
    return whole, foreground


def whole_and_foreground_losses(module: nn.Module, images: Tensor, labels: Tensor, stage: str) -> Tensor:
    """Cross-entropy of `labels` (B,) for the whole images and for their foregrounds: (B, 2), each >= 0.

    For `Task.infer(output=..., along=labels)`: one pass, and once more what lies behind `stage`.
    """
    whole, foreground = foreground_scores(module, images, stage)
    return torch.stack([cross_entropy(whole, labels), cross_entropy(foreground, labels)], dim=1)


def fostered_losses(whole: Tensor, foreground: Tensor, weight: float) -> Tensor:
    """l + weight (l_fg - l), of losses l of whole images and l_fg of foregrounds, all (n,) >= 0; weight in [0, 1].

    l_fg - l is the information reduction, in nats and of any sign. Never below 0, and exactly l at weight 0.
    """
    return whole if weight == 0 else (1 - weight) * whole + weight * foreground


def _nonzero(values: Tensor) -> Tensor:
    """Values >= 0, with 1 in place of 0; what isn't a number stays none."""
    return torch.where(values == 0, 1.0, values)
