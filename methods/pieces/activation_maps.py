"""Where a network looks for a class, and how much of what it represents of an image lies there.

Class activation maps (Zhou et al., CVPR 2016: the classifier's row times the last feature maps) and their
generalisation Grad-CAM (Selvaraju et al., ICCV 2017), which is the same map, up to its scale, where global mean pooling
and a linear layer follow. All functions are deterministic, and none waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

TINY = 1e-8


class Staged(Protocol):
    """What every backbone of the benchmark offers besides its plain forward; see `forward_from` there."""

    feature_info: Sequence[dict[str, Any]]

    def forward_to(self, images: Tensor, stage: str) -> Tensor: ...

    def forward_from(self, features: Tensor, stage: str, pre_logits: bool = False) -> Tensor: ...

    def get_classifier(self) -> nn.Module: ...


@dataclass(frozen=True)
class Attention:
    """What a network makes of a batch: `logits` (B, K); rectified `maps` of one class each and `energy`, (B, H, W)."""

    logits: Tensor
    maps: Tensor
    energy: Tensor


def stage_name(module: nn.Module, stage: str) -> str:
    """The stage that is meant by its name, by "last" or by "before-last". Raises ValueError where there is none."""
    names = [str(entry["module"]) for entry in cast(Staged, module).feature_info]
    places = {"last": -1, "before-last": -2}
    if stage in places and len(names) >= -places[stage]:
        return names[places[stage]]
    if stage not in names:
        raise ValueError(f"stage={stage} must be last, before-last or one of this network's: {', '.join(names)}")
    return stage


def feature_maps(module: nn.Module, images: Tensor, stage: str) -> Tensor:
    """The feature maps (B, C, H, W) that leave `stage`. Raises ValueError where the network has no such maps there."""
    name = stage_name(module, stage)
    features = cast(Staged, module).forward_to(images, name)
    channels = {str(entry["module"]): entry["num_chs"] for entry in cast(Staged, module).feature_info}[name]
    if features.dim() != 4 or features.shape[1] != channels or not getattr(module, "has_maps", True):
        raise ValueError(
            f"what leaves stage {name} has shape {tuple(features.shape)} and is no feature map (B, {channels}, H, W): "
            "activation maps need a convolutional --model"
        )
    return features


def class_scores(module: nn.Module, features: Tensor, stage: str) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of the maps that leave `stage`, and the same without the classifier's bias; float32."""
    pooled = cast(Staged, module).forward_from(features, stage_name(module, stage), pre_logits=True)
    classifier = cast(Staged, module).get_classifier()
    with torch.autocast(pooled.device.type, enabled=False):
        logits: Tensor = classifier(pooled.float())
    bias = getattr(classifier, "bias", None)
    return logits, logits if bias is None else logits - bias


def channel_weights(module: nn.Module, features: Tensor, classes: Tensor, stage: str) -> tuple[Tensor, Tensor, Tensor]:
    """Grad-CAM's weights (B, C): the mean over positions of the gradient of each image's class score; no gradient.

    Also logits (B, K) and scores without bias (B, K), detached. `features` (B, C, H, W) leave `stage`; `classes` int64
    (B,). In eval mode only: batch normalisation in training mode would mix images. Where global mean pooling and the
    classifier follow, the weights are the classifier's row over the number of positions.
    """
    with torch.enable_grad():
        leaf = features.detach().requires_grad_()
        # a copy, because a layer may work in place
        logits, scores = class_scores(module, leaf.clone(), stage)
        chosen = scores.gather(1, classes.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(chosen, leaf)
    return gradient.float().mean((2, 3)), logits.detach(), scores.detach()


def activation_map(features: Tensor, weights: Tensor) -> Tensor:
    """sum_k weights_k F_k, (B, H, W) float32, of features (B, C, H, W) and weights (B, C); any sign."""
    return torch.einsum("bchw,bc->bhw", features.float(), weights.float())


def feature_energy(features: Tensor) -> Tensor:
    """sum_c F_c(u)^2, (B, H, W) float32, of features (B, C, H, W): how much is represented at each position.

    Source: Tu et al., "Learning with noisy labels via self-supervised adversarial noisy masking", CVPR 2023.
    """
    return features.float().square().sum(dim=1)


def attend(module: nn.Module, images: Tensor, classes: Tensor, stage: str) -> Attention:
    """Logits, maps of `classes` (B,) and energy at `stage` of images (B, C, H, W); no gradient. In eval mode only."""
    features = feature_maps(module, images, stage).detach()
    weights, logits, _ = channel_weights(module, features, classes, stage)
    return Attention(logits, activation_map(features, weights).relu(), feature_energy(features))


def min_max(maps: Tensor) -> Tensor:
    """Maps (B, H, W) each to [0, 1], its largest value 1; a constant one to 0 throughout."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    varies = high - low > 1e-6 * maps.abs().amax((1, 2), keepdim=True)
    # the unused branch gets a span of 1, so that its gradient is finite
    return torch.where(varies, (maps - low) / torch.where(varies, high - low, 1.0), 0.0)


def rank_normalised(maps: Tensor) -> Tensor:
    """Maps (B, H, W) as ranks in [0, 1], mean 1/2, so that a large map has no advantage; constant ones to 1/2."""
    flat = maps.flatten(1)
    ordered = flat.sort(dim=1).values
    # the middle of equal values
    below = torch.searchsorted(ordered, flat.contiguous(), side="left")
    upto = torch.searchsorted(ordered, flat.contiguous(), side="right")
    return ((below + upto - 1).float() / 2 / max(flat.shape[1] - 1, 1)).view(maps.shape)


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, H, W) to (B, *size), bilinear; values stay within each map's own range."""
    return functional.interpolate(maps.unsqueeze(1), tuple(size), mode="bilinear", align_corners=False).squeeze(1)


def information_reduction(maps: Tensor, energy: Tensor) -> Tensor:
    """1 - cos(rectified map, energy) of each image, (B,) in [0, 1]: the represented part that a class's map leaves out.

    Both (B, H, W). 0 where the map is proportional to the energy, 1 where they don't overlap or either is zero.
    Invariant to positive scaling of both.
    """
    first, second = maps.relu().flatten(1).float(), energy.flatten(1).float()
    # scaled before squaring: energies are squares already, and must neither overflow nor vanish
    first = first / first.amax(dim=1, keepdim=True).clamp(min=1e-30)
    second = second / second.amax(dim=1, keepdim=True).clamp(min=1e-30)
    norms = first.norm(dim=1) * second.norm(dim=1)
    cosine = (first * second).sum(dim=1) / torch.where(norms > 0, norms, 1.0)
    return (1 - cosine).clamp(0, 1)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradient reaches the module's weights from what is computed meanwhile, but it passes through."""
    learning = [weight for weight in module.parameters() if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)


def retained_score(before: Tensor, after: Tensor) -> Tensor:
    """relu(after) / (relu(after) + relu(before) + 1e-6), in [0, 1): what of a class's score (B,) erasing left.

    1/2 where erasing changed a positive score in nothing, 0 where no positive score is left. The gradient flows
    through `after` alone. Unlike after / before clipped to [0, 1] it has a gradient where erasing raised the score.
    """
    left = after.relu()
    return left / (left + before.detach().relu() + 1e-6)
