"""Residual networks with the stem for small images: a 3 x 3 convolution of stride 1 and no pooling."""

from __future__ import annotations

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
    """A ResNet of basic blocks: `blocks` of them in its four layers of 64, 128, 256 and 512 channels."""
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
    model = Backbone(stages, GlobalPool(), nn.Linear(channels, num_classes))
    published_initialisation(model)
    return model


def resnet18(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Two blocks a layer."""
    return resnet(num_classes, in_chans, (2, 2, 2, 2))


def resnet34(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """3, 4, 6 and 3 blocks."""
    return resnet(num_classes, in_chans, (3, 4, 6, 3))
