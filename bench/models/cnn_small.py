"""A network for small scans and quick trials: a training step on digits takes a millisecond or two on one core."""

from __future__ import annotations

from torch import nn

from bench.models.backbone import Backbone, Declaration, Flatten, convolution, published_initialisation

CNN_SMALL = Declaration(
    name="cnn-small",
    summary="2 convolutions and 2 linear layers for 8 x 8 to 32 x 32 images, quick on one core (72 k parameters)",
    source="ours, for the digits and synthetic data",
    smallest=8,
    megaflops=3.4,
)


def cnn_small(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """16, pool, 32, pool to 4 x 4, linear 128."""
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
