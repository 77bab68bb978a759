"""VolMinNet: forward correction with a transition matrix that is learned along."""

from __future__ import annotations

import torch
from torch import Tensor

from methods._published import cifar_training, recipe_row
from methods.interface import Method, Parameter, Search, Step, Task
from methods.losses import forward_corrected

_CODE = "VolMinNet, official code (xuefeng-li1/Provably-end-to-end-label-noise-learning-without-anchor-points)"
_SMALLEST, _LARGEST = 1e-30, 1 - 1e-4

REFERENCE_STEPS = 11_686
"""Steps at T's full learning rate: 30 of 80 epochs at 1, 30 at 1/10, 20 at 1/100, of 352 batches (CIFAR-10)."""

_CIFAR = cifar_training("resnet18-default", 80, 0.01, 1e-4, "step:30,60@0.1")


def transition_of(weights: Tensor) -> Tensor:
    """T (K, K) of any real weights (K, K): 1 on the diagonal, sigmoid(w_ij) beside it, rows divided by their sums.

    So rows are distributions in which the diagonal is the largest entry; the weights' diagonal isn't used. The sigmoid
    is clamped to [1e-30, 1 - 1e-4], so that no logarithm of it is infinite and equal rows don't make T singular.
    Source: Li et al., ICML 2021 (arXiv 2102.02400), official code, which doesn't clamp.
    """
    identity = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
    rows = torch.where(identity > 0, identity, weights.sigmoid().clamp(_SMALLEST, _LARGEST))
    return rows / rows.sum(dim=1, keepdim=True)


class VolMinNet(Method):
    """VolMinNet: L = -ln sum_i p_i T_iy + lam ln |det T|, T learned together with the network.

    T has 1 on the diagonal and sigmoid(w_ij) beside it, rows divided by their sums; w starts at -init everywhere, so T
    starts at symmetric noise. Of the matrices that explain the noisy labels, the one of the smallest volume is sought,
    for which no anchor points are needed. T is stepped by SGD of its own, without weight decay. The prediction is p,
    that of the true class.

    init is 2, and 4.5 for 100 classes, which both put 0.48 on the diagonal. ASSUMPTION: T's learning rate is constant
    and scaled by 11,686 / steps, so that T can go as far in any training as under the official code's rate, which drops
    with the network's. It is stepped by SGD on every data set, where the code takes Adam on MNIST and CIFAR-100. The
    sigmoid is clamped (`transition_of`). The code chooses the epoch by its noisy validation loss, which the harness
    offers to every method alike. Costs what `ce` costs.

    Source: Li et al., ICML 2021, arXiv 2102.02400, and its official code. MNIST's network (LeNet) isn't ours, so its
    recipe holds no training settings; the CIFAR networks have a stem without padding there.
    """

    name = "volminnet"
    summary = "forward correction with a transition matrix that is learned along, of the smallest volume"
    source = "Li et al., ICML 2021, arXiv 2102.02400"
    parameters = (
        Parameter(
            "lam",
            1e-4,
            "weight of the volume ln |det T|",
            _CODE,
            low=0.0,
            high=1.0,
            search=Search("log-uniform", 1e-6, 1e-2),
        ),
        Parameter(
            "init",
            2.0,
            "minus the first weights of T: the larger, the nearer T starts to the identity",
            f"{_CODE}: CIFAR-10",
            low=-10.0,
            high=60.0,
            search=Search("uniform", 1.0, 6.0),
        ),
        Parameter(
            "transition_rate",
            0.01,
            "learning rate of T in a training of 11,686 steps",
            _CODE,
            low=0.0,
            search=Search("log-uniform", 1e-3, 1.0),
        ),
    )
    recipes = recipe_row(
        _CODE,
        "unknown",
        {
            "mnist": {"lam": 1e-4, "init": 2.0, "transition_rate": 0.01},
            "cifar10": {"lam": 1e-4, "init": 2.0, "transition_rate": 0.01},
            "cifar100": {"lam": 1e-4, "init": 4.5, "transition_rate": 0.01},
        },
        trainings={"cifar10": _CIFAR, "cifar100": _CIFAR | {"model": "resnet34-default"}},
    )
    lam: float
    init: float
    transition_rate: float

    def start(self, task: Task) -> None:
        """Weights (K, K) of T, all -init, and their learning rate scaled to this run's steps."""
        super().start(task)
        rate = self.transition_rate * REFERENCE_STEPS / (task.epochs * task.steps_per_epoch)
        self.effective = {"transition_rate": rate}
        first = torch.full((task.classes, task.classes), -self.init)
        self.weights = task.parameter("transition", first, rate, momentum=0.9)

    def loss(self, step: Step) -> Tensor:
        """The mean forward-corrected loss plus the volume."""
        transition = transition_of(self.weights)
        volume: Tensor = torch.linalg.slogdet(transition).logabsdet
        return forward_corrected(step.logits(), step.labels, transition).mean() + self.lam * volume
