"""Does FLSC's second stage, erasing, draw attention to the object, and does that help where backgrounds mislead?

    python benchmarks/claims/flsc_erasing.py [--data plain,cued] [--arms "NAME;..."] [--seeds 0:5] [--quick]

`flsc` is trained on `synthetic` with several confusions per class (synthetic-hard.csv, 0.39 overall): localisation off
or on, erasing off or on, and the controls "area" (its area term alone) and "random" (the same area erased elsewhere).
Off and off is `dividemix`. "plain": images as they are. "cued": nine of ten training backgrounds are tinted as the
GIVEN label says, test backgrounds at random, the case that erasing is for.

Outcomes that no loss optimises, at the last epoch, on clean test images: accuracy; accuracy with every object on
another test image's background; "focus", the share of the true class's activation map that lies inside the object's
mask minus the mask's share of the image, mean over images and both networks; and AUROC of 1 - clean probability for
wrong training labels. Means over replicates with 95 % t-intervals; differences to the arm off and off are paired.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import flsc_setup as setup
import numpy as np
import torch

from bench.spec import RunSpec
from bench.training.inference import EvaluationSet, log_probabilities
from bench.training.metrics import accuracy, area_under_roc
from bench.training.noisy_data import NoisyData, store_images
from bench.training.trainer import Trainer
from methods.pieces.activation_maps import attend, upsample

BASE = "off, off"
ARMS = {
    BASE: "localisation=0,erasing=0",
    "localisation": "localisation=0.3,reduction=feature,erasing=0",
    "erasing": "localisation=0,erasing=0.1",
    "localisation, erasing": "localisation=0.3,reduction=feature,erasing=0.1",
    "area": "localisation=0,erasing=0.1,erase=area",
    "random": "localisation=0,erasing=0.1,erase=random",
}
"""Parameters of `flsc` in each arm."""

PLACEBOS = (("erasing", "area"), ("erasing", "random"))
"""Differences between arms beside those to off and off."""

OUTCOMES = ("accuracy", "swapped", "focus", "AUROC")
STAGE = "last"


def focus(trainer: Trainer, problem: NoisyData) -> float:
    """Share of the true class's map inside the mask minus the mask's area share, over clean test images and networks.

    0 for a map that is spread evenly or at random; an image whose map is zero counts as one.
    """
    test = problem.data.test
    assert test.masks is not None
    images, labels = store_images(test.images, problem.data, trainer.device), torch.from_numpy(test.labels)
    inside = torch.from_numpy(test.masks).float()
    area = inside.mean((1, 2))
    excess = []
    for network in trainer.networks:
        network.module.eval()
        maps = attend(network.module, setup.plain(images, torch.arange(len(labels))), labels, STAGE).maps
        wide = upsample(maps, inside.shape[1:])
        total = wide.sum((1, 2))
        share = torch.where(total > 0, (wide * inside).sum((1, 2)) / total.clamp(min=1e-12), area)
        excess.append(float((share - area).mean()))
        network.module.train()
    return float(np.mean(excess))


def outcomes(spec: RunSpec, problem: NoisyData, trainer: Trainer, cued: bool) -> dict[str, float]:
    """Every outcome of one trained run."""

    def tested(images: setup.Images) -> float:
        seen = EvaluationSet(store_images(images, problem.data, trainer.device))
        predicted = log_probabilities(trainer.method, trainer.networks, seen).argmax(axis=1)
        return accuracy(predicted, problem.data.test.labels) or 0.0

    clean = trainer.method.clean_probability()
    assert problem.clean_labels is not None  # the noise is drawn
    wrong = problem.noisy.labels[problem.train] != problem.clean_labels[problem.train]
    found = None if clean is None else area_under_roc(-clean.double().numpy(), wrong)
    return {
        "accuracy": tested(setup.pixels(problem.data.test)),
        "swapped": tested(setup.swapped_test(spec, problem, cued)),
        "focus": focus(trainer, problem),
        "AUROC": float("nan") if found is None else found,
    }


def measured(arm: str, cued: bool, asked: argparse.Namespace) -> Iterator[dict[str, float]]:
    """The outcomes of every replicate of one arm."""
    data_set = "synthetic[size=8,train=120,test=20]" if asked.quick else "synthetic[size=16,train=1000,test=500]"
    change = setup.cue_backgrounds if cued else None
    options = {"epochs": 3 if asked.quick else 15}
    method = f"flsc[{ARMS[arm]}]"
    for spec, problem, trainer in setup.replicates(
        method, data_set, setup.NOISES["hard"], asked.seeds, change, **options
    ):
        for _ in trainer.epochs():
            pass
        found = outcomes(spec, problem, trainer, cued)
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        setup.say(f"{'cued' if cued else 'plain'}: {arm}, seed {spec.seed}, {trainer.seconds:.1f} s: {numbers}")
        yield found


def tables(cued: bool, asked: argparse.Namespace) -> str:
    """Outcomes of every arm, then the paired differences."""
    # replicate by replicate, so that what is measured first can be compared
    together = zip(*(measured(arm, cued, asked) for arm in asked.arms), strict=True)
    found = dict(zip(asked.arms, zip(*together, strict=True), strict=True))
    rows = [[arm, *(setup.interval([one[name] for one in each]) for name in OUTCOMES)] for arm, each in found.items()]
    pairs = [(arm, BASE) for arm in asked.arms if arm != BASE] + list(PLACEBOS)
    differences = []
    for first, second in pairs:
        if first in found and second in found:
            both = list(zip(found[first], found[second], strict=True))
            cells = [setup.interval([one[name] - two[name] for one, two in both], signed=True) for name in OUTCOMES]
            differences.append([f"({first}) - ({second})", *cells])
    return "\n\n".join(
        (setup.markdown(("arm", *OUTCOMES), rows), setup.markdown(("paired difference", *OUTCOMES), differences))
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=lambda text: text.split(","), default=["plain", "cued"])
    parser.add_argument("--arms", type=lambda text: text.split(";"), default=list(ARMS), help="separated by ;")
    parser.add_argument("--seeds", default="0:5")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run, not what does it say")
    asked = parser.parse_args(arguments)
    setup.announce(asked.threads)
    for data in asked.data:
        print(f"### {data}\n\n{tables(data == 'cued', asked)}\n", flush=True)


if __name__ == "__main__":
    main()
