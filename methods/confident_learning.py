"""Confident learning: cross-validated predictions, pruning, and training anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from methods._published import published
from methods.interface import Method, Parameter, Pass, Phase, Search, Setting, Step, Stream, Task
from methods.losses import cross_entropy
from methods.pieces.confident import FILTERS, class_weights, kept_labels, self_confidence, stratified_folds

CODE = "confident learning, official code (cgnorthcutt/confidentlearning-reproduce 361b459)"


class ConfidentLearning(Method):
    """Confident learning: find wrong labels by cross-validation, prune them, train anew on the rest.

    1. For each of `folds` folds, train from the first weights on the others by cross-entropy and predict the fold:
    P (N, K). 2. cleanlab: t_j is the mean of P_ij over samples labelled j; each sample
    counts for the class j of highest P_ij among those with P_ij >= t_j; the counts C[given, j], brought to the
    given labels' counts, estimate the joint of given and true labels. 3. `filter_by` prunes; prune_by_noise_rate takes,
    for each pair (a, b), the n C[a, b] samples labelled a with the largest P_b - P_a. No class is emptied; with one
    given class nothing is pruned. 4. Train from the first weights on what is left, with each class weighted by n_k /
    (samples kept) if `class_weights`.

    clean_probability: P_iy, cleanlab's label quality score (self-confidence); None until all folds are done.

    Deviations from the official code: it predicts each fold with the epoch of the best *test* accuracy; here that is
    the best accuracy on the noisy hold-out, or the last epoch where nothing is held out. Its folds are drawn at
    random; here every folds-th sample of a given class makes one (ASSUMPTION: no order in the data is periodic). The
    paper weights classes by the estimated joint, the code by counts, as here.

    Not to be set beside the paper's table 2, nor is its `--protocol paper`: what the code retrains for that table is
    Co-Teaching, told half the noise rate, at the epoch of the best test accuracy. Retraining by cross-entropy with
    class weights, as here, is what its cross-validation script does with a mask, and cleanlab; it needs no rate.

    Cost: folds + 1 trainings of the run's epochs each: (folds - 1) + (share kept) times cross-entropy.

    Source: Northcutt et al., JAIR 2021, arXiv 1911.00068, its official code, and cleanlab's.
    """

    name = "confident-learning"
    aliases = ("cleanlab",)
    summary = "prunes labels that cross-validated predictions contradict (cleanlab), then trains anew"
    source = "Northcutt et al., JAIR 2021, arXiv 1911.00068"
    parameters = (
        Parameter(
            "folds",
            4,
            "folds of the cross-validation",
            "official code, CIFAR-10; cleanlab's CleanLearning has 5",
            low=2,
            high=20,
            search=Search("integer", 2, 8),
        ),
        Parameter(
            "filter_by",
            "prune_by_noise_rate",
            "how cleanlab chooses what is pruned",
            "cleanlab's default; the paper's PBNR",
            choices=FILTERS,
            search=Search("choice", choices=FILTERS),
        ),
        Parameter("class_weights", True, "weight classes by what they lost to pruning", "paper and official code"),
    )
    recipes = (
        published(
            "cifar10",
            {"folds": 4, "filter_by": "prune_by_noise_rate", "class_weights": True},
            CODE,
            training={"model": "timm:resnet50", "epochs": 350, "batch_size": 64, "augmentation": "crop4+flip"}
            | {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "gradient_clip": None}
            | {"learning_rate": 0.1, "weight_decay": 1e-4, "schedule": "step:150,250@0.1"},
            deviation="table 2 of the paper retrains by Co-teaching on what is left and takes the best epoch on the "
            "test set, here it is cross-entropy with class weights, so it must not stand beside that table",
        ),
    )
    uses_held_labels = True
    units = -0.6
    units_per = {"folds": 3.0}
    folds: int
    filter_by: str
    class_weights: bool

    def unsuitable(self, setting: Setting) -> str | None:
        """Too few samples for the folds."""
        if setting.samples >= 2 * self.folds:
            return None
        return f"{self.folds} folds need at least {2 * self.folds} samples: type --train-size {2 * self.folds} or more"

    def start(self, task: Task) -> None:
        """Folds by given label; nothing is pruned yet."""
        super().start(task)
        self.fold = stratified_folds(task.labels, self.folds)
        uniform = torch.full((task.samples, task.classes), 1 / task.classes)
        self.probabilities = task.state("out-of-sample probabilities", uniform)
        self.best = task.state("best held-out accuracy", torch.full((self.folds,), -1.0))
        self.kept = task.state("kept", torch.ones(task.samples, dtype=torch.bool))
        self.weights = task.state("class weights", torch.ones(task.classes))
        self.pruned = task.state("pruned", torch.tensor(False))

    def phases(self) -> tuple[Phase, ...]:
        """One per fold, then training anew, each from the first weights for the run's epochs."""
        folds = [f"fold {number + 1}" for number in range(self.folds)]
        return tuple(Phase(name, self.task.epochs, initialise=(0,)) for name in (*folds, "retrain"))

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """All folds but the phase's own; at last all that was kept."""
        among = self.kept if phase.name == "retrain" else self.fold != self._fold_of(phase)
        return (Pass(streams={"all": Stream(index=among.nonzero().squeeze(1))}),)

    def loss(self, step: Step) -> Tensor:
        """The mean cross-entropy, weighted by class once labels are pruned."""
        weights = self.weights[step.labels]
        return (weights * cross_entropy(step.logits(), step.labels)).sum() / weights.sum()

    @torch.no_grad()
    def end_epoch(self, phase: Phase, epoch: int) -> None:
        """Predict the fold at its best epoch so far; after the last fold's last epoch, prune."""
        if phase.name == "retrain":
            return
        number, last = self._fold_of(phase), epoch == phase.epochs - 1
        held = self.task.held_labels
        if len(held):
            accuracy = (self.task.infer_held().argmax(dim=1) == held).float().mean()
            better = bool(accuracy > self.best[number])
            self.best[number] = torch.maximum(accuracy, self.best[number])
        else:
            better = last
        if better:
            index = (self.fold == number).nonzero().squeeze(1)
            self.probabilities[index] = self.task.infer(index=index).softmax(dim=1)
        if last and number == self.folds - 1:
            labels = self.task.labels
            self.kept.copy_(kept_labels(labels, self.probabilities, self.filter_by))
            if self.class_weights:
                self.weights.copy_(class_weights(labels, self.kept, self.task.classes))
            self.pruned.fill_(True)

    def clean_probability(self) -> Tensor | None:
        """The out-of-sample probability of each given label (samples,); None until all folds are done."""
        return self_confidence(self.task.labels, self.probabilities) if bool(self.pruned) else None

    def selected(self) -> Tensor | None:
        """What wasn't pruned (samples,) bool; None until all folds are done."""
        return self.kept if bool(self.pruned) else None

    def _fold_of(self, phase: Phase) -> int:
        return int(phase.name.removeprefix("fold ")) - 1
