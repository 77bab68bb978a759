"""What FLSC's first stage says of every label, read from one network, and how well it tells the wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flsc_setup as setup
import numpy as np
import torch
from flsc_signal import exchanged
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.spec import RunSpec
from bench.training.metrics import area_under_roc
from bench.training.noisy_data import NoisyData, build_training_part
from bench.training.trainer import Trainer
from datasets.randomness import order, uniforms
from methods.ce import CrossEntropy
from methods.interface import Network, Task
from methods.losses import cross_entropy
from methods.pieces.activation_maps import attend, class_scores, feature_maps, information_reduction
from methods.pieces.foreground import attention_weights, fostered_losses
from methods.pieces.information_reduction import joined_clean_probability, location_clean_probability
from methods.pieces.judges import make_judges
from methods.pieces.mixtures import gaussian_clean_probability, normalised

STAGE = "last"
WEIGHT = 0.5
OLD_WEIGHT = 0.3
THRESHOLD = 0.5
BLOCK = 512
FOLDS = 5
JUDGES = ("last", "ema")
SCORES = ("loss", "IR", "placebo", "IR, g=1", "old")
BOUNDS = ("loss", "foreground", "shuffled")


class JudgedCrossEntropy(CrossEntropy):
    """Plain cross-entropy, with the average of its weights that `judge=ema` has, which learns nothing."""

    judges: tuple[Network, ...]

    def start(self, task: Task) -> None:
        """Begin the average at the first weights."""
        super().start(task)
        self.judges = make_judges(task, "ema", 1)


def judged_trainer(spec: RunSpec, problem: NoisyData) -> Trainer:
    """A trainer of cross-entropy whose task averages its network."""
    method, device = JudgedCrossEntropy(), torch.device("cpu")
    return Trainer(method, spec, build_training_part(problem, method, spec, device), device)


@dataclass(frozen=True)
class Judgement:
    """Of every training image, (n,): its losses by the foreground, and by a foreground of another image's attention.

    `logits` (n, K) of the whole image; `old`: the score d of the first reading, by the given label's map.
    """

    logits: Tensor
    foreground: Tensor
    placebo: Tensor
    old: Tensor
    labels: Tensor

    @property
    def loss(self) -> Tensor:
        """Cross-entropy of the whole image."""
        return cross_entropy(self.logits, self.labels)

    def criteria(self) -> dict[str, Tensor]:
        """What a mixture is fitted to, by the score's name."""
        loss = self.loss
        return {
            "loss": loss,
            "IR": fostered_losses(loss, self.foreground, WEIGHT),
            "placebo": fostered_losses(loss, self.placebo, WEIGHT),
            "IR, g=1": self.foreground,
        }

    def clean_probabilities(self) -> dict[str, Tensor]:
        """w by every score, the first reading's join among them."""
        found = {name: gaussian_clean_probability(normalised(each)) for name, each in self.criteria().items()}
        by_location = location_clean_probability(self.old, self.labels, self.logits.shape[1])
        return found | {"old": joined_clean_probability(found["loss"], by_location, OLD_WEIGHT)}


def kept_logits(module: nn.Module, features: Tensor, weights: Tensor) -> Tensor:
    """Logits (B, K) of feature maps (B, C, H, W) weighted by position, (B, H, W)."""
    return class_scores(module, features * weights.unsqueeze(1), STAGE)[0]


@torch.no_grad()
def judgement(module: nn.Module, trainer: Trainer) -> Judgement:
    """Everything about the training part, in eval mode."""
    images, labels = trainer.part.images, trainer.part.labels
    partner = torch.from_numpy(exchanged(labels.numpy(), trainer.spec.seed))
    blocks = torch.split(torch.arange(len(labels)), BLOCK)
    was_training = module.training
    module.eval()
    every = torch.cat([attention_weights(feature_maps(module, setup.plain(images, part), STAGE)) for part in blocks])
    parts: list[list[Tensor]] = []
    for part in blocks:
        pictures, given = setup.plain(images, part), labels[part]
        features = feature_maps(module, pictures, STAGE)
        kept, swapped = (kept_logits(module, features, every[which]) for which in (part, partner[part]))
        seen = attend(module, pictures, given, STAGE)
        losses = [cross_entropy(each, given) for each in (kept, swapped)]
        parts.append([seen.logits, *losses, information_reduction(seen.maps, seen.energy)])
    module.train(was_training)
    logits, kept_losses, placebo, old = (torch.cat(column) for column in zip(*parts, strict=True))
    return Judgement(logits, kept_losses, placebo, old, labels)


def auroc(suspicion: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """AUROC for wrong labels; NaN where all are wrong, or none."""
    found = area_under_roc(suspicion, wrong)
    return float("nan") if found is None else found


def selection_numbers(
    suspicion: NDArray[np.float64], selected: NDArray[np.bool_], size: int, wrong: NDArray[np.bool_]
) -> dict[str, float]:
    """How good a selection is: by its ranking, at its own threshold, and at an equal `size`.

    AUROC of `suspicion` (n,); share selected and wrong share among them; wrong share among the `size` least suspicious;
    share of the wrong labels found among as many most suspicious ones.
    """
    ranked = suspicion.argsort(kind="stable")
    count = int(wrong.sum())
    return {
        "AUROC": auroc(suspicion, wrong),
        "selected": float(selected.mean()),
        "wrong among selected": float(wrong[selected].mean()) if selected.any() else float("nan"),
        "wrong at equal size": float(wrong[ranked[:size]].mean()) if size else float("nan"),
        "found": float(wrong[ranked[len(ranked) - count :]].mean()) if count else float("nan"),
    }


def judged_numbers(found: Judgement, wrong: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """By score: the numbers of its selection, and the AUROC of its w; equal size is that of the loss's own split."""
    criteria, clean = found.criteria(), found.clean_probabilities()
    size = int((clean["loss"] > THRESHOLD).sum())
    numbers = {}
    for name in SCORES:
        doubt = -clean[name].double().numpy()
        suspicion = criteria[name].double().numpy() if name in criteria else doubt
        numbers[name] = selection_numbers(suspicion, -doubt > THRESHOLD, size, wrong) | {
            "AUROC of w": auroc(doubt, wrong)
        }
    return numbers


def bounds(found: Judgement, wrong: NDArray[np.bool_], seed: int) -> dict[str, float]:
    """AUROC of a supervised bound, which is told which labels are wrong: 5-fold logistic regression.

    On the network's whole-image prediction (given label, loss, its square and its own standardisation within the label,
    margin, entropy), the same with the foreground's loss, and with that loss shuffled.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from methods.pieces.information_reduction import standardised_per_class

    classes = found.logits.shape[1]
    log_p = found.logits.double().log_softmax(dim=1)
    top = log_p.topk(2, dim=1).values
    own = log_p.gather(1, found.labels.unsqueeze(1)).squeeze(1)
    base: Sequence[Tensor] = [
        found.loss.double(),
        found.loss.double().square(),
        standardised_per_class(found.loss, found.labels, classes).double(),
        own - torch.where(own == top[:, 0], top[:, 1], top[:, 0]),
        -(log_p.exp() * log_p).sum(dim=1),
    ]
    given = torch.nn.functional.one_hot(found.labels, classes).double()
    shuffled = found.foreground[torch.from_numpy(order(seed, "flsc/bound", len(wrong)))]
    further = {"loss": [], "foreground": [found.foreground.double()], "shuffled": [shuffled.double()]}
    numbers = {}
    for name, columns in further.items():
        table = torch.cat([torch.stack([*base, *columns], dim=1), given], dim=1).numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=int(uniforms(seed, "flsc/folds", 1)[0] * 2**31))
        chance = cross_val_predict(model, table, wrong, cv=folds, method="predict_proba")[:, 1]
        numbers[name] = auroc(chance, wrong)
    return numbers
