"""Residual networks with the stem for small images: a 3 x 3 convolution of stride 1 and no pooling."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from bench.models.backbone import Backbone, Declaration, GlobalPool, convolution, published_initialisation

RESNET18 = Declaration(
    name="resnet18",
    summary="ResNet-18 with the CIFAR stem (11.2 M parameters)",
    source="He et al. 2016 (arXiv 1512.03385); stem and initialisation as in the robust-loss papers' code",
    smallest=8,
    megaflops=1110.8,
)
RESNET34 = Declaration(
    name="resnet34",
    summary="ResNet-34 with the CIFAR stem, the CIFAR-100 network of ANL and eps-softmax (21.3 M parameters)",
    source="He et al. 2016 (arXiv 1512.03385); stem and initialisation as in the robust-loss papers' code",
    smallest=8,
    megaflops=2318.8,
)
RESNET18_DEFAULT = replace(
    RESNET18,
    name="resnet18-default",
    summary="resnet18 with PyTorch's own first weights, the CIFAR-10 network of VolMinNet (11.2 M parameters)",
    source="He et al. 2016 (arXiv 1512.03385), as in the official code of VolMinNet (arXiv 2102.02400)",
)
RESNET34_DEFAULT = replace(
    RESNET34,
    name="resnet34-default",
    summary="resnet34 with PyTorch's own first weights, the network of ELR, SELC, MixNN and CORES2 (21.3 M parameters)",
    source="He et al. 2016 (arXiv 1512.03385), as in the official codes of ELR, SELC, MixNN, CORES2 and VolMinNet",
)
WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, added to their input before the last ReLU.

    If the shape changes, the input goes through a strided 1 x 1 convolution with batch normalisation.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        return self.relu(inner + self.shortcut(features))  # type: ignore[no-any-return]


def resnet(num_classes: int, in_chans: int, blocks: tuple[int, int, int, int]) -> Backbone:
    """A ResNet of basic blocks: `blocks` of them in its four layers of 64, 128, 256 and 512 channels.

    Weights are as PyTorch draws them.
    """
    channels = WIDTHS[0]
    stem = nn.Sequential(convolution(in_chans, channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    stages: list[tuple[str, nn.Module, int, int]] = [("stem", stem, channels, 1)]
    for number, (width, count) in enumerate(zip(WIDTHS, blocks, strict=True)):
        strides = [1 if number == 0 else 2] + [1] * (count - 1)
        layers = []
        for stride in strides:
            layers.append(BasicBlock(channels, width, stride))
            channels = width
        stages.append((f"layer{number + 1}", nn.Sequential(*layers), width, 2**number))
    return Backbone(stages, GlobalPool(), nn.Linear(channels, num_classes))


def resnet18(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Two blocks a layer; first weights as in the robust-loss codes."""
    model = resnet18_default(num_classes, in_chans, height, width)
    published_initialisation(model)
    return model


def resnet34(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """3, 4, 6 and 3 blocks; first weights as in the robust-loss codes."""
    model = resnet34_default(num_classes, in_chans, height, width)
    published_initialisation(model)
    return model


def resnet18_default(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """`resnet18` with PyTorch's own first weights.

    In a convolution of 3 x 3 over n channels these are smaller by a factor of 2.45: uniform of standard deviation
    1 / sqrt(27 n). Behind batch normalisation that makes the first steps larger, by the square of it.
    """
    return resnet(num_classes, in_chans, (2, 2, 2, 2))


def resnet34_default(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """`resnet34` with PyTorch's own first weights, see `resnet18_default`."""
    return resnet(num_classes, in_chans, (3, 4, 6, 3))
