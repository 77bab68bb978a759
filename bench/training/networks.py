"""Networks as methods see them: images in, float32 logits out, with the passes counted.

Read `TrainedNetwork.with_features` first: it is every forward pass of a run. `AveragedNetwork` is its moving average.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.training.precision import Precision


@dataclass
class PassCounter:
    """Counts of images that went forward and backward; in units, a forward pass is one and a backward pass two."""

    forward: float = 0
    backward: float = 0

    @property
    def units(self) -> float:
        """Forward and backward passes in units."""
        return self.forward + 2 * self.backward


PooledFeatures = Callable[[Any, Tensor], Tensor]
"""(module, images (B, C, H, W)) -> the input of the module's classifier (B, D)."""


def pooled_features(module: Any, images: Tensor) -> Tensor:
    """The input of a module's classifier (B, D), of images (B, C, H, W)."""
    features: Tensor = module.forward_head(module.forward_features(images), pre_logits=True)
    return features


class TrainedNetwork:
    """A module in the run's precision: images (B, C, H, W) -> logits (B, K) float32.

    Only the layers before the classifier are autocast: bfloat16 logits near 16 would step by 0.06 to 0.125, which makes
    ties in every ranking by loss.
    """

    def __init__(self, module: Any, precision: Precision, pass_counter: PassCounter) -> None:
        self.precision = precision
        self.pass_counter = pass_counter
        self.pooled: PooledFeatures = pooled_features
        self.set_module(module)

    def set_module(self, module: Any) -> None:
        """Replace the network's module."""
        self.module = module
        self.classifier: nn.Module = module.get_classifier()
        self.weights: list[nn.Parameter] = list(module.parameters())
        self._trainable = [weight for weight in self.weights if weight.requires_grad]

    def __call__(self, images: Tensor) -> Tensor:
        return self.with_features(images)[0]

    def with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and the classifier's input (B, D), both float32, of one pass."""
        with self.precision.autocast():
            pooled = self.pooled(self.module, images)
        features: Tensor = pooled.float()
        logits: Tensor = self.classifier(features)
        self.pass_counter.forward += len(images)
        if logits.requires_grad:
            self.pass_counter.backward += len(images)
        return logits, features

    def through(self, output: Callable[..., Tensor], images: Tensor, units: float = 3.0) -> Tensor:
        """`output(module, images)` as float32, in eval mode, so that no batch statistic moves; gradients flow.

        `units`: its cost for each image, in forward passes, its backward pass included.
        """
        was_training = self.module.training
        self.module.eval()
        try:
            with self.precision.autocast():
                result = output(self.module, images)
        finally:
            self.module.train(was_training)
        self.pass_counter.forward += units * len(images)
        return result.float()

    def set_learning(self, learning: bool) -> None:
        """Switch to training mode with gradients, or to eval mode without: no loss can move a network in eval mode.

        Weights that the module came with frozen stay so.
        """
        self.module.train(learning)
        for weight in self._trainable:
            weight.requires_grad_(learning)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The module's parameters, for a penalty on all of them."""
        return iter(self.weights)


class AveragedNetwork(TrainedNetwork):
    """An exponential moving average of a network's weights and batch statistics: a <- decay a + (1 - decay) w."""

    def __init__(self, source: TrainedNetwork, decay: float | Callable[[int], float]) -> None:
        if not callable(decay) and not 0 <= decay < 1:
            raise ValueError(f"decay={decay} must be in [0, 1)")
        self.source = source
        self.decay = decay
        self.updates = 0
        super().__init__(copy.deepcopy(source.module), source.precision, source.pass_counter)

    def set_module(self, module: Any) -> None:
        """Replace the module that holds the average; its shapes are those of the source's module."""
        super().set_module(module.requires_grad_(False).eval())
        averages, sources = module.state_dict(), self.source.module.state_dict()
        floating = [name for name, value in averages.items() if value.is_floating_point()]
        self._averages = [averages[name] for name in floating]
        self._sources = [sources[name] for name in floating]
        self._counters = [(averages[name], sources[name]) for name in averages if name not in floating]

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again at the source's present weights."""
        self.module.load_state_dict(self.source.module.state_dict())
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the source; counters (of batches seen, in batch normalisation) are copied."""
        decay = self.decay(self.updates) if callable(self.decay) else self.decay
        torch._foreach_lerp_(self._averages, self._sources, 1 - decay)
        for counter, source in self._counters:
            counter.copy_(source)
        self.updates += 1

    def state(self) -> dict[str, Any]:
        """Weights, statistics and the count of updates."""
        return {"weights": self.module.state_dict(), "updates": self.updates}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.module.load_state_dict(state["weights"])
        self.updates = state["updates"]
