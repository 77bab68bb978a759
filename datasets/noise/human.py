"""Labels that people gave: CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022, arXiv 2110.12088).

Real noise, so without a rate or a seed: the data set has each as a column of this name, where its file is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise.interface import Noise, NoiseFacts

PREFIX = "human-"
TASKS = "cifar10, cifar100 and cifar100[coarse]"


class Human(Noise):
    """A column of human labels, called as the noise is; `whose` says whose labels these are."""

    source = "CIFAR-10N and CIFAR-100N, Wei et al., ICLR 2022 (arXiv 2110.12088)"
    takes_rate = False
    whose: ClassVar[str]

    def convention(self, facts: NoiseFacts) -> str:
        return self.whose

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        self.checked_rate(rate)
        if self.name in facts.columns:
            return
        reason = facts.unused_columns.get(self.name)
        if reason is not None:
            raise DataError(f"{facts.data_set} has no labels for --noise {self.name}: {reason}.")
        others = [name for name in (*facts.columns, *facts.unused_columns) if name.startswith(PREFIX)]
        known = f"It has --noise {', '.join(others)}." if others else f"{TASKS} have labels that people gave."
        raise DataError(f"{facts.data_set} has no labels for --noise {self.name}. {known}")

    def columns_read(self, facts: NoiseFacts) -> tuple[str, ...]:
        return (self.name,)

    def labelled(self, columns: Mapping[str, Labels]) -> NDArray[np.int64] | None:
        labels = self.labels(columns)
        return np.flatnonzero(labels >= 0) if (labels < 0).any() else None

    def labels(self, columns: Mapping[str, Labels]) -> Labels:
        if self.name not in columns:
            raise DataError(f"The data set has no labels for --noise {self.name}.")
        return columns[self.name]


class HumanAggregate(Human):
    """Three people labelled each image; their majority, or one of the three at random where all differ."""

    name = "human-aggre"
    aliases = ("human-aggregate", "aggre")
    summary = "CIFAR-10N: what most of three people said, 9 % of it wrong"
    whose = "what most of three people said"


class HumanWorse(Human):
    """Three people labelled each image; a wrong label of theirs where there is one, drawn where there are several."""

    name = "human-worse"
    aliases = ("human-worst", "worse")
    summary = "CIFAR-10N: a wrong one of three people's labels where there is one, 40 % of it wrong"
    whose = "a wrong one of three people's labels where there is one"


class HumanRandom1(Human):
    """The first of three people's labels."""

    name = "human-random1"
    aliases = ("human-rand1", "rand1")
    summary = "CIFAR-10N: the first of three people's labels, 17 % of it wrong"
    whose = "the first of three people's labels"


class HumanRandom2(Human):
    """The second of three people's labels."""

    name = "human-random2"
    aliases = ("human-rand2", "rand2")
    summary = "CIFAR-10N: the second of three people's labels, 18 % of it wrong"
    whose = "the second of three people's labels"


class HumanRandom3(Human):
    """The third of three people's labels."""

    name = "human-random3"
    aliases = ("human-rand3", "rand3")
    summary = "CIFAR-10N: the third of three people's labels, 18 % of it wrong"
    whose = "the third of three people's labels"


class HumanNoisy(Human):
    """One person's label of each image, one of the 100 fine classes of CIFAR-100."""

    name = "human-noisy"
    aliases = ("human-fine", "noisy100")
    summary = "CIFAR-100N: one person's fine label, 40 % of it wrong"
    whose = "one person's label"


class HumanCoarse(Human):
    """One person's label of each image, one of the 20 superclasses of CIFAR-100: noise of the task cifar100[coarse]."""

    name = "human-coarse"
    summary = "CIFAR-100N: one person's superclass, for cifar100[coarse], 26 % of it wrong"
    whose = "one person's superclass"
