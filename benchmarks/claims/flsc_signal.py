"""Does where a network looks tell a wrong label, beyond what its loss tells? The signal of FLSC's first stage.

    python benchmarks/claims/flsc_signal.py [--only develop,main,sign,fashion,cifar] [--seeds 0:5] [--table FILE]

Plain cross-entropy is trained on known label noise and read, in eval mode and without augmentation, at the end of the
warm-up that `flsc` has (10 of 300 epochs, scaled), the epoch at which selection begins; so fixed before anything was
measured. Later epochs are shown beside it where named. All numbers are AUROCs for "this label is wrong" over the
training part: means over replicates (noise, split, weights and order drawn anew), 95 % t-intervals, paired differences.

loss: cross-entropy of the given label. w_loss: 1 - the mixture's clean probability of it, all that `dividemix` uses.
d: information reduction. joined: 1 - ((1 - g) w_loss + g w_loc) as in `flsc`, g = 0.3. placebo: the same with the maps
of other images of the same given label. within strata: mean AUROC inside ten strata of the loss of equal size. oracle:
1 - the share of the map inside the object's true mask.

Kinds of d, stages and g are compared on seeds 100 to 104 only ("develop"); all else is measured on other seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flsc_setup as setup
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.training.metrics import area_under_roc
from bench.training.noisy_data import NoisyData
from bench.training.trainer import Trainer
from datasets.randomness import order
from methods.losses import cross_entropy
from methods.pieces.activation_maps import attend, information_reduction, upsample
from methods.pieces.information_reduction import (
    KINDS,
    Kind,
    joined_clean_probability,
    location_clean_probability,
    logits_and_reduction,
)
from methods.pieces.lengths import warm_up_epochs
from methods.pieces.mixtures import gaussian_clean_probability, normalised

WEIGHT = 0.3
WEIGHTS = (0.1, 0.3, 0.5)
WARM_UP = 10 / 300
STRATA = 10
BLOCK = 512
PARTS = ("develop", "main", "sign", "fashion", "cifar")
DEVELOPMENT = "100:105"

MAIN = ("loss", "w_loss", "d", "joined", "joined - loss", "joined - w_loss", "placebo - w_loss")
STRATIFIED = ("d within strata", "loss within strata", "placebo d", "placebo within strata", "oracle")
SIGN = ("loss", "d", "d within strata", "joined - loss", "oracle")
TRIED = ("d", "d within strata", *(f"g={weight:g} - loss" for weight in WEIGHTS), "one mixture - loss")


@dataclass(frozen=True)
class Variant:
    """One definition of d: the kind of information reduction, and the stage whose maps are read."""

    kind: Kind = "feature"
    stage: str = "last"

    def __str__(self) -> str:
        return f"{self.kind}, {self.stage}"


@dataclass(frozen=True)
class Reading:
    """What one trained network says of its training part, all (n,): the given labels, and scores of suspicion.

    `placebo` is d with exchanged maps, `outside` the share of the map outside the object; None where there is none.
    """

    wrong: NDArray[np.bool_]
    given: Tensor
    classes: int
    loss: Tensor
    reduction: Tensor
    placebo: Tensor | None
    outside: Tensor | None

    def joined(self, reduction: Tensor, weight: float) -> Tensor:
        """The clean probability (n,) that `flsc` has with this d and `localisation` = weight."""
        by_loss = gaussian_clean_probability(normalised(self.loss))
        by_location = location_clean_probability(reduction, self.given, self.classes)
        return joined_clean_probability(by_loss, by_location, weight)

    def quality(self, suspicion: Tensor | None) -> float:
        """AUROC of a score (n,) for wrong labels; NaN where there is no score or only one kind of label."""
        found = None if suspicion is None else area_under_roc(suspicion.double().numpy(), self.wrong)
        return float("nan") if found is None else found

    def within_strata(self, suspicion: Tensor | None) -> float:
        """Mean AUROC of a score (n,) inside strata of equal size along the loss, over those that hold both kinds."""
        if suspicion is None:
            return float("nan")
        score, found = suspicion.double().numpy(), []
        for part in np.array_split(np.argsort(self.loss.numpy(), kind="stable"), STRATA):
            inside = area_under_roc(score[part], self.wrong[part])
            found += [] if inside is None else [inside]
        return float(np.mean(found)) if found else float("nan")

    def numbers(self) -> dict[str, float]:
        """Every column of the tables."""
        loss, w_loss = self.quality(self.loss), self.quality(-self.joined(self.reduction, 0.0))
        joined = {weight: self.quality(-self.joined(self.reduction, weight)) for weight in {WEIGHT, *WEIGHTS}}
        placebo = None if self.placebo is None else -self.joined(self.placebo, WEIGHT)
        # loss and d as the two columns of a single mixture, clean where the loss is smaller
        columns = torch.stack([normalised(self.loss), normalised(self.reduction)], dim=1)
        return {
            "loss": loss,
            "w_loss": w_loss,
            "d": self.quality(self.reduction),
            "joined": joined[WEIGHT],
            "joined - loss": joined[WEIGHT] - loss,
            "joined - w_loss": joined[WEIGHT] - w_loss,
            "placebo - w_loss": self.quality(placebo) - w_loss,
            "d within strata": self.within_strata(self.reduction),
            "loss within strata": self.within_strata(self.loss),
            "placebo d": self.quality(self.placebo),
            "placebo within strata": self.within_strata(self.placebo),
            "oracle": self.quality(self.outside),
            **{f"g={weight:g} - loss": joined[weight] - loss for weight in WEIGHTS},
            "one mixture - loss": self.quality(-gaussian_clean_probability(columns)) - loss,
        }


def exchanged(given: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """For each image another one of the same given label (itself only where there is no other), int64 (n,)."""
    partner = np.arange(len(given))
    for label in np.unique(given):
        members = np.flatnonzero(given == label)
        shuffled = members[order(seed, f"flsc/placebo/{label}", len(members))]
        partner[shuffled] = np.roll(shuffled, 1)
    return partner


@torch.no_grad()
def read(trainer: Trainer, problem: NoisyData, variant: Variant) -> Reading:
    """Everything about the training part, in eval mode, from the first network."""
    module, images, labels = trainer.networks[0].module, trainer.part.images, trainer.part.labels
    assert problem.clean_labels is not None  # the noise is drawn
    given, clean = problem.noisy.labels[problem.train], problem.clean_labels[problem.train]
    blocks = torch.split(torch.arange(len(labels)), BLOCK)
    module.eval()
    placebo = outside = None
    if variant.kind == "feature":
        seen = [attend(module, setup.plain(images, part), labels[part], variant.stage) for part in blocks]
        logits = torch.cat([each.logits for each in seen])
        maps, energy = torch.cat([each.maps for each in seen]), torch.cat([each.energy for each in seen])
        reduction = information_reduction(maps, energy)
        placebo = information_reduction(maps[torch.from_numpy(exchanged(given, trainer.spec.seed))], energy)
        if problem.data.train.masks is not None:
            inside = torch.from_numpy(problem.data.train.masks[problem.drawn[problem.train]]).float()
            wide = upsample(maps, inside.shape[1:])
            outside = 1 - (wide * inside).sum((1, 2)) / wide.sum((1, 2)).clamp(min=1e-12)
    else:
        rows = [
            logits_and_reduction(module, setup.plain(images, part), labels[part], variant.stage, variant.kind)
            for part in blocks
        ]
        logits, reduction = torch.cat(rows)[:, :-1], torch.cat(rows)[:, -1]
    module.train()
    loss = cross_entropy(logits, labels)
    return Reading(given != clean, labels, trainer.part.classes, loss, reduction, placebo, outside)


@dataclass(frozen=True)
class Setting:
    """Data, noise and training of table rows; `cued`: training backgrounds tell the given label.

    `epochs` are measured beside the one at the end of the warm-up.
    """

    title: str
    data_set: str
    noise: str
    cued: bool = False
    epochs: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def readings(self, seeds: str, variants: Sequence[Variant]) -> Iterator[tuple[int, Variant, Reading]]:
        """(epoch, variant, reading) of every replicate."""
        change = setup.cue_backgrounds if self.cued else None
        for spec, problem, trainer in setup.replicates("ce", self.data_set, self.noise, seeds, change, **self.options):
            at = {warm_up_epochs(WARM_UP, trainer.task), *self.epochs}
            for done in trainer.epochs():
                if done.number in at:
                    for variant in variants:
                        yield done.number, variant, read(trainer, problem, variant)
                if done.number == max(at):
                    break
            setup.say(f"{self.title}, seed {spec.seed}")


def table(
    settings: Sequence[Setting], seeds: str, variants: Sequence[Variant], columns: Sequence[Sequence[str]]
) -> str:
    """Markdown tables, one for each list of columns: a row for each setting, epoch and variant, over the seeds."""
    found: dict[tuple[str, int, Variant], list[dict[str, float]]] = {}
    for setting in settings:
        for epoch, variant, reading in setting.readings(seeds, variants):
            found.setdefault((setting.title, epoch, variant), []).append(reading.numbers())
    tables = []
    for names in columns:
        rows = []
        for (title, epoch, variant), replicates in found.items():
            cells = [setup.interval([each[name] for each in replicates], " - " in name) for name in names]
            rows.append([title, str(epoch), *([str(variant)] if len(variants) > 1 else []), *cells])
        tables.append(setup.markdown(("setting", "epoch", *(["d by"] if len(variants) > 1 else []), *names), rows))
    return "\n\n".join(tables)


def sections(asked: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """(title, tables) of every part that was asked for."""
    small = "train=60,test=10,size=8" if asked.quick else "train=2000,test=10"
    later = () if asked.quick else (10, 20)
    digits: dict[str, Any] = {"model": "cnn-small", "batch_size": 64, "train_size": 60 if asked.quick else 2000}
    digits |= {"epochs": 3 if asked.quick else 20, "data_root": asked.data_root}
    photos = digits | {"epochs": 3 if asked.quick else 12, "train_size": 60 if asked.quick else 4000}
    photos |= {"augment": "crop4+flip", "lr": 0.05, "weight_decay": 1e-4}
    noises = {name: setup.NOISES[name] for name in ("asym", "hard")}
    plain = [Setting(name, f"synthetic[{small}]", noise) for name, noise in noises.items()]
    cued = Setting("hard, backgrounds tell the given label", f"synthetic[{small}]", noises["hard"], True)
    if "develop" in asked.only:
        stages = ("last", "before-last")
        variants = [Variant(kind, stage) for stage in stages for kind in KINDS]
        yield "Alternatives, on development seeds", table([*plain, cued], asked.development, variants, [TRIED])
    if "main" in asked.only:
        settings = [Setting(each.title, each.data_set, each.noise, each.cued, later) for each in (*plain, cued)]
        yield "Fresh seeds", table(settings, asked.seeds, [Variant()], [MAIN, STRATIFIED])
    if "sign" in asked.only:
        settings = []
        for extent in (0.35, 0.7):
            for clutter in (0, 0.5, 0.9):
                images = f"synthetic[{small},clutter={clutter},object={extent}]"
                settings.append(Setting(f"clutter {clutter:g}, object {extent:g}", images, noises["hard"]))
        yield "Sign, hard noise", table(settings, asked.seeds, [Variant()], [SIGN])
    if "fashion" in asked.only:
        settings = [Setting(f"{noise} 0.4", "fashion-mnist", noise, False, later, digits) for noise in ("sym", "asym")]
        yield "Fashion-MNIST", table(settings, asked.seeds, [Variant()], [MAIN, STRATIFIED[:-1]])
    if "cifar" in asked.only:
        later = () if asked.quick else (6, 12)
        settings = [Setting("worse_label", f"table:{asked.table}", "column:worse_label", False, later, photos)]
        yield "CIFAR-10 as JPEG", table(settings, asked.seeds, [Variant()], [MAIN, STRATIFIED[:-1]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS[:-1])
    parser.add_argument("--seeds", default="0:5")
    parser.add_argument("--table", help="CSV of photographs with a column worse_label, for --only cifar")
    parser.add_argument("--data-root")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run, not what does it say")
    asked = parser.parse_args(arguments)
    asked.development = "100:102" if asked.quick else DEVELOPMENT
    setup.announce(asked.threads)
    for title, text in sections(asked):
        print(f"### {title}\n\n{text}\n", flush=True)


if __name__ == "__main__":
    main()
