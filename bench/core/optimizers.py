"""Optimisers, by the names that a run's identity holds."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from bench.core.schedules import OPTIMIZERS
from bench.errors import UsageError


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
) -> torch.optim.Optimizer:
    """An optimiser over `parameters` with its fused step, which exists for the CPU as well as for CUDA."""
    held = list(parameters)
    if name == "sgd":
        return torch.optim.SGD(
            held,
            lr=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=nesterov and momentum > 0,
            fused=True,
        )
    if name == "adam":
        return torch.optim.Adam(held, lr=learning_rate, betas=(momentum, 0.999), weight_decay=weight_decay, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(held, lr=learning_rate, betas=(momentum, 0.999), weight_decay=weight_decay, fused=True)
    raise UsageError(f"no optimizer is called {name!r}; there are: {', '.join(OPTIMIZERS)}")
