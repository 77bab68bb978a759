"""The backbones: `build` returns a network by its name, `declarations` lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bench.models import preact_resnet as preact
from bench.models import resnet
from bench.models.backbone import Backbone, Declaration
from bench.models.co_teaching_cnn import CNN7, CNN9, cnn7, cnn9
from bench.models.perceptron import LINEAR, MLP, linear, mlp
from bench.models.plain_cnn import CNN4, CNN8, CNN_POOL, CNN_SMALL, cnn4, cnn8, cnn_pool, cnn_small
from bench.models.resnet9 import RESNET9, resnet9
from bench.models.timm_models import TIMM, timm_model
from bench.system.errors import UsageError, nearest_names

__all__ = ["Backbone", "Declaration", "Model", "build", "declarations"]

MODELS: dict[str, tuple[Declaration, Callable[[int, int, int, int], Backbone]]] = {
    declaration.name: (declaration, make)
    for declaration, make in (
        (CNN_SMALL, cnn_small),
        (CNN_POOL, cnn_pool),
        (CNN4, cnn4),
        (CNN8, cnn8),
        (CNN7, cnn7),
        (CNN9, cnn9),
        (RESNET9, resnet9),
        (resnet.RESNET18, resnet.resnet18),
        (resnet.RESNET34, resnet.resnet34),
        (resnet.RESNET18_DEFAULT, resnet.resnet18_default),
        (resnet.RESNET34_DEFAULT, resnet.resnet34_default),
        (preact.PREACT_RESNET18, preact.preact_resnet18),
        (preact.PREACT_RESNET34, preact.preact_resnet34),
        (preact.PREACT_RESNET34_NARROW, preact.preact_resnet34_narrow),
        (MLP, mlp),
        (LINEAR, linear),
    )
}


def declarations() -> dict[str, dict[str, Any]]:
    """Every model's declaration, by name, as JSON-able values."""
    ours = [declaration for declaration, _ in MODELS.values()]
    return {declaration.name: declaration.as_json() for declaration in [*ours, TIMM]}


def build(
    name: str, num_classes: int, in_chans: int, image_size: int | tuple[int, int], seed: int | None = None
) -> nn.Module:
    """A new network with timm's interface (see backbone.Model), in training mode, on the CPU.

    `image_size` is (height, width), or one number for both. With a `seed` the weights are drawn from it alone, and the
    caller's generators stay as they are; without one they come from PyTorch's global generator. Raises UsageError for
    an unknown name, and for images too small for the model, with the smallest size that works.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if num_classes < 2 or in_chans < 1 or min(height, width) < 1:
        raise UsageError(
            f"a model needs 2 classes, 1 channel and images of 1 x 1 at least, not {num_classes} classes, "
            f"{in_chans} channel(s) and {height} x {width}: give --image-size 1 or more."
        )
    with drawn_from(seed):
        if name.startswith("timm:"):
            return timm_model(name, num_classes, in_chans, height, width)
        if name not in MODELS:
            close = nearest_names(name, [*MODELS, "timm:NAME"]) or list(MODELS)
            raise UsageError(f'no model "{name}"; did you mean {" or ".join(close)}? See: python -m bench list models')
        declaration, make = MODELS[name]
        if min(height, width) < declaration.smallest:
            raise UsageError(
                f"{name} needs images of at least {declaration.smallest} x {declaration.smallest} pixels, not "
                f"{height} x {width}: give --image-size {declaration.smallest} or another --model."
            )
        return make(num_classes, in_chans, height, width)


@contextmanager
def drawn_from(seed: int | None) -> Iterator[None]:
    """A context in which PyTorch's CPU generator starts from `seed`; its state returns afterwards. None: no change."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the generators of every CUDA device as well.
        torch.default_generator.manual_seed(seed)
        yield
