"""The hypotheses of docs/claims/flsc-plan.md and what decides them: paired t-tests, corrected by Holm in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import flsc_setup as setup

from bench.stats.summary import holm_rejections, p_below_zero

Values = Mapping[tuple[str, str], float]
"""Of one setting and seed: (row, outcome) -> value."""

SCENES = ("small-asym", "small-hard", "small-cued", "pool-hard", "pool-cued", "pool-comp", "pool-comp-cued")
"""Settings with an object in a scene."""
NULLS = ("small-fashion-sym", "small-fashion-asym", "pool-worse", "pool-sym", "pool-asym")
"""Settings without one: empty backgrounds, and centred objects."""
TRAINED = ("train-small-hard", "train-pool-hard", "train-pool-cued", "train-pool-comp-cued")
MARGIN = 0.01
"""Harm up to this is none, of AUROC."""


@dataclass(frozen=True)
class Hypothesis:
    """`first` is more than `second` in an outcome (less where `less`), by more than `beyond`, in each of its settings.

    It holds in a setting whose one-sided p-value Holm's correction over its settings rejects at 0.05; as a whole where
    it holds in `needed` of them.
    """

    name: str
    says: str
    outcome: str
    first: str
    second: str
    settings: tuple[str, ...]
    needed: int
    less: bool = False
    beyond: float = 0.0

    def differences(self, found: Sequence[Values]) -> list[float]:
        """Paired differences over the seeds of one setting, those that have both values."""
        pairs = [(each.get((self.first, self.outcome)), each.get((self.second, self.outcome))) for each in found]
        known = [(one, two) for one, two in pairs if one is not None and two is not None]
        return [one - two for one, two in known if math.isfinite(one) and math.isfinite(two)]

    def p_value(self, differences: Sequence[float]) -> float:
        """One-sided: 1 where there are fewer than two differences."""
        if len(differences) < 2:
            return 1.0
        return p_below_zero([value if self.less else self.beyond - value for value in differences])


HYPOTHESES = (
    Hypothesis("1a", "IR ranks wrong labels better than the loss", "AUROC", "last: IR", "last: loss", SCENES, 5),
    Hypothesis("1b", "better than with another image's attention", "AUROC", "last: IR", "last: placebo", SCENES, 5),
    Hypothesis(
        "1c",
        "at equal size, fewer wrong labels are selected",
        "wrong at equal size",
        "last: IR",
        "last: loss",
        SCENES,
        5,
        less=True,
    ),
    Hypothesis(
        "1d",
        "at its own threshold, fewer wrong labels are among the selected",
        "wrong among selected",
        "last: IR",
        "last: loss",
        SCENES,
        5,
        less=True,
    ),
    Hypothesis(
        "2",
        f"no harm beyond {MARGIN:g} where no gain is expected",
        "AUROC",
        "last: IR",
        "last: loss",
        NULLS,
        len(NULLS),
        beyond=-MARGIN,
    ),
    Hypothesis("3a", "stage 1 trains better than DivideMix", "accuracy", "stage 1", "dividemix", TRAINED, 3),
    Hypothesis("3b", "better than its placebo", "accuracy", "stage 1", "stage 1, placebo", TRAINED, 3),
    Hypothesis("3c", "its last split ranks better", "AUROC", "stage 1", "dividemix", TRAINED, 3),
    Hypothesis("4a", "erasing adds accuracy to stage 1", "accuracy", "both", "stage 1", TRAINED, 3),
    Hypothesis("4b", "more than erasing elsewhere", "accuracy", "both", "both, elsewhere", TRAINED, 3),
    Hypothesis("4c", "more than its area term alone", "accuracy", "both", "both, area", TRAINED, 3),
    Hypothesis(
        "5a",
        "averaged weights rank wrong labels better",
        "AUROC",
        "ema: loss",
        "last: loss",
        SCENES + NULLS,
        9,
    ),
    Hypothesis("5b", "judging by them trains better", "accuracy", "dividemix, ema", "dividemix", TRAINED, 3),
)


def decision_table(found: Mapping[str, Sequence[Values]]) -> str:
    """Every hypothesis with the difference in each setting that was measured, and whether it holds."""
    rows = []
    for each in HYPOTHESES:
        measured = {name: each.differences(found[name]) for name in each.settings if name in found}
        # what wasn't measured counts in the correction, so that a part decides no more easily than the whole
        p_values = [each.p_value(measured.get(name, [])) for name in each.settings]
        holds = dict(zip(each.settings, holm_rejections(p_values), strict=True))
        for name, differences in measured.items():
            if differences:
                size = setup.interval(differences, signed=True)
                rows.append([each.name, f"{name} ({len(differences)})", size, "yes" if holds[name] else "no"])
        verdict = "holds" if sum(holds.values()) >= each.needed else "not shown"
        count = f"{sum(holds.values())} of {len(each.settings)}, {each.needed} needed"
        rows.append([f"**{each.name}**", f"**{each.says}**", count, f"**{verdict}**"])
    return setup.markdown(("", "setting (seeds)", "difference", "holds"), rows)
