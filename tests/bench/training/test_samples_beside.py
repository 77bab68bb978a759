"""Streams that stand beside another: what comes along with each sample of a batch."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from bench.spec import RunSpec, Runtime
from bench.training.augmentation import build_augmentation
from bench.training.batch_loader import BatchLoader
from bench.training.images.image_store import ImageStore
from bench.training.noisy_data import build_noisy_data, build_trainer
from bench.training.trainer import Trainer
from methods.interface import Pass, Stream

SAMPLES = 11


def feeder() -> BatchLoader:
    """Image i is filled with the value i, so that an image tells which it is."""
    images = torch.arange(SAMPLES, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 6, 6, 1).contiguous()
    store = ImageStore(images, [0.0], [1 / 255], pad=1)
    labels = torch.arange(SAMPLES) % 3
    augmentations = {"weak": build_augmentation("crop1"), "strong": build_augmentation("crop1")}
    return BatchLoader(store, labels, 3, augmentations, batch_size=4, seed=5)


def steps_of(**streams: Stream) -> list:
    return list(feeder().steps(Pass(streams), [], "train", (0, 2, 0)))


@pytest.mark.parametrize("order", ["shuffled", "given"])
def test_each_sample_brings_the_one_that_its_index_names_with_label_and_image(order: str) -> None:
    partner = torch.tensor([3, 3, 0, 10, 5, 4, 6, 1, 9, 8, 2])
    alone = steps_of(all=Stream(order=order))  # type: ignore[arg-type]
    steps = steps_of(all=Stream(order=order), other=Stream(index=partner, beside="all", views=("none", "weak")))  # type: ignore[arg-type]
    assert [len(step.index) for step in steps] == [4, 4, 3]
    for step, before in zip(steps, alone, strict=True):
        beside = step.streams["other"]
        assert torch.equal(step.index, before.index), "the leader's order changed"
        assert torch.equal(step.streams["all"].views[0], before.streams["all"].views[0])
        assert torch.equal(beside.index, partner[step.index])
        assert torch.equal(beside.labels, partner[step.index] % 3)
        plain, weak = beside.views
        assert torch.allclose(plain.flatten(1).mean(dim=1), beside.index.float(), atol=1e-4)
        assert torch.allclose(weak.flatten(1).amax(dim=1), beside.index.float(), atol=1e-4)


def test_a_view_beside_has_draws_of_its_own_and_repeats() -> None:
    streams = {"all": Stream(), "other": Stream(index=torch.arange(SAMPLES), beside="all")}
    first, again = steps_of(**streams), steps_of(**streams)
    same = [
        torch.equal(a.streams["other"].views[0], b.streams["other"].views[0]) for a, b in zip(first, again, strict=True)
    ]
    assert all(same)
    own = [torch.equal(step.streams["all"].views[0], step.streams["other"].views[0]) for step in first]
    assert not all(own)


def test_it_follows_a_leader_that_starts_anew_and_one_with_fewer_samples() -> None:
    partner = torch.arange(SAMPLES).flip(0)
    streams = {
        "all": Stream(),
        "few": Stream(index=torch.tensor([1, 7, 8]), batch=2),
        "other": Stream(index=partner, beside="few"),
    }
    for step in steps_of(**streams):
        assert set(step.streams["few"].index.tolist()) <= {1, 7, 8}
        assert torch.equal(step.streams["other"].index, partner[step.streams["few"].index])
    # the first stream may itself stand beside one: its leader sets the steps
    assert len(steps_of(other=Stream(index=partner, beside="few"), few=streams["few"])) == 1


@pytest.mark.parametrize(
    ("streams", "says"),
    [
        ({"other": Stream(index=torch.arange(SAMPLES), beside="all")}, "no stream with an order"),
        ({"all": Stream(), "other": Stream(beside="all")}, "needs an index"),
        ({"all": Stream(), "other": Stream(index=torch.arange(3), beside="all")}, "needs an index"),
        (
            {
                "all": Stream(),
                "other": Stream(index=torch.arange(SAMPLES), beside="all"),
                "third": Stream(index=torch.arange(SAMPLES), beside="other"),
            },
            "no stream with an order",
        ),
        (
            {"all": Stream(), "other": Stream(index=torch.arange(SAMPLES), beside="all", views=("bright",))},
            "asks for a view",
        ),
    ],
)
def test_what_can_not_stand_beside_is_refused(streams: dict[str, Stream], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        steps_of(**streams)


DATA = "synthetic[classes=4,size=8,train=80,test=24]"


def mixing(tmp_path: Path) -> Trainer:
    """MixNN with neighbours from the whole set, which come along by streams beside the batch."""
    spec = RunSpec(
        method="mixnn",
        parameters={"scope": "bank", "neighbours": 2},
        data_set=DATA,
        data_sha256="tiny",
        noise="sym",
        rate=0.4,
        model="cnn-small",
        augmentation="crop1",
        epochs=5,
        batch_size=32,
        learning_rate=0.05,
        precision="fp32",
    )
    runtime = Runtime(data_source=DATA, noise_source="sym", cache=str(tmp_path), threads=1)
    return build_trainer(build_noisy_data(spec, runtime), spec, torch.device("cpu"))


def test_a_run_stopped_while_neighbours_come_along_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole, torn = mixing(tmp_path), mixing(tmp_path)
    assert [done.number for done in whole.epochs()] == [1, 2, 3, 4, 5]
    assert whole.method.effective["correction_start"] < 4
    epochs = torn.epochs()
    while next(epochs).number < 4:
        pass
    kept = copy.deepcopy(torn.state())
    again = mixing(tmp_path)
    again.load_state(kept)
    assert [done.number for done in again.epochs()] == [5]
    expected, got = whole.state(), again.state()
    for name, values in expected["states"].items():
        assert torch.equal(values, got["states"][name]), name
    for name, values in expected["networks"][0].items():
        assert torch.equal(values, got["networks"][0][name]), name
    found = got["states"]["neighbours"]
    assert not (found == torch.arange(len(found)).unsqueeze(1)).any()
