"""How much of an image is lost when only what its given label attends to is kept, and what that says of the label.

The abstract of FLSC (Neural Networks 191, 2025, 107712) names the information reduction of a foreground image and joins
it to selection by loss; it gives no formula. All readings here are ours, and the docstrings say which one is which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from methods.pieces.activation_maps import attend, information_reduction, min_max, rank_normalised, upsample
from methods.pieces.mixing import one_hot
from methods.pieces.mixtures import gaussian_clean_probability, normalised

Kind = Literal["feature", "entropy", "entropy-rank", "hist", "pred"]
KINDS: Sequence[Kind] = ("feature", "entropy", "entropy-rank", "hist", "pred")
BINS = 16


def logits_and_reduction(
    module: nn.Module, images: Tensor, classes: Tensor, stage: str = "last", kind: Kind = "feature"
) -> Tensor:
    """Logits and, as a last column, the information reduction of `classes` (B,): (B, K + 1) float32, no gradient.

    For `Task.infer(output=..., along=labels)`: in eval mode, images (B, C, H, W). m is the min-max normalised,
    rectified activation map at `stage`, upsampled to the image for all kinds but the first:
    "feature": 1 - cos(map, energy of the features), see `information_reduction`; the default.
    "entropy": 1 - sum m e / sum e, e the entropy of the luminance near each pixel. "entropy-rank": the same with m as
    ranks, so that a large map has no advantage. "hist": (H(x) - H(m x)) / H(x), H the entropy of the image's histogram.
    "pred": Jensen-Shannon divergence of the predictions for x and for m x + (1 - m) mean x, in units of ln 2.
    """
    attention = attend(module, images, classes, stage)
    if kind == "feature":
        reduction = information_reduction(attention.maps, attention.energy)
    elif kind == "pred":
        gate = upsample(min_max(attention.maps), images.shape[2:]).unsqueeze(1)
        average = images.mean((2, 3), keepdim=True)
        kept = module(gate * images + (1 - gate) * average)
        reduction = jensen_shannon(attention.logits, kept.detach().float())
    else:
        pixels = luminance(images)
        gate = upsample(min_max(attention.maps), pixels.shape[1:])
        if kind == "hist":
            reduction = histogram_reduction(pixels, gate)
        else:
            gate = rank_normalised(gate) if kind == "entropy-rank" else gate
            reduction = 1 - retained_share(gate, local_entropy(pixels))
    return torch.cat([attention.logits, reduction.unsqueeze(1)], dim=1)


def luminance(images: Tensor) -> Tensor:
    """Mean over channels, each image to [0, 1] by its own range: (B, C, H, W) -> (B, H, W). A constant one is 0."""
    return min_max(images.float().mean(dim=1))


def local_entropy(pixels: Tensor, window: int = 5) -> Tensor:
    """Shannon entropy, in nats, of the 16-bin histogram of `pixels` (B, H, W) in [0, 1] in the window around each.

    (B, H, W) in [0, ln 16]. `window` is odd; at the border, what of it lies inside the image.
    """
    places = one_hot(_bins(pixels), BINS).permute(0, 3, 1, 2)
    shares = functional.avg_pool2d(places, window, 1, window // 2, count_include_pad=False)
    return _entropy(shares)


def retained_share(maps: Tensor, information: Tensor) -> Tensor:
    """sum_u m(u) e(u) / sum_u e(u), (B,) in [0, 1], of maps and information (B, H, W); 0 where there is none.

    Increasing in every value of the map; 1 for a map of ones, 0 for a map of zeros.
    """
    total = information.sum((1, 2))
    kept = (maps * information).sum((1, 2))
    return torch.where(total > 0, kept / torch.where(total > 0, total, 1.0), 0.0).clamp(0, 1)


def histogram_reduction(pixels: Tensor, maps: Tensor) -> Tensor:
    """(H(x) - H(m x)) / H(x), (B,) clipped to [0, 1], H the entropy of an image's 16-bin histogram; both (B, H, W).

    Masking can raise the entropy, which counts as no reduction; 0 where H(x) is 0.
    """
    whole, kept = _histogram_entropy(pixels), _histogram_entropy(pixels * maps)
    return torch.where(whole > 0, (whole - kept) / torch.where(whole > 0, whole, 1.0), 0.0).clamp(0, 1)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the softmaxes of logits (B, K), in units of ln 2: (B,) in [0, 1]."""
    one, two = first.softmax(dim=1), second.softmax(dim=1)
    divergence = _entropy((one + two) / 2) - (_entropy(one) + _entropy(two)) / 2
    return (divergence / math.log(2)).clamp(0, 1)


def standardised_per_class(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """`values` (N,) minus their class's mean, over its standard deviation; 0 in a class where they don't vary.

    `labels` int64 (N,). Sums over a matrix of one-hot rows, which, unlike scattered additions, repeat bit for bit.
    """
    member = one_hot(labels, classes).double()
    count = member.sum(dim=0).clamp(min=1)
    centred = values.double() - ((values.double() @ member) / count)[labels]
    spread = ((centred.square() @ member) / count).sqrt()[labels]
    return torch.where(spread > 1e-6, centred / spread.clamp(min=1e-6), 0.0).float()


def location_clean_probability(reduction: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Clean probability (N,) by where a network looks: the mixture of DivideMix, fitted to the reduction (N,).

    The reduction is first standardised within each given label, since the size of objects depends on their class, and
    then min-max normalised, as losses are. Values that can't be told apart: probability 1 for all.
    """
    return gaussian_clean_probability(normalised(standardised_per_class(reduction, labels, classes)))


def joined_clean_probability(by_loss: Tensor, by_location: Tensor, weight: float) -> Tensor:
    """(1 - weight) by_loss + weight by_location, all (N,), weight in [0, 1]; exactly `by_loss` at 0."""
    return by_loss if weight == 0 else (1 - weight) * by_loss + weight * by_location


def _bins(pixels: Tensor) -> Tensor:
    return (pixels * BINS).long().clamp(0, BINS - 1)


def _histogram_entropy(pixels: Tensor) -> Tensor:
    return _entropy(one_hot(_bins(pixels.flatten(1)), BINS).mean(dim=1))


def _entropy(shares: Tensor) -> Tensor:
    """In nats, along the second axis of shares (B, n, ...) that sum to 1 there."""
    terms: Tensor = torch.special.entr(shares)
    return terms.sum(dim=1)
