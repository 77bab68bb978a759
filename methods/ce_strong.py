"""Control: cross-entropy on the strong view."""

from __future__ import annotations

from collections.abc import Sequence

from methods.ce import CrossEntropy
from methods.interface import Pass, Phase, Stream


class CrossEntropyStrong(CrossEntropy):
    """Control: L = -ln p_y on the strongly augmented view, where all others see the weak one.

    It shows what a method with strong views wins by augmentation alone. Source: none, a control of this benchmark.
    """

    name = "ce-strong"
    summary = "control: cross-entropy under the strong augmentation"
    source = "control of this benchmark"
    control = True

    def passes(self, phase: Phase, epoch: int) -> Sequence[Pass]:
        """One pass over everything, in the strong view."""
        return (Pass(streams={"all": Stream(views=("strong",))}),)
