"""The parts of a backbone: its declaration, stages in a row, a head, and layers that backbones share.

Read `Model` first, the interface that methods and training use, then `Backbone`, which implements it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """The entry of a model in `list models`. `smallest` is the least height and width of its images.

    `megaflops` is the cost of a forward pass of one colour image of 32 x 32, by which sweeps are divided.
    `takes_vectors`: it flattens its input, so that samples may be vectors, (B, D, 1, 1).
    """

    name: str
    aliases: tuple[str, ...] = ()
    summary: str
    source: str
    smallest: int
    megaflops: float
    takes_vectors: bool = False

    def as_json(self) -> dict[str, Any]:
        """The declaration as JSON-able values."""
        return asdict(self) | {"aliases": list(self.aliases)}


class Model(Protocol):
    """timm's interface as far as training and methods use it, and two calls of ours. Images are (B, C, H, W)."""

    num_features: int

    def __call__(self, images: Tensor) -> Tensor:
        """Images -> logits (B, K)."""

    def forward_features(self, images: Tensor) -> Tensor:
        """Images -> the last feature maps, before pooling."""

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Last feature maps -> logits (B, K), or with `pre_logits` the classifier's input."""

    def get_classifier(self) -> nn.Module:
        """The last layer: logits = get_classifier()(forward_head(forward_features(images), pre_logits=True))."""

    def forward_to(self, images: Tensor, stage: str) -> Tensor:
        """Images -> the feature maps that leave `stage`, a "module" of `feature_info`."""

    def forward_from(self, features: Tensor, stage: str, pre_logits: bool = False) -> Tensor:
        """The feature maps that leave `stage` -> logits (B, K), or with `pre_logits` the classifier's input."""


class Backbone(nn.Module):
    """Stages in a row, then a head. `stages` maps stage names, in order, to (module, channels, reduction).

    `head` turns the last feature maps into the classifier's input (B, num_features). A stage's feature maps are
    `reduction` times smaller than the image.
    """

    def __init__(
        self, stages: Sequence[tuple[str, nn.Module, int, int]], head: nn.Module, classifier: nn.Linear
    ) -> None:
        super().__init__()
        self.has_maps = True
        """Whether what leaves a stage has places, as a method that looks at them needs."""
        self.num_features = classifier.in_features
        self.num_classes = classifier.out_features
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": name} for name, _, channels, reduction in stages
        ]
        self.stage_names = tuple(name for name, *_ in stages)
        for name, module, *_ in stages:
            self.add_module(name, module)
        self.head = head
        self.fc = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> logits (B, K)."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) -> the last stage's feature maps."""
        return self.run(images, self.stage_names)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Last feature maps -> logits (B, K), or (B, num_features) with `pre_logits`."""
        pooled: Tensor = self.head(features)
        return pooled if pre_logits else self.fc(pooled)

    def get_classifier(self) -> nn.Module:
        """The linear layer that ends the network."""
        return self.fc

    def forward_to(self, images: Tensor, stage: str) -> Tensor:
        """Images (B, C, H, W) -> the feature maps that leave `stage`. Raises ValueError on an unknown stage."""
        return self.run(images, self.stage_names[: self.position(stage) + 1])

    def forward_from(self, features: Tensor, stage: str, pre_logits: bool = False) -> Tensor:
        """The feature maps that leave `stage` -> logits (B, K), or (B, num_features) with `pre_logits`.

        Raises ValueError on an unknown stage.
        """
        return self.forward_head(self.run(features, self.stage_names[self.position(stage) + 1 :]), pre_logits)

    def run(self, features: Tensor, names: Sequence[str]) -> Tensor:
        """Pass `features` through the stages `names`, one after the other."""
        for name in names:
            features = getattr(self, name)(features)
        return features

    def position(self, stage: str) -> int:
        """The position of `stage` among the stages. Raises ValueError for an unknown stage."""
        if stage not in self.stage_names:
            raise ValueError(f"no stage {stage!r} in this network; it has {', '.join(self.stage_names)}")
        return self.stage_names.index(stage)


class GlobalPool(nn.Module):
    """The mean over positions, (B, C, H, W) -> (B, C)."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


class Flatten(nn.Module):
    """Feature maps (B, C, H, W) -> (B, C H W), as `nn.Flatten` does, bit for bit.

    Its gradient has the memory format of the feature maps. That of `nn.Flatten` comes channel after channel, so the
    layer before it (a ReLU, a pooling) reads two formats at once, which is slow on a CPU.
    """

    def forward(self, features: Tensor) -> Tensor:
        flat: Tensor = _Flat.apply(features)
        return flat


class _Flat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor) -> Tensor:
        ctx.shape = features.shape  # type: ignore[attr-defined]
        ctx.channels_last = features.is_contiguous(memory_format=torch.channels_last)  # type: ignore[attr-defined]
        return features.flatten(1)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].reshape(ctx.shape)  # type: ignore[attr-defined]
        channels_last = ctx.channels_last  # type: ignore[attr-defined]
        return gradient.contiguous(memory_format=torch.channels_last) if channels_last else gradient


def published_initialisation(module: nn.Module) -> None:
    """Draw weights anew as the robust-loss papers' code does (APL, Ma et al. 2020, and its successors).

    Convolutions: kaiming-uniform over their inputs for ReLU; linear layers: xavier-uniform; biases stay.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)


def convolution(inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size, or divides it by `stride` rounding up."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)
