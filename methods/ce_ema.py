"""Control: the averaged weights of cross-entropy training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, log_softmax

from methods.ce import CrossEntropy
from methods.interface import Network, Parameter, Search, Task

REFERENCE_STEPS = 46_920
"""CIFAR-10 under the robust-loss protocol: 120 epochs of 391 batches."""


class CrossEntropyAverage(CrossEntropy):
    """Control: trained as `ce`, L = -ln p_y; predicts with an exponential moving average of the weights.

    Per step, a <- d a + (1 - d) w with d = decay^(46,920 / steps of this run): `decay` is for 46,920 steps
    (CIFAR-10, 120 epochs of 391 batches), and a step weighs the same after the same share of any training. It
    shows what a method with an averaged teacher wins by averaging alone. Source: none, a control of this
    benchmark. ASSUMPTION: decay 0.999, of the size that mean teachers use (ELR+ 0.997).
    """

    name = "ce-ema"
    summary = "control: cross-entropy, predicting with averaged weights"
    source = "control of this benchmark"
    control = True
    parameters = (
        Parameter(
            "decay",
            0.999,
            "decay per step of a training of 46,920 steps",
            "ASSUMPTION",
            low=0.0,
            high=1.0,
            open_high=True,
            search=Search("uniform", 0.99, 0.9999),
        ),
    )
    decay: float

    def start(self, task: Task) -> None:
        """Scale the decay to this run's steps and begin the average at the first weights."""
        super().start(task)
        steps = task.epochs * task.steps_per_epoch
        self.effective = {"decay": self.decay ** (REFERENCE_STEPS / steps)}
        self.averaged = task.average(0, self.effective["decay"])

    def predict(self, networks: Sequence[Network], images: Tensor) -> Tensor:
        """Log-probabilities (B, K) of the averaged network."""
        return log_softmax(self.averaged(images), dim=1)
