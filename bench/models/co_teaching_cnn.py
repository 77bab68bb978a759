"""The networks of Co-teaching and its successors: `cnn9`, and the smaller `cnn7` of Co-teaching+ and JoCoR."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.models.backbone import Backbone, Declaration, Flatten, GlobalPool, convolution

CNN9 = Declaration(
    name="cnn9",
    summary="9 convolutions with dropout and a linear layer, the network of Co-teaching (4.4 M parameters)",
    source="Han et al. 2018 (arXiv 1804.06872), official code",
    smallest=28,
    megaflops=1491.1,
)
CNN7 = Declaration(
    name="cnn7",
    summary="6 convolutions and a linear layer, the CIFAR network of Co-teaching+ and JoCoR (0.52 M at 32 x 32)",
    source="Yu et al. 2019 (arXiv 1901.04215) and Wei et al. 2020 (arXiv 2003.02752), official codes",
    smallest=8,
    megaflops=224.8,
)
SLOPE = 0.01
"""Of cnn9's ReLUs below 0."""
DROPPED = 0.25
LOST = 6
"""Rows that three convolutions without padding take off a map."""


class ChannelDropout(nn.Module):
    """`nn.Dropout2d`: in training, each channel of each image is 0 with probability `share`, the others are scaled up.

    The masks are a function of the network's first weights' seed and a count of calls, both of which are stored with
    its weights, so that a run that is stopped and continued drops the same channels, on any device. Each number is a
    hash of (seed, call, place): two rounds of a multiplicative mixer on 32 bits.
    """

    seed: Tensor
    calls: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("seed", torch.randint(2**31, ()))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return features
        samples, channels = features.shape[:2]
        place = torch.arange(samples * channels, device=features.device)
        number = _mix_bits(_mix_bits(self.seed + 0x9E3779B9 * self.calls) + place)
        self.calls += 1
        kept = (number >= self.share * 2**32).view(samples, channels, 1, 1)
        return features * (kept.to(features.dtype) / (1 - self.share))


def _mix_bits(number: Tensor) -> Tensor:
    """A hash in [0, 2^32) of whole numbers from 0, int64; of different numbers below 2^32 the hashes differ."""
    number = number & 0xFFFFFFFF
    for _ in range(2):
        number = ((number >> 16) ^ number) * 0x45D9F3B & 0xFFFFFFFF
    return (number >> 16) ^ number


def cnn9(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Convolutions of 3 x 128, pool, 3 x 256, pool, then 512, 256, 128 without padding; weights as PyTorch draws them.

    Each is followed by batch normalisation and a leaky ReLU, each pooling by dropout of whole channels. ASSUMPTION:
    dropout acts in training and not in evaluation. The code leaves that to a default value of PyTorch's, by which it
    never acted in the version of its time, and acts always in later ones.
    """
    stages: list[tuple[str, nn.Module, int, int]] = []
    channels = in_chans
    for number, outputs in enumerate((128, 256), start=1):
        layers = [*_block(channels, outputs), *_block(outputs, outputs), *_block(outputs, outputs)]
        pooled = nn.Sequential(*layers, nn.MaxPool2d(2), ChannelDropout(DROPPED))
        stages.append((f"stage{number}", pooled, outputs, 2**number))
        channels = outputs
    last: list[nn.Module] = []
    for outputs in (512, 256, 128):
        last += _block(channels, outputs, padding=0)
        channels = outputs
    stages.append(("stage3", nn.Sequential(*last), channels, height // (height // 4 - LOST)))
    return Backbone(stages, GlobalPool(), nn.Linear(channels, num_classes))


def _block(inputs: int, outputs: int, padding: int = 1) -> list[nn.Module]:
    """A convolution with bias, batch normalisation and a leaky ReLU."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=padding)
    return [layer, nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE, inplace=True)]


def cnn7(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Convolutions of 64, 64, pool, 128, 128, pool, 196, 16, pool; weights as PyTorch draws them."""
    stages: list[tuple[str, nn.Module, int, int]] = []
    channels = in_chans
    for number, widths in enumerate(((64, 64), (128, 128), (196, 16)), start=1):
        layers: list[nn.Module] = []
        for outputs in widths:
            layers += [convolution(channels, outputs, bias=True), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            channels = outputs
        stages.append((f"stage{number}", nn.Sequential(*layers, nn.MaxPool2d(2)), channels, 2**number))
    features = channels * (height // 8) * (width // 8)
    return Backbone(stages, Flatten(), nn.Linear(features, num_classes))
