"""Self-ensemble label correction, then mixup on the corrected labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from methods.interface import Parameter, Pass, Phase, Search, Step
from methods.losses import cross_entropy
from methods.mixup import Mixup
from methods.pieces.mixing import blended, mix, partners
from methods.selc import CIFAR_RECIPES, SelfEnsembleLabelCorrection

CORRECT, RETRAIN = "correct", "retrain"


class SelfEnsembleLabelCorrectionPlus(SelfEnsembleLabelCorrection):
    """Self-ensemble label correction, then a fresh network trained by mixup on the corrected labels.

    First phase: `selc`. Second phase, as long as the first, with optimiser and schedule begun again: the network gets
    its first weights, and learns the hard labels c_i = argmax q_i, fixed, by mixup: L = l CE(x', c) + (1 - l) CE(x',
    c_s), x' = l x + (1 - l) x_s, l ~ Beta(alpha, alpha) once a batch. Twice the training of `selc` (2 x 3 units a
    sample and epoch, a forward pass being 1), which the prediction is of the second half of.

    alpha is 0.9 because the official code uses one option for SELC's momentum and for mixup; here they are two.
    Deviation from the code: it forwards each unmixed batch as well and throws the result away, which costs a unit and
    moves the statistics of batch normalisation.

    Source: Lu and He, IJCAI 2022, arXiv 2205.01156, and its official code (MacLLL/SELC). Selection, clean probability
    and targets are those of `selc`, as the first phase left them.
    """

    name = "selc+"
    summary = "selc, then mixup from scratch on the corrected labels"
    source = "Lu and He, IJCAI 2022, arXiv 2205.01156"
    parameters = (
        *SelfEnsembleLabelCorrection.parameters,
        Parameter(
            "alpha",
            0.9,
            "both parameters of the Beta distribution of the blend",
            "official code, which uses the targets' momentum for it",
            low=0.01,
            high=1000.0,
            search=Search("log-uniform", 0.1, 8.0),
        ),
    )
    recipes = CIFAR_RECIPES
    units = 6.0
    alpha: float

    def phases(self) -> tuple[Phase, ...]:
        """Correction, then training from the first weights again, each as long as the run."""
        return (Phase(CORRECT, self.task.epochs), Phase(RETRAIN, self.task.epochs, initialise=(0,)))

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """Those of `selc`, then those of `mixup`."""
        if phase.name == RETRAIN:
            return Mixup(alpha=self.alpha).passes(phase, epoch)
        return super().passes(phase, epoch)

    def loss(self, step: Step) -> Tensor:
        """That of `selc`, then mixup on argmax q."""
        if step.phase == CORRECT:
            return super().loss(step)
        weight, corrected = step.draws["weight"], self.targets[step.index].argmax(dim=1)
        partner = partners(step.draws["order"], len(corrected))
        logits = step.network(0)(mix(step.streams["all"].views[0], partner, weight))
        return blended(cross_entropy, logits, corrected, partner, weight).mean()
