"""Control: an ensemble of cross-entropy networks."""

from __future__ import annotations

from methods.ce import CrossEntropy
from methods.interface import Parameter


class CrossEntropyEnsemble(CrossEntropy):
    """Control: several networks trained by cross-entropy side by side, which differ by their first weights
    only.

    L = sum over the networks of -ln p_y; the prediction is the mean softmax. It costs as many times plain
    cross-entropy, and shows what a method with two networks wins by being an ensemble. Source: none, a control
    of this benchmark. ASSUMPTION: two members, as the methods that it is a control for have.
    """

    name = "ce-ensemble"
    summary = "control: the mean prediction of several cross-entropy networks"
    source = "control of this benchmark"
    control = True
    parameters = (Parameter("members", 2, "networks", "ASSUMPTION: as many as co-teaching has", low=2, high=32),)
    units = 0.0
    units_per = {"members": 3.0}
    members: int

    @property
    def networks(self) -> int:  # type: ignore[override]
        """As many as members."""
        return self.members
