"""Sharpening, mixup and MixMatch's mixing. Tensors in, tensors out; random numbers are drawn ahead of the step."""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor, arange, as_tensor, float32, float64, log_softmax, maximum, rand

from methods.interface import Steps

Losses = Callable[[Tensor, Tensor], Tensor]


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Targets float32 (..., K) that are 1 at `labels` int64 (...) and 0 elsewhere.

    PyTorch's own looks at the values to check them, and so waits for the device.
    """
    return (arange(classes, device=labels.device) == labels.unsqueeze(-1)).float()


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """p^(1/T) / sum p^(1/T) along the last axis, T > 0; T = 1 gives p, T -> 0 its argmax.

    Source: Berthelot et al., "MixMatch", NeurIPS 2019, equation 7. It is taken as a softmax of ln p / T, so that small
    probabilities at small T don't all become 0.
    """
    # log_softmax subtracts the largest first: no power of a small number underflows before it is scaled
    scaled = probabilities.clamp(min=1e-38).log() / temperature
    return log_softmax(scaled, dim=-1).exp()


def beta_draws(alpha: float, shape: tuple[int, ...], generator: Generator, dominant: bool = False) -> Tensor:
    """Draws float32 `shape` of Beta(alpha, alpha), alpha > 0; `dominant`: max(l, 1 - l), as MixMatch takes them.

    By inversion of the generator's uniforms, so that they depend on nothing else.
    """
    uniform = rand(shape, generator=generator, dtype=float64)
    if alpha != 1:
        from scipy.special import betaincinv

        uniform = as_tensor(betaincinv(alpha, alpha, uniform.numpy()), dtype=float64)
    return (maximum(uniform, 1 - uniform) if dominant else uniform).to(float32)


def mixup_draws(
    steps: Steps, generator: Generator, alpha: float, copies: int = 1, dominant: bool = False
) -> dict[str, Tensor]:
    """What `mix` needs for each step of a pass: "weight" (steps,) and "order" (steps, copies * batch).

    `copies`: how many batches are mixed as one (MixMatch concatenates its views and streams).
    """
    weight = beta_draws(alpha, (steps.count,), generator, dominant)
    return {"weight": weight, "order": rand((steps.count, copies * steps.batch), generator=generator)}


def partners(order: Tensor, count: int) -> Tensor:
    """A permutation of `count` items out of a step's drawn `order` (count or more uniforms); int64 (count,)."""
    return order[:count].argsort()


def mix(values: Tensor, partner: Tensor, weight: Tensor | float) -> Tensor:
    """weight * values + (1 - weight) * values[partner]; `weight` a scalar or one per sample (B,).

    Source: Zhang et al., "mixup", ICLR 2018. The same for images (B, C, H, W) and targets (B, K).
    """
    if isinstance(weight, Tensor) and weight.dim() == 1:
        weight = weight.reshape(-1, *[1] * (values.dim() - 1))
    return weight * values + (1 - weight) * values[partner]


def blended(losses: Losses, logits: Tensor, labels: Tensor, partner: Tensor, weight: Tensor | float) -> Tensor:
    """weight * loss(label) + (1 - weight) * loss(the partner's label), (B,), of mixed images' logits (B, K).

    `losses(logits, labels)` gives per-sample losses (B,); of cross-entropy it is that of the mixed one-hot targets.
    """
    return weight * losses(logits, labels) + (1 - weight) * losses(logits, labels[partner])


def uniform_prior_penalty(logits: Tensor) -> Tensor:
    """KL(uniform || mean softmax) in nats, >= 0, 0 iff the batch's mean prediction is uniform; logits (B, K).

    It assumes balanced classes. Source: Tanaka et al., "Joint optimization", CVPR 2018, with a uniform prior.
    """
    classes = logits.shape[1]
    mean = logits.softmax(dim=1).mean(dim=0).clamp(min=1e-30)
    return -(mean * classes).log().mean()
