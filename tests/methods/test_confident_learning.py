"""What confident learning finds and prunes, on probabilities and labels made for it; cleanlab does the counting."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from methods.confident_learning import ConfidentLearning
from methods.interface import Setting
from methods.losses import cross_entropy
from methods.pieces.confident import FILTERS, class_weights, kept_labels, self_confidence, stratified_folds

torch.set_num_threads(1)

seeds = st.integers(0, 2**31 - 1)
filters = st.sampled_from(FILTERS)


def random_labels(seed: int, count: int, classes: int) -> Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))


def random_probabilities(seed: int, count: int, classes: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(count, classes, generator=generator)).softmax(dim=1)


# ---- Pruning ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seeds, st.integers(2, 6), st.integers(2, 60), filters)
def test_predictions_that_equal_the_labels_prune_nothing(seed: int, classes: int, count: int, filter_by: str) -> None:
    labels = random_labels(seed, count, classes)
    assert kept_labels(labels, one_hot(labels, classes).float(), filter_by).all()


@settings(max_examples=30)
@given(seeds, st.integers(2, 6), st.integers(2, 60), filters)
def test_no_class_is_ever_emptied(seed: int, classes: int, count: int, filter_by: str) -> None:
    labels = random_labels(seed, count, classes)
    kept = kept_labels(labels, random_probabilities(seed + 1, count, classes), filter_by)
    assert kept.shape == (count,) and kept.dtype == torch.bool
    assert set(labels[kept].tolist()) == set(labels.tolist())


@pytest.mark.parametrize("filter_by", FILTERS)
def test_where_predictions_contradict_every_label_the_most_believed_of_each_class_stays(filter_by: str) -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    own = torch.tensor([0.10, 0.20, 0.15, 0.05, 0.01, 0.02])
    probabilities = torch.where(one_hot(labels, 2).bool(), own[:, None], 1 - own[:, None])
    kept = kept_labels(labels, probabilities, filter_by)
    assert kept[1] and kept[3]
    if filter_by == "predicted_neq_given":
        assert kept.tolist() == [False, True, False, True, False, False]


@settings(max_examples=30)
@given(seeds, st.integers(2, 6), filters)
def test_renaming_the_classes_prunes_the_same_samples(seed: int, classes: int, filter_by: str) -> None:
    """But for the rounding of the counts to whole samples, which cleanlab does in the order of the classes."""
    labels, probabilities = random_labels(seed, 50, classes), random_probabilities(seed + 1, 50, classes).double()
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(seed + 2))
    renamed = kept_labels(order.argsort()[labels], probabilities[:, order], filter_by)
    differing = int((renamed != kept_labels(labels, probabilities, filter_by)).sum())
    assert differing <= (classes if filter_by in ("prune_by_noise_rate", "prune_by_class", "both") else 0)


@settings(max_examples=30)
@given(seeds, st.integers(1, 30), st.integers(0, 3), filters)
def test_one_given_class_prunes_nothing(seed: int, count: int, label: int, filter_by: str) -> None:
    assert kept_labels(torch.full((count,), label), random_probabilities(seed, count, 4), filter_by).all()


@pytest.mark.parametrize("filter_by", FILTERS)
def test_planted_wrong_labels_are_found(filter_by: str) -> None:
    """Probabilities that know the truth but for a little: most of the planted ones go, few of the others."""
    truth = random_labels(0, 600, 4)
    labels = truth.clone()
    planted = torch.zeros(600, dtype=torch.bool)
    planted[:120] = True
    labels[planted] = (truth[planted] + 1 + random_labels(1, 120, 3)) % 4
    noise = torch.randn(600, 4, generator=torch.Generator().manual_seed(2))
    probabilities = (4.0 * one_hot(truth, 4) + noise).softmax(dim=1)
    kept = kept_labels(labels, probabilities, filter_by)
    assert kept[planted].float().mean() < 0.2 and kept[~planted].float().mean() > 0.95
    ranks = self_confidence(labels, probabilities)
    assert ranks[planted].median() < 0.1 < 0.9 < ranks[~planted].median()


# ---- Folds and weights -----------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 8), st.integers(2, 7), st.integers(14, 90))
def test_folds_are_even_in_all_and_in_each_class(seed: int, classes: int, folds: int, count: int) -> None:
    labels = random_labels(seed, count, classes)
    fold = stratified_folds(labels, folds)
    assert sorted(set(fold.tolist())) == list(range(folds))
    for among in (torch.ones(count, dtype=torch.bool), *(labels == k for k in range(classes))):
        sizes = torch.bincount(fold[among], minlength=folds)
        assert sizes.max() - sizes.min() <= 1


def test_class_weights_restore_what_pruning_took() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 3])
    kept = torch.tensor([True, False, False, True, True, True, True])
    assert class_weights(labels, kept, 4).tolist() == [2.0, 1.0, 1.0, 1.0]


# ---- The method ------------------------------------------------------------------------------------------------------


@dataclass
class FoldTask:
    """A task whose network says `believed` at every epoch, right on `accuracy` of the hold-out in that epoch."""

    labels: Tensor
    believed: list[Tensor]
    held_right: list[int] | None = None
    classes: int = 3
    epochs: int = 2
    now: int = 0
    states: dict[str, Tensor] = field(default_factory=dict)
    inferred: list[Tensor] = field(default_factory=list)

    @property
    def samples(self) -> int:
        return len(self.labels)

    @property
    def held_labels(self) -> Tensor:
        return torch.zeros(0 if self.held_right is None else 4, dtype=torch.int64)

    def infer_held(self, network: int = 0) -> Tensor:
        assert self.held_right is not None
        right = torch.arange(4) < self.held_right[self.now]
        return one_hot(torch.where(right, 0, 1), self.classes).float()

    def infer(self, network: int = 0, index: Any = None) -> Tensor:
        self.inferred.append(index)
        return self.believed[self.now][index].log()

    def state(self, name: str, tensor: Tensor) -> Tensor:
        self.states[name] = tensor.clone()
        return self.states[name]


def trained(task: FoldTask, **values: Any) -> Any:
    """The method after all its phases; only what it does between epochs is run."""
    method: Any = ConfidentLearning(folds=2, **values)
    method.start(task)
    for phase in method.phases():
        for epoch in range(phase.epochs):
            task.now = epoch
            method.passes(phase, epoch)
            method.end_epoch(phase, epoch)
    return method


def test_a_network_never_predicts_what_it_trained_on() -> None:
    labels = random_labels(3, 20, 3)
    task = FoldTask(labels, [random_probabilities(4, 20, 3)] * 2)
    method: Any = ConfidentLearning(folds=4)
    method.start(task)
    *folds, retrain = method.phases()
    assert [phase.name for phase in folds] == ["fold 1", "fold 2", "fold 3", "fold 4"]
    assert all(phase.initialise == (0,) and phase.epochs == task.epochs for phase in (*folds, retrain))
    seen = []
    for phase in folds:
        (work,) = method.passes(phase, 0)
        method.end_epoch(phase, phase.epochs - 1)
        assert sorted([*work.streams["all"].index.tolist(), *task.inferred[-1].tolist()]) == list(range(20))
        seen += task.inferred[-1].tolist()
    assert sorted(seen) == list(range(20))


def test_a_fold_is_predicted_at_its_best_epoch_on_the_noisy_hold_out_else_at_the_last() -> None:
    labels = random_labels(3, 20, 3)
    early, late = random_probabilities(4, 20, 3), random_probabilities(5, 20, 3)
    for held_right, expected in (([3, 2], early), ([2, 3], late), ([2, 2], early), (None, late)):
        method = trained(FoldTask(labels, [early, late], held_right))
        assert torch.allclose(method.probabilities, expected, atol=1e-6)


def test_pruned_labels_leave_training_and_the_scores_appear_when_the_folds_are_done() -> None:
    truth = random_labels(0, 60, 3)
    labels = truth.clone()
    labels[:9] = (labels[:9] + 1) % 3
    believed = (5.0 * one_hot(truth, 3)).softmax(dim=1)
    task = FoldTask(labels, [believed, believed])
    before: Any = ConfidentLearning(folds=2)
    before.start(task)
    assert before.clean_probability() is None and before.selected() is None
    method = trained(task)
    assert method.selected().tolist() == [False] * 9 + [True] * 51
    assert torch.allclose(method.clean_probability(), believed.gather(1, labels[:, None]).squeeze(1), atol=1e-6)
    (work,) = method.passes(method.phases()[-1], 0)
    assert work.streams["all"].index.tolist() == list(range(9, 60))
    assert torch.equal(method.weights, class_weights(labels, method.selected(), 3))
    assert torch.equal(trained(task, class_weights=False).weights, torch.ones(3))


def test_the_loss_is_cross_entropy_until_classes_weigh_differently() -> None:
    task = FoldTask(random_labels(3, 20, 3), [])
    method: Any = ConfidentLearning(folds=2)
    method.start(task)
    logits, index = torch.randn(20, 3, generator=torch.Generator().manual_seed(1)), torch.arange(20)
    step = SimpleNamespace(index=index, labels=task.labels, logits=lambda: logits)
    own = cross_entropy(logits, task.labels)
    assert torch.allclose(method.loss(step), own.mean())
    method.weights.copy_(torch.tensor([1.0, 2.0, 3.0]))
    weights = method.weights[task.labels]
    assert torch.allclose(method.loss(step), (weights * own).sum() / weights.sum())


def test_too_few_samples_for_the_folds_are_refused_with_what_to_type() -> None:
    def setting(samples: int) -> Setting:
        return Setting("digits", "sym", 0.4, 10, samples, (8, 8, 1), 30, 64, "none", frozenset())

    reason = ConfidentLearning(folds=5).unsuitable(setting(9))
    assert reason is not None and "--train-size 10" in reason
    assert ConfidentLearning(folds=5).unsuitable(setting(10)) is None
