"""Optimisers, by the names that a run's identity holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.spec.schedules import OPTIMIZERS
from bench.system.errors import UsageError

SGD_SETTINGS = ("lr", "weight_decay", "momentum", "dampening", "nesterov", "maximize")


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
) -> torch.optim.Optimizer:
    """An optimiser over `parameters` with its fused step, which exists for the CPU as well as for CUDA."""
    weights = list(parameters)
    if name == "sgd":
        nesterov = nesterov and momentum > 0
        return torch.optim.SGD(
            weights, learning_rate, momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True
        )
    if name in ("adam", "adamw"):
        kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        return kind(weights, learning_rate, (momentum, 0.999), weight_decay=weight_decay, fused=True)
    raise UsageError(f"no optimizer is called {name!r}; there are: {', '.join(OPTIMIZERS)}")


def set_momentum(optimizer: torch.optim.Optimizer, momentum: float) -> None:
    """Set the momentum of an optimiser, which is beta1 in Adam."""
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum


def allow_recording(optimizer: torch.optim.Optimizer, recorded: bool) -> None:
    """Set whether the steps of an optimiser that counts them (Adam) may be recorded as a CUDA graph.

    The count lies on the device either way, and the step is the same.
    """
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = recorded


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Continue an optimiser from its `state_dict`. Raises ValueError where it isn't one of the same weights and kind.

    PyTorch compares the numbers of groups and weights alone, and its fused steps end the process over other shapes.
    """
    own = [{name: type(value) for name, value in group.items()} for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(state))
    for kinds, group in zip(own, optimizer.param_groups, strict=True):
        if set(kinds) != set(group):
            raise ValueError(f"an optimiser's settings are {', '.join(sorted(map(str, group)))}")
        for name, kind in kinds.items():
            value = group[name]
            if isinstance(value, str) or (kind in (int, float) and not isinstance(value, int | float | Tensor)):
                raise ValueError(f"an optimiser's {name} is {str(value)[:40]}")
    for weight, values in optimizer.state.items():
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.shape not in (weight.shape, torch.Size()):
                raise ValueError(f"an optimiser's {name} isn't of its weight's shape")
            if value.shape != weight.shape and name != "step":
                raise ValueError(f"an optimiser's {name} is a single number")


def clear_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Do what `optimizer.zero_grad(set_to_none=True)` does, without its calls for profilers."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None


@torch.no_grad()
def step_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Do what `optimizer.step()` does, bit for bit; with SGD also if some weights get their first gradient later.

    PyTorch's SGD checks and sorts every tensor anew around its one fused call, which costs a small network's step much
    (`benchmarks/step_overhead.py`), and it refuses momenta of which some are missing.
    """
    if type(optimizer) is not torch.optim.SGD:
        optimizer.step()
        return
    for group in optimizer.param_groups:
        updated = [(weight, weight.grad) for weight in group["params"] if weight.grad is not None]
        if updated:
            weights, gradients = map(list, zip(*updated, strict=True))
            moved = updated if group["momentum"] else []
            momenta = [_momentum(optimizer.state[weight], gradient) for weight, gradient in moved]
            settings = {name: group[name] for name in SGD_SETTINGS}
            torch._fused_sgd_(weights, gradients, momenta, is_first_step=False, **settings)


def _momentum(state: dict[str, Tensor], gradient: Tensor) -> Tensor:
    """A weight's momentum; it starts at 0, so that the first step makes it the gradient, as in PyTorch."""
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(gradient)
    return state["momentum_buffer"]


@torch.no_grad()
def clip_gradient_norm(weights: Sequence[nn.Parameter], largest: float) -> None:
    """Scale the gradients of `weights` so that their common norm is at most `largest`.

    Every bit is that of `torch.nn.utils.clip_grad_norm_`, which also sorts tensors by device and type. The host doesn't
    wait for the device.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if gradients:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
