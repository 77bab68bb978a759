"""Optimisers, by the names that a run's identity holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from bench.spec.schedules import OPTIMIZERS
from bench.system.errors import UsageError


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


def forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """What `optimizer.zero_grad(set_to_none=True)` does, without what it tells profilers."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None


@torch.no_grad()
def step_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """What `optimizer.step()` does, bit for bit; with SGD also where a weight gets its first gradient after the others.

    Around its one fused call SGD checks and sorts every tensor anew, which a small network's step feels
    (`benchmarks/step_overhead.py`), and it refuses momenta of which only some are there.
    """
    if type(optimizer) is not torch.optim.SGD:
        optimizer.step()
        return
    for group in optimizer.param_groups:
        moving = [(weight, weight.grad) for weight in group["params"] if weight.grad is not None]
        if moving:
            weights, gradients = map(list, zip(*moving, strict=True))
            torch._fused_sgd_(
                weights,
                gradients,
                [_momentum(optimizer.state[weight], gradient) for weight, gradient in moving]
                if group["momentum"]
                else [],
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
                is_first_step=False,
            )


def _momentum(state: dict[str, Tensor], gradient: Tensor) -> Tensor:
    """A weight's momentum. It begins at 0, from where a step makes it the gradient, as PyTorch's first step does."""
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(gradient)
    return state["momentum_buffer"]


@torch.no_grad()
def clip_gradient_norm(weights: Sequence[nn.Parameter], largest: float) -> None:
    """Scale the gradients of `weights` so that their common norm is at most `largest`.

    Every bit is that of `torch.nn.utils.clip_grad_norm_`, which sorts tensors by device and type before. Nothing waits
    for the device.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if gradients:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
