"""Vectors on the device: batches, views, augmentation, and the same bits wherever they are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.models import build
from bench.models.flops import flops_per_image
from bench.spec.augmentations import canonical_augmentation, misfit_augmentation
from bench.system.errors import UsageError
from bench.training.augmentation import build_augmentation
from bench.training.images.image_sets import ImageSets
from bench.training.images.vector_store import VectorStore

CPU = torch.device("cpu")
VECTORS = np.random.Generator(np.random.PCG64(0)).normal(size=(40, 3, 5)).astype(np.float32)
MEAN, STD = [0.5] * 5, [2.0, 1.0, 0.5, 4.0, 1.0]


def store(vectors: np.ndarray = VECTORS) -> VectorStore:  # type: ignore[type-arg]
    return VectorStore(torch.from_numpy(vectors), MEAN, STD)


def test_a_batch_is_the_plain_view_normalised() -> None:
    index = torch.tensor([3, 0, 39])
    batch = store().plain(index)
    assert batch.shape == (3, 5, 1, 1) and batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last) and batch.is_contiguous()
    expected = (VECTORS[index.numpy(), 0] - np.array(MEAN)) / np.array(STD)
    assert torch.allclose(batch.flatten(1), torch.from_numpy(expected).float(), atol=1e-6)
    half = store(VECTORS.astype(np.float16)).plain(index)
    assert half.dtype == torch.float32 and torch.allclose(half, batch, atol=1e-2)


def test_the_view_step_takes_every_view_but_the_plain_one() -> None:
    step, index = build_augmentation("view"), torch.arange(40).repeat(20)
    draws = step.draws(len(index), (1, 1), torch.Generator().manual_seed(0))
    batch = step.apply(store(), index, draws).flatten(1)
    views = (torch.from_numpy(VECTORS[index.numpy()]) - torch.tensor(MEAN)) / torch.tensor(STD)
    found = (batch[:, None] - views).abs().amax(dim=2) < 1e-5
    assert found.sum(dim=1).eq(1).all() and not found[:, 0].any()
    assert 0.4 < float(found[:, 1].float().mean()) < 0.6
    last = {"view": torch.full_like(draws["view"], 1 - 2**-24)}
    assert torch.allclose(step.apply(store(), index, last).flatten(1), views[:, 2], atol=1e-5)


def test_dropout_sets_that_share_of_features_to_their_mean() -> None:
    vectors = np.full((2000, 1, 5), 9.0, np.float32)
    step = build_augmentation("dropout20")
    draws = step.draws(2000, (1, 1), torch.Generator().manual_seed(0))
    batch = step.apply(store(vectors), torch.arange(2000), draws).flatten(1)
    gone = batch == 0
    assert torch.allclose(gone.float().mean(dim=0), torch.full((5,), 0.2), atol=0.03)
    together = torch.corrcoef(gone.T.float())
    assert float((together - torch.eye(5)).abs().max()) < 0.1
    assert torch.equal(batch, step.apply(store(vectors), torch.arange(2000), draws).flatten(1))
    assert len(gone.unique(dim=0)) > 24  # of 32 sets of features, some of which are rare


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=12), st.sampled_from(["none", "view", "view+dropout20"]))
def test_every_place_gives_the_same_batches(rows: list[int], name: str) -> None:
    index, step = torch.tensor(rows), build_augmentation(name)
    draws = step.draws(len(rows), (1, 1), torch.Generator().manual_seed(1))
    batches = []
    for place in ("device", "host"):
        images = ImageSets({"train": VECTORS}, MEAN, STD, place).store("train", CPU)
        ((held, places),) = images.prefetch([index])
        batches.append(step.apply(held, places, draws))
        assert images.size == (1, 1) and images.channels == 5 and len(images) == 40
    assert torch.equal(*batches)


def test_vectors_from_disk_are_read_by_workers() -> None:
    images = ImageSets({"train": VECTORS}, MEAN, STD, "disk", workers=1)
    try:
        ((held, places),) = images.store("train", CPU).prefetch([torch.tensor([1, 7])])
        assert torch.equal(held.plain(places), store().plain(torch.tensor([1, 7])))
    finally:
        images.close()


@pytest.mark.parametrize(
    ("vectors", "mean", "message"),
    [
        (torch.zeros(4, 1, 5, dtype=torch.uint8), MEAN, "float16 or float32"),
        (torch.zeros(4, 5), MEAN, r"of shape \(4, 5\)"),
        (torch.zeros(4, 1, 5), MEAN[:4], "5 features, but the normalisation has 4 means"),
    ],
)
def test_what_does_not_fit_is_refused(vectors: torch.Tensor, mean: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VectorStore(vectors, mean, STD)


@pytest.mark.parametrize(
    ("name", "views", "reason"),
    [
        ("crop4+flip", 1, "crop is a step on images"),
        ("view", 1, "there is one of each vector"),
        ("dropout20", None, "dropout is a step on vectors"),
        ("view+dropout20", 4, None),
        ("none", 1, None),
        ("crop4+flip", None, None),
    ],
)
def test_an_augmentation_says_what_it_is_for(name: str, views: int | None, reason: str | None) -> None:
    found = misfit_augmentation(name, views)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_names_of_steps_on_vectors() -> None:
    assert canonical_augmentation("dropout20 + View") == "view+dropout20"
    for wrong in ("dropout", "dropout0", "dropout100", "view2"):
        with pytest.raises(UsageError):
            canonical_augmentation(wrong)


@pytest.mark.parametrize("length", [1, 3, 2000])
def test_models_take_vectors_of_any_length(length: int) -> None:
    for name, layers in (("mlp", ((length, 512), (512, 512), (512, 7))), ("linear", ((length, 7),))):
        model = build(name, num_classes=7, in_chans=length, image_size=(1, 1), seed=0)
        vectors = torch.randn(4, length, 1, 1)
        assert model(vectors).shape == (4, 7)
        assert model.forward_head(model.forward_features(vectors), pre_logits=True).shape == (4, layers[-1][0])
        forward, both = flops_per_image(name, (1, 1), length, 7)
        assert forward == sum(2 * inputs * outputs for inputs, outputs in layers)
        assert forward < both <= 3 * forward
