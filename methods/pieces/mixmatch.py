"""DivideMix's use of MixMatch: a split into labelled and unlabelled samples, their targets, and the loss of a mix.

Source: Li et al., "DivideMix", ICLR 2020, after Berthelot et al., "MixMatch", NeurIPS 2019.
"""

from __future__ import annotations

from torch import Tensor, cat, no_grad, stack

from methods.interface import Step, Stream
from methods.losses import cross_entropy, soft_cross_entropy
from methods.pieces.mixing import one_hot, sharpen

LABELLED, UNLABELLED = "labelled", "unlabelled"


def split(clean: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Positions of the samples whose clean probability (n,) is above `threshold`, and of the rest; both ascending."""
    kept = clean > threshold
    return kept.nonzero().squeeze(1), kept.logical_not().nonzero().squeeze(1)


def split_streams(clean: Tensor, threshold: float, batch: int) -> dict[str, Stream]:
    """Streams "labelled" and "unlabelled" of the split, two weak views and `batch` images a step each.

    A set of fewer than two samples has no batch statistics. ASSUMPTION: in place of such a labelled set stand the
    `batch` samples most likely clean (the split says that no label can be believed, and a step needs some); such an
    unlabelled set is left out.
    """
    labelled, unlabelled = split(clean, threshold)
    if len(labelled) < 2:
        labelled = clean.argsort(descending=True, stable=True)[:batch]
    streams = {LABELLED: Stream(labelled, batch, ("weak", "weak"))}
    if len(unlabelled) >= 2:
        streams[UNLABELLED] = Stream(unlabelled, batch, ("weak", "weak"))
    return streams


def refined_labels(labels: Tensor, clean: Tensor, predictions: Tensor, temperature: float) -> Tensor:
    """sharpen(w y + (1 - w) p), (B, K): labels (B,), their clean probabilities w (B,), p the mean of (V, B, K).

    w = 1 gives the label itself, whatever the predictions are.
    """
    weight = clean.unsqueeze(1)
    given = one_hot(labels, predictions.shape[2])
    return sharpen(weight * given + (1 - weight) * predictions.mean(dim=0), temperature)


def guessed_labels(predictions: Tensor, temperature: float) -> Tensor:
    """The sharpened mean (B, K) of the probabilities (V, B, K) that networks and views give."""
    return sharpen(predictions.mean(dim=0), temperature)


def loss(logits: Tensor, targets: Tensor, labelled: int, lambda_u: Tensor | float) -> Tensor:
    """Soft cross-entropy of the first `labelled` rows plus lambda_u times the mean squared error of the others.

    `logits` and `targets` (n, K), n >= labelled >= 1; the error is the mean over rows and classes of (p - q)^2. No
    rows beyond the labelled ones: the cross-entropy alone.
    """
    total = soft_cross_entropy(logits[:labelled], targets[:labelled]).mean()
    if len(logits) == labelled:
        return total
    return total + lambda_u * (logits[labelled:].softmax(dim=1) - targets[labelled:]).square().mean()


def warm_up_loss(logits: Tensor, labels: Tensor, penalty: float) -> Tensor:
    """Mean cross-entropy of logits (B, K) and labels (B,), less `penalty` >= 0 times the predictions' mean entropy.

    The penalty slows the memorising of asymmetric noise. Source: Pereyra et al., "Regularizing neural networks by
    penalizing confident output distributions", 2017.
    """
    total = cross_entropy(logits, labels).mean()
    if penalty == 0:
        return total
    log_p = logits.log_softmax(dim=1)
    return total + penalty * (log_p.exp() * log_p).sum(dim=1).mean()


@no_grad()
def co_targets(step: Step, network: int, clean: Tensor, temperature: float, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Both views of the labelled, then of the unlabelled images of a step (n, C, H, W), and their targets (n, K).

    `network` refines the labels of the first by its own predictions and `clean` (samples,), the other network's
    mixture; both networks guess those of the second. `memory` (samples, K) keeps them by sample. The learning network
    is in training mode, as in the released code, so that each view is a batch of its own.
    """
    own, other = step.network(network), step.network(1 - network)
    known = step.streams[LABELLED]
    predicted = stack([own(view).softmax(dim=1) for view in known.views])
    refined = refined_labels(known.labels, clean[known.index], predicted, temperature)
    memory.index_copy_(0, known.index, refined)
    if UNLABELLED not in step.streams:
        return cat([*known.views]), cat([refined, refined])
    rest = step.streams[UNLABELLED]
    guesses = stack([member(view).softmax(dim=1) for member in (own, other) for view in rest.views])
    guessed = guessed_labels(guesses, temperature)
    memory.index_copy_(0, rest.index, guessed)
    return cat([*known.views, *rest.views]), cat([refined, refined, guessed, guessed])
