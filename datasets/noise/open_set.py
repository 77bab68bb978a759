"""Open-set noise: some training images are of no class at all, and have a label nevertheless."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.calls import written_call
from datasets.interface import AsymmetricPairs, Data, DataError, Description, Labels, Part
from datasets.noise.captions import share_text
from datasets.noise.drawing import draw_exact, draw_independent
from datasets.noise.interface import DrawnImages, Noise, NoiseFacts
from datasets.noise.matrices import symmetric, symmetric_inclusive
from datasets.randomness import order, uniforms
from datasets.replaced import ReplacedImages
from datasets.rounding import half_up
from datasets.samples import Pixels
from datasets.selected import select

CLASSES, PIXELS, IMAGES = "classes", "pixels", "images"


class OpenSet(Noise):
    """Outsiders, whose true label is none (-1), beside ordinary symmetric noise. Three published conventions:

    `classes` (Jo-SRC's CIFAR-80N): the last `share` of the classes are outside. Their training images are labelled
    evenly at random among the others, of whose own labels the rate is wrong (true class excluded). The test set keeps
    the other classes only.
    `pixels` (Albert et al., PLS): each image is replaced with probability `share` by one of the data set `by`, and
    keeps its label. Of the others, rate / (1 - share) are redrawn over all classes, so that the rate counts among all
    images.
    `images` (Wang et al. 2018): the rate is the share of images that are replaced by some of the data set `by`, in
    exact number; all labels stay.
    """

    name = "open-set"
    aliases = ("openset",)
    summary = "images of no class among the others, beside symmetric noise"
    source = "Yao et al. 2021 (Jo-SRC, arXiv 2103.13029); Albert et al. 2023 (PLS); Wang et al. 2018"
    parameters = {"convention": CLASSES, "share": 0.2, "by": ""}
    choices = {"convention": (CLASSES, PIXELS, IMAGES)}

    def __init__(self, argument: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(argument, parameters)
        kind, share = self.values["convention"], self.values["share"]
        if not 0 < share < 1:
            raise DataError(f"Noise 'open-set' takes a share above 0 and below 1, not {share:g}. Type share=0.2.")
        if (kind == CLASSES) != (not self.donor):
            said = "needs by=DATASET, whose images come in" if kind != CLASSES else "takes no by=..., nothing comes in"
            typed = f"[convention={kind}{'' if kind == CLASSES else ',by=fashion-mnist'}]"
            raise DataError(f"Noise 'open-set' with convention={kind} {said}. Type --noise open-set{typed}.")
        if kind == IMAGES and "share" in (parameters or {}):
            raise DataError("Noise 'open-set' with convention=images takes its share by --rate. Leave out share=....")

    @property
    def donor(self) -> str:
        return str(self.values["by"])

    def recorded_name(self) -> str:
        """Without the folders of the data set that replaces images."""
        head, colon, path = self.donor.partition(":")
        return written_call(self.name, {**self.values, "by": f"{head}{colon}{PurePath(path).name}"}, self.parameters)

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        rate = self.checked_rate(rate)
        if self.values["convention"] == CLASSES:
            self.insiders(len(facts.classes))
        elif self.values["convention"] == PIXELS and rate > 1 - self.values["share"]:
            raise DataError(
                f"A rate of {rate:g} beside {self.values['share']:g} of the images that are replaced is more than all "
                f"others. Type --rate {1 - self.values['share']:g} or less."
            )

    def insiders(self, classes: int) -> int:
        """The number of classes that stay, of `classes`: all but the last ones, at least one of which is outside."""
        outside = max(1, int(half_up(np.array([self.values["share"] * classes]))[0]))
        if classes - outside < 2:
            raise DataError(
                f"Of {classes} classes {outside} would be outside, and fewer than two stay. Take another data set, or "
                "a smaller share."
            )
        return classes - outside

    def kept_classes(self, classes: int) -> int:
        return self.insiders(classes) if self.values["convention"] == CLASSES else classes

    def convention(self, facts: NoiseFacts) -> str:
        if self.values["convention"] == CLASSES:
            stay, classes = self.insiders(len(facts.classes)), len(facts.classes)
            return f"in {stay} classes (the true class excluded), the last {classes - stay} of {classes} are outside"
        by = PurePath(self.donor).name
        if self.values["convention"] == IMAGES:
            return f"of the images are replaced by some of {by}, labels stay"
        share = self.values["share"]
        return f"redrawn over all classes, each image replaced by one of {by} with probability {share:g}"

    def outsiders(self, images: DrawnImages) -> NDArray[np.bool_]:
        kind, samples = self.values["convention"], len(images.clean)
        if kind == CLASSES:
            return np.asarray(images.clean >= self.insiders(len(images.facts.classes)))
        drawn = uniforms(images.seed, "open-set/images", samples)
        if kind == PIXELS:
            return np.asarray(drawn < self.values["share"])
        outside = np.zeros(samples, dtype=np.bool_)
        count = int(half_up(np.array([self.checked_rate(images.rate) * samples]))[0])
        outside[np.argsort(drawn, kind="stable")[:count]] = True
        return outside

    def assign(self, images: DrawnImages) -> Labels:
        kind, classes, rate = self.values["convention"], len(images.facts.classes), self.checked_rate(images.rate)
        labels = images.clean.astype(np.int64)
        if kind == IMAGES:
            return labels
        outside = self.outsiders(images)
        if kind == CLASSES:
            classes = self.insiders(classes)
            drawn = uniforms(images.seed, "open-set/labels", len(labels))
            labels[outside] = np.floor(drawn[outside] * classes).astype(np.int64)
            matrix = symmetric(classes, rate)
        else:
            matrix = symmetric_inclusive(classes, min(1.0, rate / (1 - self.values["share"])))
        draw = draw_exact if images.draw == "exact" else draw_independent
        labels[~outside] = draw(labels[~outside], matrix, images.seed)
        return labels

    def remark(self, clean: Labels, noisy: Labels, facts: NoiseFacts) -> str:
        if not len(clean):
            return ""
        outside, wrong = (clean < 0).mean(), ((clean >= 0) & (clean != noisy)).mean()
        return f"of it {share_text(float(outside))} open and {share_text(float(wrong))} closed"

    def changed_data(
        self, data: Data, drawn: NDArray[np.int64], outside: NDArray[np.bool_], donor: Pixels | None, seed: int
    ) -> Data:
        if self.values["convention"] == CLASSES:
            return keep_classes(data, self.insiders(len(data.description.classes)))
        if donor is None or len(donor) == 0:
            raise DataError(f"Noise 'open-set' finds no images in {self.donor} to put in place of others.")
        places = drawn[outside]
        chosen = order(seed, "open-set/donors", len(donor))[np.arange(len(places)) % len(donor)]
        images = ReplacedImages(data.train.images, donor, places, chosen)
        return replace(data, train=replace(data.train, images=images, masks=None))


def keep_classes(data: Data, count: int) -> Data:
    """The data set with its first `count` classes alone, in the test set as well; training images stay where they are.

    Training labels beyond are for the noise to deal with.
    """
    kept = np.flatnonzero(data.test.labels < count)
    masks = data.test.masks
    test = Part(select(data.test.images, kept), data.test.labels[kept], None if masks is None else masks[kept])
    # what people said of test images holds the classes that are gone
    return replace(data, description=first_classes(data.description, count), test=test, audited=None, opinions=None)


def first_classes(description: Description, count: int) -> Description:
    """A description with its first `count` classes alone."""
    pairs = description.pairs
    if pairs is not None:
        pairs = AsymmetricPairs(tuple(each for each in pairs.flips if max(each) < count), pairs.source)
    superclasses = None if description.superclasses is None else description.superclasses[:count]
    return replace(
        description, classes=description.classes[:count], pairs=pairs, superclasses=superclasses, test_size=None
    )
