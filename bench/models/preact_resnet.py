"""The pre-activation ResNet-18 of DivideMix, which differs from the paper's in three places."""

from __future__ import annotations

from torch import Tensor, nn

from bench.models.backbone import Backbone, Declaration, GlobalPool, convolution
from bench.models.resnet import WIDTHS

PREACT_RESNET18 = Declaration(
    name="preact-resnet18",
    summary="Pre-activation ResNet-18 as DivideMix and ELR+ use it (11.2 M parameters)",
    source="He et al. 2016 (arXiv 1603.05027) as in Li et al. 2020 (arXiv 2002.07394), official code",
    smallest=8,
)


class PreActBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch normalisation and ReLU, added to a skip.

    Unlike in the paper, the skip starts from the activated input even where it is the identity. Where the shape
    changes it is a strided 1 x 1 convolution without normalisation.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = convolution(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        activated = self.relu(self.bn1(features))
        inner = self.conv2(self.relu(self.bn2(self.conv1(activated))))
        return inner + self.shortcut(activated)  # type: ignore[no-any-return]


def preact_resnet18(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Two blocks in each of four layers; weights as PyTorch draws them.

    As in DivideMix's code there is a batch normalisation and ReLU after the stem's convolution and none before the
    pooling, so features may be negative.
    """
    channels = WIDTHS[0]
    stem = nn.Sequential(convolution(in_chans, channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    stages: list[tuple[str, nn.Module, int, int]] = [("stem", stem, channels, 1)]
    for number, wide in enumerate(WIDTHS):
        first = PreActBlock(channels, wide, 1 if number == 0 else 2)
        stages.append((f"layer{number + 1}", nn.Sequential(first, PreActBlock(wide, wide, 1)), wide, 2**number))
        channels = wide
    return Backbone(stages, GlobalPool(), nn.Linear(channels, num_classes))
