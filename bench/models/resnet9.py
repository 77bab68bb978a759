"""`resnet9`: a residual network of nine layers for small images, quick enough for two cores."""

from __future__ import annotations

from torch import Tensor, nn

from bench.models.backbone import Backbone, Declaration, convolution

RESNET9 = Declaration(
    name="resnet9",
    summary="8 convolutions with two skips and a linear layer, ResNet-9 at half its width (1.65 M parameters)",
    source="the shape: D. Page 2018-19, How to train your ResNet (myrtle.ai); the width is ours, ASSUMPTION",
    smallest=8,
    megaflops=190.5,
)
WIDTHS = (32, 64, 128, 256)
"""Channels of the stem and of the three layers. The network that Page describes has twice as many, and 6.6 M
parameters; so many as here are those of the networks that train in seconds on a GPU (K. Jordan 2024, 94 % on CIFAR-10
in 3.29 seconds, arXiv 2404.00498: 2.0 M)."""
SCALE = 1 / 8
"""By which Page multiplies the logits. Here it stands before the linear layer, which is the same but for the bias, that
his network doesn't have: so logits are the classifier's, as in all other backbones."""


def resnet9(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """A stem, and three layers that halve the size; the first and the last of them end in a residual block.

    Weights are as PyTorch draws them.
    """
    stem, *widths = WIDTHS
    stages: list[tuple[str, nn.Module, int, int]] = [("stem", normalised(in_chans, stem), stem, 1)]
    channels = stem
    for number, outputs in enumerate(widths, start=1):
        layers = [normalised(channels, outputs), nn.MaxPool2d(2)]
        if number != 2:
            layers.append(AddedPair(outputs))
        stages.append((f"layer{number}", nn.Sequential(*layers), outputs, 2**number))
        channels = outputs
    return Backbone(stages, ScaledMaximum(), nn.Linear(channels, num_classes))


def normalised(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 x 3 convolution, batch normalisation and ReLU."""
    return nn.Sequential(convolution(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class AddedPair(nn.Module):
    """Two convolutions, each with batch normalisation and ReLU, added to their input. No ReLU follows the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(normalised(channels, channels), normalised(channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.inner(features)  # type: ignore[no-any-return]


class ScaledMaximum(nn.Module):
    """The largest value of each map, (B, C, H, W) -> (B, C), an eighth of it."""

    def forward(self, features: Tensor) -> Tensor:
        return features.amax((2, 3)) * SCALE
