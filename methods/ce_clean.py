"""Privileged control: cross-entropy on the true labels."""

from __future__ import annotations

from torch import Tensor, stack

from methods.ce import CrossEntropy
from methods.interface import Step


class CrossEntropyClean(CrossEntropy):
    """Privileged control: L = -ln p_c with c the true label of every sample, wrongly labelled ones included.

    The ceiling of label correction. Source: none, a control of this benchmark.
    """

    name = "ce-clean"
    summary = "privileged control: cross-entropy on the true labels"
    source = "control of this benchmark"
    control = True
    needs = ("clean_labels",)

    def loss(self, step: Step) -> Tensor:
        """The batch mean of -ln p_c."""
        clean = self.task.privileges["clean_labels"][step.index]
        return stack([self.losses(step.logits(network=number), clean).mean() for number in step.learn]).sum()
