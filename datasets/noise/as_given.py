"""Labels that somebody gave, with nobody knowing how many of them are wrong."""

from __future__ import annotations

from datasets.noise.interface import Noise, NoiseFacts

UNKNOWN = "labels as given, noise unknown"


class AsGiven(Noise):
    """The labels as they stand, of data whose noise is real and unknown: no rate, no matrix, no clean labels.

    Unknown noise is not no noise: `none` is for labels that are known to be clean. Methods that need the noise rate or
    the transition matrix run where `--noise-rate` or `--transition-matrix` states it, and nothing is measured that
    would need to know which labels are wrong.
    """

    name = "as-given"
    aliases = ("real", "unknown")
    summary = "labels as they stand, an unknown share of them wrong"
    source = "the data set's own"
    takes_rate = False
    is_known = False

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        self.checked_rate(rate)

    def convention(self, facts: NoiseFacts) -> str:
        return UNKNOWN
