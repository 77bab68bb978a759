"""A network as methods see it: images in, float32 logits out, with the passes counted."""

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
    """Counts images that went forward and backward; one unit is one forward pass of one image, a backward is two."""

    forward: float = 0
    backward: float = 0

    @property
    def units(self) -> float:
        """Forward and backward passes in units."""
        return self.forward + 2 * self.backward


PooledFeatures = Callable[[Any, Tensor], Tensor]
"""What the classifier of a module is given, (B, D), of images (B, C, H, W)."""


def pooled_features(module: Any, images: Tensor) -> Tensor:
    """What a module's classifier is given, (B, D), of images (B, C, H, W)."""
    features: Tensor = module.forward_head(module.forward_features(images), pre_logits=True)
    return features


class TrainedNetwork:
    """A module in its precision: images (B, C, H, W) -> logits (B, K) float32.

    Only what stands before the classifier is autocast: bfloat16 logits near 16 would step by 0.06 to 0.125, which
    makes ties in every ranking by loss.
    """

    def __init__(self, module: Any, precision: Precision, meter: PassCounter) -> None:
        self.precision = precision
        self.meter = meter
        self.pooled: PooledFeatures = pooled_features
        self.hold(module)

    def hold(self, module: Any) -> None:
        """Be the network of `module`, and of no other any more."""
        self.module = module
        self.classifier: nn.Module = module.get_classifier()
        self.weights: list[nn.Parameter] = list(module.parameters())
        self._learned = [weight for weight in self.weights if weight.requires_grad]

    def __call__(self, images: Tensor) -> Tensor:
        return self.with_features(images)[0]

    def with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and what the classifier was given, (B, D), both float32, of one pass."""
        with self.precision.autocast():
            given = self.pooled(self.module, images)
        features: Tensor = given.float()
        logits: Tensor = self.classifier(features)
        self.meter.forward += len(images)
        if logits.requires_grad:
            self.meter.backward += len(images)
        return logits, features

    def through(self, output: Callable[..., Tensor], images: Tensor, units: float = 3.0) -> Tensor:
        """`output(module, images)` in eval mode, so that no batch statistic moves; gradients flow. float32.

        `units`: what it costs for each image, in forward passes, its backward pass included.
        """
        was_training = self.module.training
        self.module.eval()
        try:
            with self.precision.autocast():
                result = output(self.module, images)
        finally:
            self.module.train(was_training)
        self.meter.forward += units * len(images)
        return result.float()

    def learn(self, learns: bool) -> None:
        """Training mode with gradients, or eval mode without, so that no loss can move a network that isn't learning.

        Weights that came frozen stay so.
        """
        self.module.train(learns)
        for weight in self._learned:
            weight.requires_grad_(learns)

    def parameters(self) -> Iterator[nn.Parameter]:
        """The module's parameters, for a penalty on all of them."""
        return iter(self.weights)


class AveragedNetwork(TrainedNetwork):
    """An exponential moving average of a network's weights and batch statistics: a <- decay a + (1 - decay) w."""

    def __init__(self, of: TrainedNetwork, decay: float | Callable[[int], float]) -> None:
        if not callable(decay) and not 0 <= decay < 1:
            raise ValueError(f"decay={decay} must be in [0, 1)")
        self.of = of
        self.decay = decay
        self.updates = 0
        super().__init__(copy.deepcopy(of.module), of.precision, of.meter)

    def hold(self, module: Any) -> None:
        """Average into the weights of `module`, which has the shapes of the network's own."""
        super().hold(module.requires_grad_(False).eval())
        mine, theirs = module.state_dict(), self.of.module.state_dict()
        moving = [name for name, value in mine.items() if value.is_floating_point()]
        self._moving = [mine[name] for name in moving]
        self._sources = [theirs[name] for name in moving]
        self._copied = [(mine[name], theirs[name]) for name in mine if name not in moving]

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again at the network's present weights."""
        self.module.load_state_dict(self.of.module.state_dict())
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take one step towards the network; counters are copied."""
        decay = self.decay(self.updates) if callable(self.decay) else self.decay
        torch._foreach_lerp_(self._moving, self._sources, 1 - decay)
        for mine, theirs in self._copied:
            mine.copy_(theirs)
        self.updates += 1

    def state(self) -> dict[str, Any]:
        """Weights, statistics and the count of updates."""
        return {"weights": self.module.state_dict(), "updates": self.updates}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.module.load_state_dict(state["weights"])
        self.updates = state["updates"]
