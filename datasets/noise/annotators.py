"""Labels made of the answers of several annotators, real or simulated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise.aggregation import Answers, any_answer, any_wrong, dawid_skene, majority
from datasets.noise.interface import DrawnImages, Noise, NoiseFacts
from datasets.noise.simulated_annotators import simulate_answers
from datasets.randomness import uniforms

USUAL_ANSWERS = 3
"""Answers of simulated annotators to an image, unless said otherwise: as many as CIFAR-10N has."""
MOST_ANNOTATORS = 1000
WORDS = {
    "majority": "majority",
    "dawid-skene": "Dawid-Skene",
    "random": "a random answer",
    "any-wrong": "any wrong answer",
}


class Annotators(Noise):
    """One label an image from what several annotators answered. Images without an answer stay out.

    `annotators` takes all further label columns of the data set, `annotators:a,b,worker*` those of them. An empty cell
    is no answer. `annotators:5`, a number, simulates so many people instead: their accuracies, and how difficult images
    are for all of them, follow those of CIFAR-10N, and `answers` of them (3 unless said otherwise) answer each image.

    `by` says how: `majority` (ties at random by the noise seed), `dawid-skene` (annotators are weighed by what they
    confuse, found without clean labels), `random` (one answer), `any-wrong` (a wrong answer where there is one, by the
    clean labels). Only answers to images of the draw count.
    """

    name = "annotators"
    aliases = ("crowd",)
    summary = "answers of several annotators made one label, real (columns) or simulated (a number)"
    source = "Dawid and Skene 1979; Wei et al. 2022 (CIFAR-N, arXiv 2110.12088)"
    takes_rate = False
    argument = "NAMES"
    argument_optional = True
    parameters = {"by": "majority", "answers": 0}
    choices = {"by": tuple(WORDS)}

    def __init__(self, argument: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(argument, parameters)
        number = re.fullmatch(r"\s*([0-9]+)\s*", self.argument_value)
        self.simulated = None if number is None else int(number[1])
        self.names = tuple(dict.fromkeys(each.strip() for each in self.argument_value.split(",") if each.strip()))
        typed = self.values["answers"]
        if self.simulated is None:
            if typed:
                raise DataError(
                    "Noise 'annotators' takes answers=... for simulated annotators only: columns hold the answers that "
                    "there are. Leave it out, or type --noise annotators[answers=3]:5."
                )
            return
        if not 1 <= self.simulated <= MOST_ANNOTATORS:
            raise DataError(
                f"Noise 'annotators' simulates 1 to {MOST_ANNOTATORS:,} people, not {self.simulated:,}. "
                "Type --noise annotators:5."
            )
        if not 0 <= typed <= self.simulated:
            raise DataError(
                f"Each image can have answers of 1 to {self.simulated} of {self.simulated} annotators, not {typed}. "
                f"Type --noise annotators[answers={min(USUAL_ANSWERS, self.simulated)}]:{self.simulated}."
            )

    @property
    def answers_each(self) -> int:
        """Answers to each image of simulated annotators."""
        return int(self.values["answers"]) or min(USUAL_ANSWERS, self.simulated or USUAL_ANSWERS)

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        self.checked_rate(rate)
        if self.simulated is None:
            self._find(facts.columns, facts.data_set)
        elif len(facts.classes) < 2:
            raise DataError(f"Labels of {len(facts.classes)} class can't be wrong. Type --noise none.")

    def origin(self, facts: NoiseFacts) -> str:
        if self.simulated is not None:
            return "simulated annotators after those of CIFAR-10N (Wei et al. 2022, arXiv 2110.12088)"
        return f"{len(self._find(facts.columns, facts.data_set))} columns of {facts.data_set}"

    def convention(self, facts: NoiseFacts) -> str:
        how = WORDS[self.values["by"]]
        if self.simulated is not None:
            return f"{how} of {self.answers_each} answers by {self.simulated} simulated annotators"
        names = self._find(facts.columns, facts.data_set)
        return f"{how} of {len(names)} annotators ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"

    def columns_read(self, facts: NoiseFacts) -> tuple[str, ...]:
        return () if self.simulated is not None else tuple(self._find(facts.columns, facts.data_set))

    def labelled(self, columns: Mapping[str, Labels]) -> NDArray[np.int64] | None:
        if self.simulated is not None:
            return None
        answered = np.any([columns[name] >= 0 for name in self._find(tuple(columns), "the data set")], axis=0)
        return None if answered.all() else np.flatnonzero(answered)

    def answers(self, images: DrawnImages) -> Answers:
        """The answers to the drawn images, of the columns or of simulated annotators."""
        classes = len(images.facts.classes)
        if self.simulated is not None:
            return simulate_answers(images.clean, classes, self.simulated, self.answers_each, images.seed)
        names = self._find(tuple(images.columns), images.facts.data_set)
        return Answers.of_columns([images.columns[name] for name in names])

    def annotator_names(self, facts: NoiseFacts) -> list[str]:
        """What the annotators are called, in the order of `answers`."""
        if self.simulated is not None:
            return [f"annotator {number}" for number in range(1, self.simulated + 1)]
        return self._find(facts.columns, facts.data_set)

    def assign(self, images: DrawnImages) -> Labels:
        answers, classes = self.answers(images), len(images.facts.classes)
        chance = uniforms(images.seed, f"annotators/{self.values['by']}", len(images.clean))
        if self.values["by"] == "majority":
            return majority(answers, classes, chance)
        if self.values["by"] == "random":
            return any_answer(answers, chance)
        if self.values["by"] == "any-wrong":
            return any_wrong(answers, images.clean, chance)
        return dawid_skene(answers, classes).labels(answers, chance)

    def _find(self, known: Sequence[str], data_set: str) -> list[str]:
        """The columns that are meant, each once; DataError where there are none, or a name fits none."""
        if not known:
            raise DataError(
                f"Noise 'annotators' needs label columns, and {data_set} has no further ones. "
                "Type --noise annotators:5 to simulate five annotators."
            )
        if not self.names:
            return list(known)
        found: dict[str, None] = {}
        for name in self.names:
            fitting = [name] if name in known else [each for each in known if fnmatchcase(each, name)]
            if not fitting:
                likely = get_close_matches(name, known, n=3, cutoff=0.5) or list(known[:3])
                raise DataError(
                    f"There is no label column {name!r} in {data_set}. Columns are, for instance, {', '.join(likely)}. "
                    "Separate them by commas: --noise annotators:" + ",".join(known[:2]) + "."
                )
            found |= dict.fromkeys(fitting)
        return list(found)
