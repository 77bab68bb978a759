"""Optimisers, by the names that a run's identity holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def allow_recording(optimizer: torch.optim.Optimizer, recorded: bool) -> None:
    """Tell an optimiser that counts its steps (Adam) whether they may be recorded as a CUDA graph.

    The count lies on the device either way, and the step is the same.
    """
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = recorded


@torch.no_grad()
def clip_gradient(weights: Sequence[nn.Parameter], largest: float) -> None:
    """Scale the gradients of `weights` so that their common norm is at most `largest`.

    Every bit is that of `torch.nn.utils.clip_grad_norm_`, which takes twice as long over a small network to sort its
    tensors by device and type. Nothing waits for the device.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if gradients:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
