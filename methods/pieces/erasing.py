"""Erasing what a network attends to, and penalising what it still finds for the class elsewhere.

The ratio of scores after and before erasing, with the layers behind the erased maps held fixed, follows background
activation suppression (Wu et al., CVPR 2022); masking the most attended pixels and softening the target follows Tu et
al., "Learning with noisy labels via self-supervised adversarial noisy masking", CVPR 2023. How they are used here is
our design.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.losses import soft_cross_entropy
from methods.pieces.activation_maps import (
    activation_map,
    attend,
    channel_weights,
    class_scores,
    feature_maps,
    frozen,
    min_max,
    rank_normalised,
    retained_score,
    upsample,
)

LEAST_FRACTION, LARGEST_FRACTION = 0.02, 0.1
"""Of an image's pixels, erased where the label is surely right, and surely wrong."""


def erasure_loss(
    module: nn.Module,
    images: Tensor,
    classes: Tensor,
    stage: str,
    area: float,
    erase: bool = True,
    shift: Tensor | None = None,
) -> Tensor:
    """Score of `classes` (B,) that is left when their own map is erased at `stage`, plus the map's area: (B,) >= 0.

    m is the min-max normalised, rectified activation map; R = `retained_score` from the features times (1 - m). The
    loss is R + `area` mean m. m is held fixed in R and live, by its features, in the area; the gradient of R passes
    through the layers behind `stage` but not into their weights. In eval mode only.

    `erase` false: the area's term alone. `shift` (B, 2) in [0, 1): each m is shifted around the image by these shares
    of its height and width before it erases, so that the same area is erased elsewhere.
    """
    features = feature_maps(module, images, stage)
    weights, _, scores = channel_weights(module, features, classes, stage)
    maps = min_max(activation_map(features, weights).relu())
    term = area * maps.mean((1, 2))
    if not erase:
        return term
    mask = maps.detach()
    if shift is not None:
        mask = rolled(mask, shift)
    with frozen(module):
        _, left = class_scores(module, features * (1 - mask).unsqueeze(1), stage)
    chosen = classes.unsqueeze(1)
    return retained_score(scores.gather(1, chosen).squeeze(1), left.gather(1, chosen).squeeze(1)) + term


def rolled(maps: Tensor, shift: Tensor) -> Tensor:
    """Each map (B, H, W) shifted around the edges by its own `shift` (B, 2) in [0, 1), a share of height and width."""
    count, height, width = maps.shape
    rows = _places(shift[:, 0], height)
    columns = _places(shift[:, 1], width)
    moved = maps.gather(1, rows.unsqueeze(2).expand(count, height, width))
    return moved.gather(2, columns.unsqueeze(1).expand(count, height, width))


def masking_loss(module: nn.Module, images: Tensor, targets: Tensor, clean: Tensor, stage: str) -> Tensor:
    """Soft cross-entropy (B,) of images whose most attended pixels are erased, against targets softened as much.

    `targets` (B, K), of whose argmax the map at `stage` is; `clean` (B,) in [0, 1], the probability that the label is
    right. Erased to 0, the mean of normalised pixels, is a share of 0.02 + 0.08 (1 - clean); the target's argmax hands
    the same share of its mass evenly to the other classes. In eval mode only.
    """
    fraction = LEAST_FRACTION + (LARGEST_FRACTION - LEAST_FRACTION) * (1 - clean)
    classes = targets.argmax(dim=1)
    attention = attend(module, images, classes, stage)
    attended = rank_normalised(upsample(min_max(attention.maps), images.shape[2:]))
    erased = (attended > 1 - fraction[:, None, None]).unsqueeze(1)
    logits: Tensor = module(torch.where(erased, 0.0, images))
    return soft_cross_entropy(logits.float(), softened(targets, fraction))


def softened(targets: Tensor, fraction: Tensor) -> Tensor:
    """Targets (B, K) whose largest entry handed `fraction` (B,) of its mass evenly to the others; sums stay."""
    # one_hot() would wait for the device
    classes = torch.arange(targets.shape[1], device=targets.device)
    largest = (classes == targets.argmax(dim=1, keepdim=True)).to(targets.dtype)
    moved = fraction * (largest * targets).sum(dim=1)
    return targets + moved.unsqueeze(1) * ((1 - largest) / (targets.shape[1] - 1) - largest)


def erasing_strength(clean: Tensor, floor: float, slope: float) -> Tensor:
    """floor + slope (1 - w), of clean probabilities w (B,): more erasing the less a label is believed."""
    return floor + slope * (1 - clean)


def _places(shift: Tensor, size: int) -> Tensor:
    """Positions (B, size) that a shift (B,) in [0, 1) of an axis of `size` reads from."""
    start = (shift * size).long().clamp(0, size - 1)
    return (torch.arange(size, device=shift.device) + start.unsqueeze(1)) % size
