"""A frozen backbone of timm: its weights from a file, its classifier left out, its features pooled.

`measure_length` asks on shapes alone how many numbers come out of it; `FrozenBackbone` computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.features.views import normalise
from bench.models import timm_models
from bench.models.weights import WeightsFile
from bench.spec.features import FeatureSettings
from bench.system.errors import UsageError

COLOURS = 3


class FrozenBackbone:
    """A backbone in eval mode on a device, in the precision of its settings: views uint8 in, features float16 out."""

    def __init__(self, settings: FeatureSettings, path: Path, device: torch.device) -> None:
        self.settings, self.device = settings, device
        module: Any = timm_models.create_timm_model(settings.name, 0, COLOURS, settings.size, settings.size)
        WeightsFile(path).load_into(module, settings.name)
        config = module.pretrained_cfg
        self.mean, self.std = three(config["mean"]), three(config["std"])
        self.module = module.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, views: Tensor) -> Tensor:
        """Views uint8 (B, S, S, C) -> features float16 (B, D)."""
        images = normalise(views, self.mean, self.std)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            features: Tensor = self.module(images)
        # float16 ends at 65,504
        return features.float().clamp_(-6e4, 6e4).to(torch.float16)


def three(values: Sequence[float]) -> tuple[float, ...]:
    """A backbone's mean or deviation for three colours."""
    return tuple(values) if len(values) == COLOURS else tuple(values) * COLOURS


def measure_length(name: str, size: int) -> int:
    """The numbers of a feature vector of timm's model `name` for images of `size` pixels a side, on shapes alone.

    Raises UsageError where it can't take images of this size, with the smallest larger one that works.
    """
    error = find_fault(name, size)
    if error is not None:
        raise timm_models.too_small_error(
            f"timm:{name}", 0, COLOURS, (size, size), error, "--feature-size", "backbone in --features"
        ) from error
    model = timm_models.create_on_meta(name, 0, COLOURS, size, size)
    with torch.no_grad():
        features = model.eval().to("meta")(torch.empty(2, COLOURS, size, size, device="meta"))
    if not isinstance(features, Tensor) or features.dim() != 2:
        raise UsageError(f"timm:{name} doesn't give one vector for each image, so it has no features: try another one")
    return features.shape[1]


def find_fault(name: str, size: int) -> Exception | None:
    """The error that images of this size cause, None if they cause none."""
    try:
        model = timm_models.create_on_meta(name, 0, COLOURS, size, size)
        return timm_models.find_size_fault(model, COLOURS, size, size)
    except timm_models.SIZE_ERRORS as error:
        return error


def check_weights(name: str, size: int, path: Path) -> None:
    """Raise UsageError where a file's weights don't fit timm's model `name`. Takes memory for the file's weights."""
    WeightsFile(path).fit(timm_models.create_on_meta(name, 0, COLOURS, size, size), name)
