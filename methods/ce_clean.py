"""Privileged control: cross-entropy on the true labels."""

from __future__ import annotations

from torch import Tensor, stack

from methods.ce import CrossEntropy
from methods.interface import Step, Task


class CrossEntropyClean(CrossEntropy):
    """Privileged control: L = -ln p_c with c the true label of every sample, wrongly labelled ones included.

    The ceiling of label correction. Images of no class (true label -1, under open-set noise) have no part in it: the
    mean is over the others of a batch. Source: none, a control of this benchmark.
    """

    name = "ce-clean"
    summary = "privileged control: cross-entropy on the true labels"
    source = "control of this benchmark"
    control = True
    needs = ("clean_labels",)
    outsiders = False

    def start(self, task: Task) -> None:
        """Look whether there are images of no class."""
        super().start(task)
        self.outsiders = bool((task.privileges["clean_labels"] < 0).any())

    def loss(self, step: Step) -> Tensor:
        """The batch mean of -ln p_c."""
        clean = self.task.privileges["clean_labels"][step.index]
        if not self.outsiders:
            return stack([self.losses(step.logits(network=number), clean).mean() for number in step.learn]).sum()
        inside = clean >= 0
        share = inside / inside.sum().clamp(min=1)
        losses = [self.losses(step.logits(network=number), clean.clamp(min=0)) for number in step.learn]
        return stack([(each * share).sum() for each in losses]).sum()
