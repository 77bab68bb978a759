"""Networks of linear layers, for samples that are vectors: `mlp` and `linear`. Images are flattened."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bench.models.backbone import Backbone, Declaration, published_initialisation

HIDDEN = (512, 512)

MLP = Declaration(
    name="mlp",
    summary="two hidden layers of 512 with batch normalisation and ReLU, for vectors (tables, features)",
    source="ours: the widths of this project's first trial on frozen features, with the usual batch normalisation",
    smallest=1,
    megaflops=3.7,
    takes_vectors=True,
)
LINEAR = Declaration(
    name="linear",
    summary="one linear layer, the classifier alone: what vectors (tables, features) tell without more",
    source="multinomial logistic regression",
    smallest=1,
    megaflops=0.0614,
    takes_vectors=True,
)


class FlatStage(nn.Module):
    """Samples (B, C, H, W) -> (B, D, 1, 1), all values of each or what `layers` make of them: no map of places."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, samples: Tensor) -> Tensor:
        values: Tensor = self.layers(samples.flatten(1))
        return values[:, :, None, None]


def mlp(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """Hidden layers with batch normalisation and ReLU, a stage each."""
    return perceptron(num_classes, in_chans, height, width, HIDDEN)


def linear(num_classes: int, in_chans: int, height: int, width: int) -> Backbone:
    """The classifier on the flattened sample."""
    return perceptron(num_classes, in_chans, height, width, ())


def perceptron(num_classes: int, in_chans: int, height: int, width: int, hidden: Sequence[int]) -> Backbone:
    """A stage for each hidden layer, or without any the flattened sample as the only one."""
    inputs, whole = in_chans * height * width, max(height, width)
    stages: list[tuple[str, nn.Module, int, int]] = []
    for number, outputs in enumerate(hidden, start=1):
        layers = (nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(inplace=True))
        stages.append((f"hidden{number}", FlatStage(*layers), outputs, whole))
        inputs = outputs
    if not stages:
        stages.append(("flat", FlatStage(), inputs, whole))
    model = Backbone(stages, nn.Flatten(), nn.Linear(inputs, num_classes))
    model.has_maps = False
    published_initialisation(model)
    return model
