"""Plain convolutional networks: `cnn4` and `cnn8` of the robust-loss papers, our `cnn-small` and `cnn-pool`."""

from __future__ import annotations

from torch import nn

from bench.models.backbone import Backbone, Declaration, Flatten, GlobalPool, convolution, published_initialisation

CNN4 = Declaration(
    name="cnn4",
    summary="2 convolutions and 2 linear layers, the MNIST network of APL and ANL (0.42 M parameters at 28 x 28)",
    source="Ma et al. 2020 (arXiv 2006.13554) and Ye et al. 2023 (arXiv 2309.15641), official code",
    smallest=4,
    megaflops=12.3,
)
CNN8 = Declaration(
    name="cnn8",
    summary="6 convolutions and 2 linear layers, the CIFAR-10 network of APL and ANL (1.64 M parameters at 32 x 32)",
    source="Ma et al. 2020 (arXiv 2006.13554) and Ye et al. 2023 (arXiv 2309.15641), official code",
    smallest=8,
    megaflops=267.0,
)
CNN_SMALL = Declaration(
    name="cnn-small",
    summary="2 convolutions and 2 linear layers for 8 x 8 to 32 x 32 images, quick on one core (72 k parameters)",
    source="ours, for the digits and synthetic data",
    smallest=8,
    megaflops=3.4,
)
CNN_POOL = Declaration(
    name="cnn-pool",
    summary="5 convolutions, maps of about 8 x 8 and their mean, for what depends on places (80 k parameters)",
    source="ours, for the claims about where a network looks",
    smallest=8,
    megaflops=33.2,
)


def cnn4(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Convolutions of 32, pool, 64, pool, then a linear layer of 128."""
    return plain_cnn(num_classes, in_chans, height, width, ((32,), (64,)), 128)


def cnn8(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Convolutions of 64, 64, pool, 128, 128, pool, 196, 196, pool, then a linear layer of 256."""
    return plain_cnn(num_classes, in_chans, height, width, ((64, 64), (128, 128), (196, 196)), 256)


def plain_cnn(
    num_classes: int, in_chans: int, height: int, width: int, widths: tuple[tuple[int, ...], ...], hidden: int
) -> Backbone:
    """Stages of convolutions with bias, batch normalisation and ReLU, each ended by a 2 x 2 max pooling."""
    stages: list[tuple[str, nn.Module, int, int]] = []
    channels = in_chans
    for number, stage in enumerate(widths, start=1):
        layers: list[nn.Module] = []
        for outputs in stage:
            layers += [convolution(channels, outputs, bias=True), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            channels = outputs
        stages.append((f"stage{number}", nn.Sequential(*layers, nn.MaxPool2d(2)), channels, 2**number))
    shrink = 2 ** len(widths)
    positions = (height // shrink) * (width // shrink)
    head = nn.Sequential(
        Flatten(), nn.Linear(channels * positions, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)
    )
    model = Backbone(stages, head, nn.Linear(hidden, num_classes))
    published_initialisation(model)
    return model


def cnn_small(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Convolutions of 16, pool, 32, mean pool to about 4 x 4, then a linear layer of 128."""
    first = nn.Sequential(convolution(in_chans, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    second: list[nn.Module] = [convolution(16, 32), nn.BatchNorm2d(32), nn.ReLU(inplace=True)]
    window = (max(1, height // 8), max(1, width // 8))
    if window != (1, 1):
        second.append(nn.AvgPool2d(window))
    across = (height // 2 // window[0]) * (width // 2 // window[1])
    head = nn.Sequential(Flatten(), nn.Linear(32 * across, 128), nn.BatchNorm1d(128), nn.ReLU(inplace=True))
    stages = [("stage1", first, 16, 2), ("stage2", nn.Sequential(*second), 32, 2 * window[0])]
    model = Backbone(stages, head, nn.Linear(128, num_classes))
    published_initialisation(model)
    return model


def cnn_pool(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Convolutions of 24, 24, pool, 48, 48, pool, 96, then the mean over positions: a class map is a linear layer's.

    The poolings take maps of up to 35 x 35 to about 8 x 8, and larger ones by 4: one that would leave fewer than 7
    positions across is left out.
    """
    stages: list[tuple[str, nn.Module, int, int]] = []
    channels, side, reduction = in_chans, min(height, width), 1
    for number, widths in enumerate(((24, 24), (48, 48), (96,)), start=1):
        layers: list[nn.Module] = []
        for outputs in widths:
            layers += [convolution(channels, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            channels = outputs
        if number < 3 and side // 2 >= 7:
            layers.append(nn.MaxPool2d(2))
            side, reduction = side // 2, 2 * reduction
        stages.append((f"stage{number}", nn.Sequential(*layers), channels, reduction))
    model = Backbone(stages, GlobalPool(), nn.Linear(channels, num_classes))
    published_initialisation(model)
    return model
