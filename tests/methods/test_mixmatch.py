"""The pieces of DivideMix that other methods may share: the split, targets, and the loss of a mix."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from methods.pieces import mixmatch
from methods.pieces.mixing import uniform_prior_penalty

torch.set_num_threads(1)

CLASSES = 4
PROBABILITIES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30).map(torch.tensor)


@given(PROBABILITIES, st.floats(0, 0.99))
def test_labelled_and_unlabelled_partition_the_set(clean: Tensor, threshold: float) -> None:
    labelled, unlabelled = mixmatch.split(clean, threshold)
    assert sorted([*labelled.tolist(), *unlabelled.tolist()]) == list(range(len(clean)))
    assert (clean[labelled] > threshold).all() and (clean[unlabelled] <= threshold).all()


@given(PROBABILITIES, st.floats(0, 0.99), st.integers(2, 9))
def test_every_stream_can_make_a_batch(clean: Tensor, threshold: float, size: int) -> None:
    streams = mixmatch.split_streams(clean, threshold, size)
    labelled, unlabelled = mixmatch.split(clean, threshold)
    assert next(iter(streams)) == "labelled"
    index = streams["labelled"].index
    assert index is not None and len(index) >= min(2, len(clean))
    if len(labelled) >= 2:
        assert torch.equal(index, labelled)
    else:
        assert len(index) == min(size, len(clean))
        assert float(clean[index].min()) >= float(clean.topk(len(index)).values.min())
    assert ("unlabelled" in streams) == (len(unlabelled) >= 2)
    assert all(stream.batch == size and stream.views == ("weak", "weak") for stream in streams.values())


@given(st.integers(0, 50), st.sampled_from([0.1, 0.5, 1.0, 3.0]))
def test_a_label_that_is_surely_clean_is_refined_to_itself(seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    predictions = (5 * torch.randn(2, 6, CLASSES, generator=generator)).softmax(dim=2)
    labels = torch.randint(CLASSES, (6,), generator=generator)
    refined = mixmatch.refined_labels(labels, torch.ones(6), predictions, temperature)
    assert torch.allclose(refined, nn.functional.one_hot(labels, CLASSES).float(), atol=1e-6)
    doubted = mixmatch.refined_labels(labels, torch.zeros(6), predictions, temperature)
    assert torch.allclose(doubted, mixmatch.guessed_labels(predictions, temperature))
    assert torch.allclose(doubted.sum(dim=1), torch.ones(6), atol=1e-5)


@given(st.permutations(range(CLASSES)), st.integers(0, 20))
def test_naming_the_classes_otherwise_changes_nothing(order: Sequence[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(10, CLASSES, generator=generator)
    targets = torch.randn(10, CLASSES, generator=generator).softmax(dim=1)
    shuffled = torch.tensor(order)
    plain = mixmatch.loss(logits, targets, 6, 25.0) + uniform_prior_penalty(logits)
    renamed = mixmatch.loss(logits[:, shuffled], targets[:, shuffled], 6, 25.0)
    assert torch.allclose(plain, renamed + uniform_prior_penalty(logits[:, shuffled]), atol=1e-4)


@given(st.integers(0, 100), st.floats(0.1, 60))
def test_the_uniform_prior_never_rewards(seed: int, scale: float) -> None:
    logits = scale * torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(seed))
    assert float(uniform_prior_penalty(logits)) >= -1e-6
    assert float(uniform_prior_penalty(torch.zeros(5, CLASSES))) == pytest.approx(0, abs=1e-6)
