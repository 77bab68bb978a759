"""VolMinNet: forward correction with a transition matrix that is learned along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from methods._published import cifar_training, recipe_row
from methods.interface import Method, Parameter, Search, Step, Task, Value
from methods.losses import forward_corrected

_CODE = "VolMinNet, official code (xuefeng-li1/Provably-end-to-end-label-noise-learning-without-anchor-points)"
_SMALLEST, _LARGEST = 1e-30, 1 - 1e-4

REFERENCE_STEPS = 28_160
"""Steps of the published trainings on CIFAR: 80 epochs of 352 batches."""

_CIFAR = cifar_training("resnet18-default", 80, 0.01, 1e-4, "step:30,60@0.1")
_RATES: Mapping[str, Value] = {"lam": 1e-4, "transition_rate": 0.01}
OPTIMIZERS = ("adam", "sgd")


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
    for which no anchor points are needed. T is stepped by an optimiser of its own, without weight decay: Adam on MNIST
    and CIFAR-100, SGD with momentum 0.9 on CIFAR-10. With 100 classes a weight of T has a gradient in one sample of a
    hundred, and SGD would leave T where it starts. The prediction is p, that of the true class.

    init is 2, and 4.5 for 100 classes, which both put 0.48 on the diagonal. T's rate follows the networks' schedule, as
    the code's does (both drop at epochs 30 and 60). ASSUMPTION: how the rate scales in a training of fewer than 28,160
    steps. SGD's is divided by the share of these steps, so that T can go as far. Adam's step is as long as its rate,
    whatever the gradient: it goes anywhere within some hundred steps, and in a short training that is before the
    network has learnt what T then takes for noise. So it is multiplied by the cube root of that share (digits: 0.0028
    in 600 steps), found on noisy hold-outs of digits under symmetric noise 0.4: there 0.01 is worse than 0.003 and
    0.001, which are alike, and 0.003 comes nearer to the true T. The sigmoid is clamped (`transition_of`). The code
    chooses the epoch by its noisy validation loss, which the harness offers to every method alike. Costs what `ce`
    costs.

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
            "first learning rate of T in a training of 28,160 steps or more; 0: T stays as it starts",
            _CODE,
            low=0.0,
            high=100.0,
            search=Search("log-uniform", 1e-4, 1.0),
        ),
        Parameter(
            "transition_optimizer",
            "adam",
            "optimiser of T",
            f"{_CODE}: MNIST and CIFAR-100",
            choices=OPTIMIZERS,
            search=Search("choice", choices=OPTIMIZERS),
        ),
    )
    version = 2
    recipes = recipe_row(
        _CODE,
        "unknown",
        {
            "mnist": {**_RATES, "init": 2.0, "transition_optimizer": "adam"},
            "cifar10": {**_RATES, "init": 2.0, "transition_optimizer": "sgd"},
            "cifar100": {**_RATES, "init": 4.5, "transition_optimizer": "adam"},
        },
        trainings={"cifar10": _CIFAR, "cifar100": _CIFAR | {"model": "resnet34-default"}},
        deviations={"mnist": "its LeNet isn't among our models"}
        | dict.fromkeys(("cifar10", "cifar100"), "its network's first convolution has no padding"),
    )
    lam: float
    init: float
    transition_rate: float
    transition_optimizer: Literal["adam", "sgd"]

    def start(self, task: Task) -> None:
        """Weights (K, K) of T, all -init, and their learning rate scaled to this run's steps."""
        super().start(task)
        share = min(1.0, task.epochs * task.steps_per_epoch / REFERENCE_STEPS)
        rate = self.transition_rate * (share ** (1 / 3) if self.transition_optimizer == "adam" else 1 / share)
        self.effective = {"transition_rate": rate}
        first = torch.full((task.classes, task.classes), -self.init)
        self.weights = task.parameter("transition", first, rate, 0.9, self.transition_optimizer, scheduled=True)

    def loss(self, step: Step) -> Tensor:
        """The mean forward-corrected loss plus the volume."""
        transition = transition_of(self.weights)
        volume: Tensor = torch.linalg.slogdet(transition).logabsdet
        return forward_corrected(step.logits(), step.labels, transition).mean() + self.lam * volume
