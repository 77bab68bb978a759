"""Images on the device, in memory and on disk: the same batches from each, and processes that end with the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.training.augmentation import build_augmentation, padding_and_flips
from bench.training.batch_loader import BatchLoader
from bench.training.images import decoder_workers
from bench.training.images.image_sets import ImageSets
from bench.training.images.image_store import Images, ImageStore
from bench.training.inference import EvaluationSet
from bench.training.noisy_data import build_noisy_data, build_trainer
from bench.training.outcome import Interrupted
from bench.training.run import run_spec
from datasets.interface import DataError
from datasets.selected import Selected, select
from datasets.streaming import ImageFiles
from methods.interface import Pass, Stream

CPU = torch.device("cpu")
ELSEWHERE = ["host", "disk"]
SAMPLES = 23
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def pixels(samples: int = SAMPLES) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(0)).integers(0, 256, (samples, 9, 7, 3), dtype=np.uint8)


class Noted(Selected):
    """A selection that notes what it is asked for."""

    def __init__(self, source: Any, index: np.ndarray) -> None:
        super().__init__(source, index)
        self.asked: list[int] = []

    def __getitem__(self, which: Any, /) -> np.ndarray:
        self.asked.extend(self.index[which].tolist())
        return super().__getitem__(which)


def gallery(placement: str, **parts: Any) -> ImageSets:
    return ImageSets(parts or {"train": pixels()}, MEAN, STD, placement, workers=2)


def fetched(images: Images, batches: list[list[int]]) -> list[Tensor]:
    """The plain images of each batch."""
    return [store.plain(places) for store, places in images.prefetch(torch.tensor(batch) for batch in batches)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three images, so that batches are put together from several."""
    monkeypatch.setattr(decoder_workers, "CHUNK_BYTES", 3 * 9 * 7 * 3)


def children() -> set[int]:
    """The processes that this one has started and that still run."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


@given(st.lists(st.lists(st.integers(0, SAMPLES - 1), min_size=1, max_size=12), max_size=4))
def test_host_hands_over_what_the_device_does(batches: list[list[int]]) -> None:
    expected = fetched(gallery("device").store("train", CPU, *padding_and_flips("crop2+flip")), batches)
    got = fetched(gallery("host").store("train", CPU, *padding_and_flips("crop2+flip")), batches)
    assert len(got) == len(expected) and all(map(torch.equal, got, expected))


@pytest.mark.parametrize("placement", ELSEWHERE)
def test_selections_repeats_and_several_parts(placement: str) -> None:
    parts = {"train": select(pixels(), np.array([20, 1, 4, 7, 9, 3])), "held": select(pixels(), np.array([0, 2]))}
    batches = [[5, 5, 0, 1, 2], [4], [3, 3]]
    with closing(gallery(placement, **parts)) as there, closing(gallery("device", **parts)) as here:
        for _ in range(2):
            for part, asked in (("train", batches), ("held", [[1, 0]])):
                got, expected = (fetched(each.store(part, CPU), asked) for each in (there, here))
                assert all(map(torch.equal, got, expected)) and len(got) == len(asked)


@pytest.mark.parametrize("placement", ELSEWHERE)
def test_two_readings_at_once_and_one_that_is_left(placement: str) -> None:
    with closing(gallery(placement)) as images:
        store = images.store("train", CPU)
        first = store.prefetch(torch.tensor([n, n + 1]) for n in range(20))
        second = store.prefetch(torch.tensor([n]) for n in range(20))
        for number in range(3):
            assert torch.equal(next(first)[0].images[0], torch.from_numpy(pixels()[number]))
            assert torch.equal(next(second)[0].images[0], torch.from_numpy(pixels()[number]))
        first.close()  # type: ignore[attr-defined]
        assert torch.equal(next(store.prefetch([torch.tensor([9])]))[0].images[0], torch.from_numpy(pixels()[9]))
        assert torch.equal(next(second)[0].images[0], torch.from_numpy(pixels()[3]))


def views(store: Images) -> Iterator[list[Tensor]]:
    """Every tensor of an epoch's steps with streams of different lengths, one beside another."""
    augmentations = {"weak": build_augmentation("crop2+flip"), "strong": build_augmentation("crop1+flip+cutout")}
    labels = torch.arange(SAMPLES) % 3
    streams = {
        "all": Stream(views=("weak", "strong", "none")),
        "few": Stream(index=torch.arange(5), order="class-balanced", batch=3),
        "beside": Stream(index=torch.arange(SAMPLES).flip(0), beside="all"),
    }
    feeder = BatchLoader(store, labels, 3, augmentations, batch_size=4, seed=5)
    for step in feeder.steps(Pass(streams), [], "train", (0, 0, 0)):
        for batch in step.streams.values():
            yield [batch.index, batch.labels, *batch.views]


@pytest.mark.parametrize("placement", ELSEWHERE)
def test_augmented_streams_are_equal_bit_for_bit(placement: str) -> None:
    expected = list(views(gallery("device").store("train", CPU, *padding_and_flips("crop2+flip"))))
    with closing(gallery(placement)) as images:
        got = list(views(images.store("train", CPU, *padding_and_flips("crop2+flip"))))
    assert len(got) == len(expected) > 10
    for ours, theirs in zip(got, expected, strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_each_image_is_read_once_for_all_views() -> None:
    source = Noted(pixels(), np.arange(SAMPLES))
    read = decoder_workers.PartSources([source])
    store = gallery("disk").store("train", CPU, *padding_and_flips("crop2+flip"))
    store._read = lambda indices: (read[0, index.numpy()] for index in indices)  # type: ignore[attr-defined]
    assert len(list(views(store))) > 0
    # two of the three streams go through all images, the third starts anew where it ends
    assert len(source.asked) == 2 * SAMPLES + 3 * 3 + 3 * 2


@pytest.mark.parametrize("placement", ELSEWHERE)
def test_whole_sets_in_order(placement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.training.inference.CACHE_BYTES", 0)
    monkeypatch.setattr("bench.training.inference.INFERENCE_BATCH", {"cpu": 5})
    with closing(gallery(placement)) as images:
        seen = EvaluationSet(images.store("train", CPU))
        expected = EvaluationSet(gallery("device").store("train", CPU))
        assert len(list(seen.batches())) == 5
        assert torch.equal(seen.apply(torch.clone), expected.apply(torch.clone))


def test_the_device_holds_one_padded_copy() -> None:
    store = gallery("device").store("train", CPU, *padding_and_flips("crop3"))
    assert isinstance(store, ImageStore) and store.images.shape == (SAMPLES, 15, 13, 3)
    assert torch.equal(store.centre(torch.arange(SAMPLES)), torch.from_numpy(pixels()))
    assert int(store.images.sum()) == int(pixels().sum())


def test_a_processor_keeps_mirror_images_of_what_is_flipped_and_not_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    store = gallery("device").store("train", CPU, *padding_and_flips("crop3+flip"))
    assert isinstance(store, ImageStore) and store.mirrored and len(store) == SAMPLES
    everyone = torch.arange(SAMPLES)
    assert torch.equal(store.centre(everyone, everyone % 2 == 0)[::2], torch.from_numpy(pixels()[::2, :, ::-1].copy()))
    monkeypatch.setattr("bench.training.images.image_store.MIRRORED_BYTES", SAMPLES * 15 * 13 * 3 - 1)
    plain = gallery("device").store("train", CPU, *padding_and_flips("crop3+flip"))
    assert isinstance(plain, ImageStore) and not plain.mirrored


def jpegs(folder: Path, count: int = 12) -> list[str]:
    for number in range(count):
        Image.fromarray(pixels()[number]).save(folder / f"{number}.jpg")
    return [str(folder / f"{number}.jpg") for number in range(count)]


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    paths = jpegs(tmp_path)
    with closing(gallery("disk", train=ImageFiles(paths, (9, 7, 3), None))) as images:
        store = images.store("train", CPU)
        assert len(fetched(store, [[0, 5, 3]])[0]) == 3
        Path(paths[5]).unlink()
        with pytest.raises(DataError, match=r"5\.jpg can't be read: .*No such file.*run the same command again"):
            fetched(store, [[0, 1], [2, 5, 3]])
        assert len(fetched(store, [[0, 4]])[0]) == 2, "the others are still read"


def test_a_worker_that_is_killed_is_a_clear_failure(tmp_path: Path) -> None:
    with closing(gallery("disk")) as images:
        store = images.store("train", CPU)
        before = children()
        reading = store.prefetch(torch.tensor([number % SAMPLES] * 3) for number in range(1000))
        next(reading)
        for child in children() - before:
            os.kill(child, 9)
        with pytest.raises(RuntimeError, match=r"a process that reads images ended .* fewer --jobs"):
            list(reading)


def test_closing_leaves_no_process_behind() -> None:
    before = children()
    images = gallery("disk")
    store = images.store("train", CPU)
    reading = store.prefetch(torch.tensor([0, 1, 2, 3]) for _ in range(1000))
    next(reading)
    assert children() - before
    images.close()
    assert not children() - before


def tiny(epochs: int) -> RunSpec:
    return RunSpec(
        method="ce",
        data_set="synthetic[classes=4,size=8,train=80,test=24]",
        data_sha256="tiny",
        noise="sym",
        rate=0.4,
        model="cnn-small",
        augmentation="crop1+flip",
        epochs=epochs,
        batch_size=16,
        learning_rate=0.05,
    )


@pytest.mark.parametrize("placement", ELSEWHERE)
def test_stopped_in_an_epoch_and_resumed(placement: str, tmp_path: Path) -> None:
    """The record is the device's, whatever was stopped where, and no process outlives its run."""
    spec = tiny(epochs=3)
    device = Runtime(data_source=spec.data_set, noise_source="sym", cache=str(tmp_path), checkpoint_seconds=0.0)
    elsewhere = device.model_copy(update={"images": placement})
    records, before = [], children()
    for runtime, stop_at in ((device, 1000), (elsewhere, 1000), (elsewhere, 7)):
        store = Store(tmp_path / f"{runtime.images} {stop_at}")
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return asked > stop_at  # noqa: B023

        if stop_at < 1000:
            with pytest.raises(Interrupted):
                run_spec(spec, runtime, store, lambda done, total: None, stop)
            assert not children() - before
        run_spec(spec, runtime, store, lambda done, total: None)
        assert not children() - before
        record = store.read(spec.run_id)
        assert record is not None and record.pop("provenance")["images"] == runtime.images
        records.append(record)
    assert records[0] == records[1] == records[2]


@pytest.mark.parametrize("placement", ELSEWHERE)
def test_inference_is_equal_with_views_and_without(placement: str, tmp_path: Path) -> None:
    spec = tiny(epochs=1)
    answers = []
    for where in ("device", placement):
        runtime = Runtime(data_source=spec.data_set, noise_source="sym", cache=str(tmp_path), images=where)
        with closing((problem := build_noisy_data(spec, runtime)).images):
            task = build_trainer(problem, spec, CPU).task
            index = torch.tensor([5, 1, 1, 40])
            answers.append([task.infer(), task.infer(0, "weak"), task.infer(0, "none", index), task.infer_held()])
    assert all(map(torch.equal, *answers))


def test_random_numbers_of_others_are_left_alone() -> None:
    state = torch.get_rng_state()
    with closing(gallery("disk")) as images:
        fetched(images.store("train", CPU), [[1, 2], [3]])
    assert torch.equal(torch.get_rng_state(), state)
