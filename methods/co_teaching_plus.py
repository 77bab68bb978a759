"""Co-teaching+."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from methods._co_teaching import CO_TEACHING_PLUS, GRADUAL, SAME_DEVIATION, SMALLER_CNN_TRAINING, gradual_parameter
from methods._published import recipe_row
from methods.co_teaching import CoTeaching
from methods.interface import Parameter, Search, Setting, Step, Steps, Task
from methods.losses import cross_entropy
from methods.pieces.judges import JUDGE, judged_logits
from methods.pieces.lengths import epochs_of
from methods.pieces.small_loss import mean_over, smallest

_INIT = 20 / 200


class CoTeachingPlus(CoTeaching):
    """Co-teaching+: `co-teaching` among the samples of a batch on which the two networks disagree.

    For the first part of the training, `init`, it is `co-teaching`. From then on only the samples whose argmax differs
    between the networks are ranked, the int((1 - R) n) smallest of these n are exchanged, and the others give no
    gradient. Without any disagreement both networks take the whole batch's cross-entropy, but only in the first steps
    of an epoch, and in the fewer of them the later it is: those in which epoch times step of the epoch, both from 0, is
    under a share of all steps (5,000 of 78,000 in the code, a sixth of the steps of its epochs 20 to 199).

    init: 20 of 200 epochs on CIFAR-10 (the plain setting), 5 on CIFAR-100, 0 on MNIST, 100 on Tiny-ImageNet, scaled.
    tau, R(e) and the prediction are those of `co-teaching`. A sample counts as selected where both networks picked it
    when it was last ranked; one on which they agree keeps its verdict. Costs twice as much as `ce`.

    Deviations from the official code: it hands softmax outputs to a cross-entropy that takes their softmax again
    (`double_softmax` does so too; default off); it drops the sample with index 0; it divides means by the number of
    picks once more; it keeps all n where int((1 - R) n) is 0. ASSUMPTION: at least one sample is kept.

    Source: Yu et al., ICML 2019, arXiv 1901.04215, and its official code. Its MLP for MNIST isn't ours, so that
    recipe holds no training settings.
    """

    name = "co-teaching+"
    version = 2
    aliases = ("coteaching+", "co-teaching-plus")
    summary = "co-teaching where the two networks disagree"
    source = "Yu et al., ICML 2019, arXiv 1901.04215"
    parameters = (
        gradual_parameter(CO_TEACHING_PLUS),
        Parameter(
            "init",
            _INIT,
            "share of the training that is co-teaching first (at least 1 epoch, unless 0)",
            f"{CO_TEACHING_PLUS}: CIFAR-10",
            low=0.0,
            high=1.0,
            open_high=True,
            search=Search("uniform", 0.0, 0.5),
        ),
        Parameter(
            "agreement",
            5000 / 78_000,
            "share of all steps that epoch times step of the epoch stays under while a batch without disagreement is "
            "trained on whole",
            f"{CO_TEACHING_PLUS}: 5,000 of 200 epochs of 390 steps",
            low=0.0,
            high=1.0,
        ),
        Parameter(
            "double_softmax",
            False,
            "cross-entropy of softmax outputs taken as logits once the start is over",
            "ASSUMPTION: off; the official code does it",
        ),
        JUDGE,
    )
    recipes = recipe_row(
        CO_TEACHING_PLUS,
        "unknown",
        {
            "mnist": {"gradual": GRADUAL, "init": 0.0},
            "cifar10": {"gradual": GRADUAL, "init": _INIT},
            "cifar100": {"gradual": GRADUAL, "init": 5 / 200},
        },
        SMALLER_CNN_TRAINING,
        deviations=SAME_DEVIATION | {"mnist": "its MLP isn't among our models"},
    )
    gradual: float
    init: float
    agreement: float
    double_softmax: bool

    def unsuitable(self, setting: Setting) -> str | None:
        """No epoch would be left after the first part."""
        if epochs_of(self.init, setting.epochs) < setting.epochs:
            return None
        return (
            f"co-teaching+ is co-teaching for the first {epochs_of(self.init, setting.epochs)} of {setting.epochs} "
            f"epochs, which leaves none for itself: type --epochs 2 or more, or a smaller init"
        )

    def start(self, task: Task) -> None:
        """As `co-teaching`."""
        super().start(task)
        self.effective = {**self.effective, "init": float(epochs_of(self.init, task.epochs))}

    def _draws(self, epoch: int, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """Beside `keep`, bool (steps,): `apart`, init is over; `whole`, a batch without disagreement counts."""
        apart = torch.full((steps.count,), epoch >= epochs_of(self.init, self.task.epochs))
        return {
            **super()._draws(epoch, steps, generator),
            "apart": apart,
            "whole": apart & (epoch * torch.arange(steps.count) < self.agreement * self.task.epochs * steps.count),
        }

    def loss(self, step: Step) -> Tensor:
        """`co-teaching`'s loss among the samples on which the networks disagree."""
        logits = [step.logits(network=number) for number in (0, 1)]
        apart = step.draws["apart"]
        among = (logits[0].argmax(dim=1) != logits[1].argmax(dim=1)) | ~apart
        judged = judged_logits(self.judges, step, logits)
        first, second = losses = self._cross_entropies(logits, step.labels, apart)
        ranked = losses if judged is logits else self._cross_entropies(judged, step.labels, apart)
        disagreeing = among.sum()
        count = step.draws["keep"].take(disagreeing)
        picks = smallest(ranked[0], count, among), smallest(ranked[1], count, among)
        verdict = torch.where(among.unsqueeze(1), torch.stack(picks, dim=1), self.kept[step.index])
        self._remember(step.index, verdict)
        everything = (disagreeing == 0) & step.draws["whole"]
        return mean_over(first, picks[1] | everything) + mean_over(second, picks[0] | everything)

    def _cross_entropies(self, logits: Sequence[Tensor], labels: Tensor, apart: Tensor) -> list[Tensor]:
        """Each network's losses (B,); where `apart` (0-d bool) holds, of its softmax taken as logits, if asked for."""
        if self.double_softmax:
            logits = [torch.where(apart, values.softmax(dim=1), values) for values in logits]
        return [cross_entropy(values, labels) for values in logits]
