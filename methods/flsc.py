"""FLSC: selection by the losses of images and of their foregrounds, and erasing of what the networks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Generator, Tensor

from methods import _flsc
from methods._flsc import FOREGROUND
from methods.dividemix import DivideMix
from methods.interface import Setting, Step, Steps, Task
from methods.losses import cross_entropy
from methods.pieces.activation_maps import feature_maps
from methods.pieces.erasing import erasing_strength, erasure_loss, masking_loss
from methods.pieces.foreground import fostered_losses, whole_and_foreground_losses
from methods.pieces.information_reduction import (
    Kind,
    joined_clean_probability,
    location_clean_probability,
    logits_and_reduction,
)
from methods.pieces.judges import judge_of
from methods.pieces.lengths import linear_ramp, step_times

INFERENCE_UNITS = 2.0
ERASING_UNITS = 4.0
MASKING_UNITS = 5.0


class ForegroundLocalisation(DivideMix):
    """DivideMix that selects by what a label loses where only the attended foreground is kept, and erases in training.

    ASSUMPTION throughout: of FLSC only the abstract was available to us (no formula, code or table). From it are: two
    stages; the information reduction from an image to its foreground, which an attention distribution gives, fosters
    selection by loss; noise-adaptive adversarial erasing then suppresses background activation. All else is our design,
    on DivideMix. That labels name the object and not the scene is an assumption too.

    Stage 1, selection. F (C, H, W) leaves `stage`, h is all behind it: A(u) = ||F(u)|| is the attention, which no label
    enters, z_fg = h(A F / mean A) the prediction for the foreground (a mean pooling becomes one weighted by A), IR_i =
    CE(z_fg, y_i) - CE(z, y_i) the nats of information that label i loses, of any sign. The losses of DivideMix's
    mixture, and their `history`, become l_i + g IR_i, g = `localisation`. It is meant for objects in scenes; under its
    own threshold a mixture on it may select more images, and more wrong ones among them.

    Older readings (`reduction`) are ablations: a score d by the given label's activation map, for `feature` 1 - cos(M,
    A), M the rectified map (Grad-CAM), A = sum_c F_c^2. A mixture on d, standardised within each label, gives w_loc: w
    = (1 - g) w_loss + g w_loc. With g < 0.5 that hardly moves a split, since it crosses 0.5 only where w_loss is
    between (0.5 - g) / (1 - g) and 0.5 / (1 - g).

    Stage 2, erasing: for the first view of each image and c = argmax of its refined or guessed label, m is the min-max
    normalised map of c, S the score of c without the classifier's bias, S' the same from the features times (1 - m):
    L_er = mean a_i [R + area mean m], R = relu(S') / (relu(S') + relu(S) + 1e-6), a_i = erasing_floor + erasing_slope
    (1 - w_i); the loss grows by erasing(t) L_er, on a linear ramp after warm-up. R is 1/2 where nothing was erased. No
    gradient enters the layers behind the stage from R, and the branch runs in eval mode: batch statistics stay. Where
    mean pooling follows the stage, L_er is the same for every arrangement of the positions: it sharpens a map and can't
    tell background from object; an earlier `stage` and "input" can. `erase`: "random" erases the same area elsewhere,
    "area" nothing (its term alone): both controls; "input" masks the most attended pixels and softens the target by
    their share (adversarial masking, Tu et al., CVPR 2023).

    What either stage is worth isn't confirmed yet: docs/claims.md. With localisation = 0 and erasing = 0 it is
    `dividemix`, bit for bit. The recipes are DivideMix's. Needs a convolutional network. Cost above DivideMix's: what
    lies behind `stage` once more at each inference (older readings: 1 pass), and 4 passes for each image of a step's
    first views (5: "input").

    Source: after the abstract of "FLSC", Neural Networks 191 (2025) 107712; DivideMix, arXiv 2002.07394. IR: after
    infoCAM, arXiv 2106.10472; attention by the features: after Tu et al., CVPR 2023.
    """

    name = "flsc"
    summary = "DivideMix selecting by what labels lose on the attended foreground, with erasing (ours, by an abstract)"
    source = "after the abstract of Neural Networks 191 (2025) 107712; on DivideMix, arXiv 2002.07394"
    version = 2
    parameters = (*DivideMix.parameters, *_flsc.PARAMETERS)
    recipes = tuple(replace(recipe, deviation=_flsc.NO_TRAINING) for recipe in DivideMix.recipes)
    units = 30.0
    localisation: float
    reduction: str
    stage: str
    erasing: float
    erase: str
    area: float
    erasing_floor: float
    erasing_slope: float
    erasing_ramp: float

    def unsuitable(self, setting: Setting) -> str | None:
        if setting.is_vector:
            return "it looks at a network's feature maps, so it needs images, and these samples are vectors"
        return super().unsuitable(setting)

    def start(self, task: Task) -> None:
        """DivideMix's states and the information reductions (2, samples). Raises ValueError without feature maps."""
        super().start(task)
        self.reductions = task.state("reductions", torch.zeros(self.networks, task.samples))
        ramp = max(1.0, self.erasing_ramp * task.epochs) if self.erasing_ramp > 0 else 0.0
        self.effective = {**self.effective, "erasing_ramp": ramp}
        if self.localisation > 0 or self.erasing > 0:
            # a wrong stage or network is refused before the warm-up, not after it
            one = torch.zeros(1, dtype=torch.int64)
            task.infer(index=one, output=partial(feature_maps, stage=self.stage), units=0.0)

    def _draws(self, epoch: int, steps: Steps, generator: Generator) -> Mapping[str, Tensor]:
        """DivideMix's, and `erasing` (steps,) on its ramp; `shift` (steps, images, 2) of the random erasing."""
        drawn = dict(super()._draws(epoch, steps, generator))
        if self.erasing > 0:
            ramp = linear_ramp(step_times(epoch, steps), self.effective["warm_up"], self.effective["erasing_ramp"])
            drawn["erasing"] = (self.erasing * ramp).float()
        if self.erasing > 0 and self.erase == "random":
            # a last batch of one joins the one before it, in both streams
            drawn["shift"] = torch.rand((steps.count, 2 * (self.half + 1), 2), generator=generator)
        return drawn

    def extra(self, step: Step, network: int) -> Tensor | None:
        """The erasing's term; none where its weight is 0."""
        if self.erasing == 0:
            return None
        images = torch.cat([batch.views[0] for batch in step.streams.values()])
        index = torch.cat([batch.index for batch in step.streams.values()])
        targets, clean = self.targets[index], self.clean[1 - network][index]
        learner = step.network(network)
        if self.erase == "input":
            mask = partial(masking_loss, targets=targets, clean=clean, stage=self.stage)
            return step.draws["erasing"] * learner.through(mask, images, MASKING_UNITS).mean()
        shift = step.draws["shift"][: len(images)] if self.erase == "random" else None
        erase = partial(
            erasure_loss,
            classes=targets.argmax(dim=1),
            stage=self.stage,
            area=self.area,
            erase=self.erase != "area",
            shift=shift,
        )
        terms = learner.through(erase, images, ERASING_UNITS)
        return step.draws["erasing"] * (erasing_strength(clean, self.erasing_floor, self.erasing_slope) * terms).mean()

    def infer_losses(self, network: int) -> Tensor:
        """Losses as DivideMix infers them, fostered by the foreground's; the reductions come from the same pass."""
        if self.localisation == 0:
            return super().infer_losses(network)
        judge = judge_of(self.judges, network)
        if self.reduction != FOREGROUND:
            output = partial(logits_and_reduction, stage=self.stage, kind=cast(Kind, self.reduction))
            found = self.task.infer(judge, output=output, along=self.task.labels, units=INFERENCE_UNITS)
            self.reductions[network].copy_(found[:, -1])
            return cross_entropy(found[:, :-1], self.task.labels)
        output = partial(whole_and_foreground_losses, stage=self.stage)
        whole, foreground = self.task.infer(judge, output=output, along=self.task.labels).unbind(1)
        self.reductions[network].copy_(foreground - whole)
        return fostered_losses(whole, foreground, self.localisation)

    def fit(self, network: int, losses: Tensor) -> Tensor:
        """The clean probability by the fostered losses; in older readings, by loss joined to that by location."""
        by_loss = super().fit(network, losses)
        if self.localisation == 0 or self.reduction == FOREGROUND:
            return by_loss
        by_location = location_clean_probability(self.reductions[network], self.task.labels, self.task.classes)
        return joined_clean_probability(by_loss, by_location, self.localisation)
