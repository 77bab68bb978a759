"""Privileged control: cross-entropy on the rightly labelled part."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from methods.ce import CrossEntropy
from methods.interface import Pass, Phase, Setting, Stream, Task


class CrossEntropyOracle(CrossEntropy):
    """Privileged control: L = -ln p_y on the samples whose given label is the true one; the others aren't used.

    The ceiling of sample selection. It takes as many epochs as the others, each of fewer steps. Source: none, a
    control of this benchmark.
    """

    name = "ce-oracle"
    summary = "privileged control: cross-entropy on the rightly labelled samples only"
    source = "control of this benchmark"
    control = True
    needs = ("clean_labels",)
    units = 2.0
    right: Tensor
    index: Tensor

    def unsuitable(self, setting: Setting) -> str | None:
        """Nothing is left where every label is wrong."""
        if setting.rate == 1 and setting.noise in ("sym", "pairflip"):
            return "every label is wrong, so there is no rightly labelled sample to train on"
        return None

    def start(self, task: Task) -> None:
        """Find the rightly labelled samples; ValueError where there are fewer than two."""
        super().start(task)
        self.right = task.labels == task.privileges["clean_labels"]
        self.index = self.right.nonzero().squeeze(1)
        if len(self.index) < 2:
            raise ValueError(
                f"ce-oracle has no samples to train on: {len(self.index)} rightly labelled, 2 needed; lower --rate"
            )

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over the rightly labelled samples."""
        return (Pass(streams={"all": Stream(index=self.index)}),)

    def selected(self) -> Tensor | None:
        """The rightly labelled samples (samples,), by definition."""
        return self.right
