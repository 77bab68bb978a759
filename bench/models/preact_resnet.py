"""Pre-activation ResNets: DivideMix's, which differs from the paper's in three places, and that of JS and GJS.

The three models are at the end; each names its source and what of it differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from bench.models.backbone import Backbone, Declaration, GlobalPool, convolution
from bench.models.resnet import WIDTHS

PREACT_RESNET18 = Declaration(
    name="preact-resnet18",
    summary="Pre-activation ResNet-18 as DivideMix and ELR+ use it (11.2 M parameters)",
    source="He et al. 2016 (arXiv 1603.05027) as in Li et al. 2020 (arXiv 2002.07394), official code",
    smallest=8,
    megaflops=1110.8,
)

PREACT_RESNET34 = Declaration(
    name="preact-resnet34",
    summary="Pre-activation ResNet-34 of the blocks of preact-resnet18 (21.3 M parameters)",
    source="He et al. 2016 (arXiv 1603.05027); blocks as in Li et al. 2020 (arXiv 2002.07394), official code",
    smallest=8,
    megaflops=2318.8,
)
PREACT_RESNET34_NARROW = Declaration(
    name="preact-resnet34-narrow",
    summary="Pre-activation ResNet of JS and GJS: 3 x 5 blocks of 32, 64 and 128 channels (1.9 M parameters)",
    source="Englesson and Azizpour 2021 (arXiv 2105.04522), official code, where it is called PreActResNet34",
    smallest=4,
    megaflops=551.2,
)
NARROW = (32, 64, 128)


class PreActBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch normalisation and ReLU, added to a skip.

    If the shape changes, the skip is a strided 1 x 1 convolution of the activated input, without normalisation.
    Elsewhere it is the block's input, as in the paper, or with `activated_skip` the activated input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activated_skip: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = convolution(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        self.activated_skip = activated_skip
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.activated_skip = True

    def forward(self, features: Tensor) -> Tensor:
        activated = self.relu(self.bn1(features))
        inner = self.conv2(self.relu(self.bn2(self.conv1(activated))))
        return inner + self.shortcut(activated if self.activated_skip else features)  # type: ignore[no-any-return]


def layers(widths: Sequence[int], blocks: Sequence[int], activated_skip: bool) -> Iterator[tuple[str, nn.Module]]:
    """(name, layer) of each layer with its number of blocks; all but the first halve the size."""
    channels = widths[0]
    for number, (wide, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        strides = [1 if number == 1 else 2] + [1] * (count - 1)
        inputs = [channels] + [wide] * (count - 1)
        pairs = zip(inputs, strides, strict=True)
        yield f"layer{number}", nn.Sequential(*(PreActBlock(width, wide, s, activated_skip) for width, s in pairs))
        channels = wide


def activated_stem(num_classes: int, in_chans: int, blocks: tuple[int, int, int, int]) -> Backbone:
    """A network of four layers with these numbers of blocks; weights as PyTorch draws them.

    As in DivideMix's code there is a batch normalisation and ReLU after the stem's convolution and none before the
    pooling, so features may be negative.
    """
    wide = WIDTHS[0]
    stem = nn.Sequential(convolution(in_chans, wide), nn.BatchNorm2d(wide), nn.ReLU(inplace=True))
    stages: list[tuple[str, nn.Module, int, int]] = [("stem", stem, wide, 1)]
    for number, (name, layer) in enumerate(layers(WIDTHS, blocks, activated_skip=True)):
        stages.append((name, layer, WIDTHS[number], 2**number))
    return Backbone(stages, GlobalPool(), nn.Linear(WIDTHS[-1], num_classes))


def preact_resnet18(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Two blocks in each of four layers."""
    return activated_stem(num_classes, in_chans, (2, 2, 2, 2))


def preact_resnet34(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """3, 4, 6 and 3 blocks."""
    return activated_stem(num_classes, in_chans, (3, 4, 6, 3))


def preact_resnet34_narrow(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Five blocks in each of three layers, skips as in the paper; weights as PyTorch draws them.

    The stem is a convolution alone, and batch normalisation and ReLU stand before the pooling.
    """
    stages: list[tuple[str, nn.Module, int, int]] = [("stem", convolution(in_chans, NARROW[0]), NARROW[0], 1)]
    for number, (name, layer) in enumerate(layers(NARROW, (5, 5, 5), activated_skip=False)):
        stages.append((name, layer, NARROW[number], 2**number))
    head = nn.Sequential(nn.BatchNorm2d(NARROW[-1]), nn.ReLU(inplace=True), GlobalPool())
    return Backbone(stages, head, nn.Linear(NARROW[-1], num_classes))
