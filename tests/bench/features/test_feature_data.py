"""Features in the place of images: what stands where, what is made once, and what comes out however it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.features import block_files, extraction
from bench.features.backbone import measure_length
from bench.features.components import fit_components
from bench.features.feature_data import FeatureOrigin, with_features
from bench.models.weights import load_weights
from bench.spec.features import FeatureSettings
from bench.system.errors import UsageError
from bench.system.files import file_hash
from datasets.interface import Data, Description, Part
from datasets.protocols import protocol
from datasets.selected import select

TINY = "test_resnet"
SIZE = 32


def images(count: int, channels: int = 3) -> NDArray[np.uint8]:
    random = np.random.Generator(np.random.PCG64(count))
    return random.integers(0, 256, (count, 20, 20, channels), dtype=np.uint8)


def data_of(pixels: NDArray[np.uint8], seeded: bool, train: list[int], test: list[int]) -> Data:
    """A data set with these rows for training and testing; `seeded`: a split of one list."""
    shape = (20, 20, pixels.shape[3])
    description = Description(
        "photos", ("a", "b"), shape, len(train), len(test), protocol(shape, 2), seeded_split=seeded
    )
    rows = [np.array(part, dtype=np.int64) for part in (train, test)]
    parts = [Part(select(pixels, index) if seeded else pixels[index], index % 2) for index in rows]
    return Data(description, *parts, (0.5,) * shape[2], (0.2,) * shape[2])


@pytest.fixture
def origin(tiny_weights: Path, tmp_path: Path) -> FeatureOrigin:
    sha256 = file_hash(tiny_weights)
    assert sha256 is not None
    chosen = FeatureSettings(f"timm:{TINY}", sha256, SIZE, 3, None, "fp32")
    length = measure_length(TINY, SIZE)
    return FeatureOrigin(chosen, lambda: tiny_weights, length, "d" * 64, None, 0, 0, cache=tmp_path / "cache")


def forbid() -> Path:
    raise AssertionError("features that are there need no weights")


def test_the_plain_view_is_what_the_backbone_says_of_the_image(origin: FeatureOrigin) -> None:
    pixels = images(12)
    made = with_features(data_of(pixels, False, [*range(9)], [*range(9, 12)]), origin)
    model = timm.create_model(TINY, num_classes=0).eval()
    model.load_state_dict({k: v for k, v in load_weights(origin.weights()).items() if not k.startswith("fc.")})
    config: Any = model.pretrained_cfg
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(pixels).permute(0, 3, 1, 2), (SIZE, SIZE), mode="bicubic", antialias=True
    )
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    with torch.inference_mode():
        expected = model((scaled / 255 - mean) / std).numpy()
    assert made.train.images.shape == (9, 3, origin.length) and made.test.images.shape == (3, 1, origin.length)
    assert made.train.images.dtype == np.float16
    found = np.concatenate([part.images[np.arange(len(part))][:, 0] for part in (made.train, made.test)])
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    shape = made.description.vectors
    assert shape is not None and (shape.length, shape.views, shape.value_bytes) == (origin.length, 3, 2)
    assert made.description.protocol.model == "mlp" and made.description.image_shape is None
    np.testing.assert_allclose(made.mean, found[:9].astype(np.float64).mean(0), rtol=1e-6, atol=1e-9)
    # the views beside it are others
    views = made.train.images[np.arange(9)]
    assert not np.array_equal(views[:, 0], views[:, 1]) and not np.array_equal(views[:, 1], views[:, 2])


def test_what_is_there_is_opened_and_everything_that_changes_it_makes_another(origin: FeatureOrigin) -> None:
    data = data_of(images(6), False, [0, 1, 2, 3], [4, 5])
    first = with_features(data, origin)
    again = with_features(data, replace(origin, weights=forbid, check=True))
    assert np.array_equal(first.train.images[np.arange(4)], again.train.images[np.arange(4)])
    changes: list[dict[str, Any]] = [
        {"data_sha256": "e" * 64},
        {"image_size": 20},
        {"unreadable_skipped": 1},
        *(
            {"settings": replace(origin.settings, **change)}
            for change in (
                {"weights_sha256": "f" * 64},
                {"size": 40},
                {"views": 2},
                {"precision": "bf16"},
            )
        ),
    ]
    for change in changes:
        with pytest.raises(AssertionError, match="need no weights"):
            with_features(data, replace(origin, weights=forbid, **change))


def test_seeded_splits_of_one_list_are_extracted_once(origin: FeatureOrigin) -> None:
    pixels = images(10)
    first = with_features(data_of(pixels, True, [0, 1, 2, 3, 4, 5, 6], [7, 8, 9]), origin)
    other = data_of(pixels, True, [9, 8, 7, 6, 5, 4, 3], [0, 1, 2])
    second = with_features(other, replace(origin, split_seed=1, weights=forbid))
    assert np.array_equal(first.test.images[np.arange(3)], second.train.images[np.array([2, 1, 0])][:, :1])
    assert second.test.images.shape[1] == 1


def test_grey_images_and_files_that_are_read_when_asked_for_give_the_same(origin: FeatureOrigin) -> None:
    class Files:
        """Images that are made when they are asked for."""

        dtype = np.dtype(np.uint8)
        shape = (6, 20, 20, 1)

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
            return images(6, 1)[index]

    data = data_of(images(6, 1), False, [*range(6)], [0])
    first = with_features(data, origin)
    streamed = replace(data, train=replace(data.train, images=Files()))
    second = with_features(streamed, replace(origin, data_sha256="e" * 64, readers=3))
    assert np.array_equal(first.train.images[np.arange(6)], second.train.images[np.arange(6)])
    coloured = data_of(np.repeat(images(6, 1), 3, axis=3), False, [*range(6)], [0])
    third = with_features(coloured, replace(origin, data_sha256="f" * 64))
    assert np.array_equal(first.train.images[np.arange(6)], third.train.images[np.arange(6)])
    with pytest.raises(UsageError, match="grey or have three colours"):
        with_features(data_of(images(6, 2), False, [*range(6)], [0]), replace(origin, data_sha256="0" * 64))


def test_an_extraction_that_was_killed_goes_on_to_the_same_features(
    origin: FeatureOrigin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.features.feature_files.BLOCK_VIEWS", 6)
    data = data_of(images(9), False, [*range(7)], [7, 8])
    whole = with_features(data, replace(origin, cache=tmp_path / "other"))
    features_of: Callable[..., Any] = extraction.Extraction.features_of
    made: list[Any] = []

    def killed(self: Any, block: Any, following: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(block)
        return features_of(self, block, following)

    with monkeypatch.context() as patch:
        patch.setattr(extraction.Extraction, "features_of", killed)
        with pytest.raises(KeyboardInterrupt):
            with_features(data, origin)
    shown: list[int] = []
    looks: list[int] = []
    written = block_files.BlockFiles.written

    def look(self: Any) -> Any:
        looks.append(1)
        return written(self)

    monkeypatch.setattr(block_files.BlockFiles, "written", look)
    resumed = with_features(data, replace(origin, progress=lambda what, done, total: shown.append(done)))
    assert shown == [4, 6, 7, 9]
    assert len(looks) <= 4  # however many blocks there are
    assert np.array_equal(whole.train.images[np.arange(7)], resumed.train.images[np.arange(7)])
    # and a damaged file is mended, with a word
    (file,) = (tmp_path / "cache").glob("features/*/train.f16")
    file.write_bytes(b"\1" + file.read_bytes()[1:])
    mended = with_features(data, replace(origin, check=True))
    assert np.array_equal(whole.train.images[np.arange(7)], mended.train.images[np.arange(7)])
    assert "note: 1 of 5 blocks of the features in" in capsys.readouterr().err


def test_components_of_a_data_set_are_kept_and_keep_their_proportions(origin: FeatureOrigin) -> None:
    data = data_of(images(30), False, [*range(24)], [*range(24, 30)])
    plain = with_features(data, origin)
    reduced = replace(origin, settings=replace(origin.settings, components=4))
    made = with_features(data, replace(reduced, weights=forbid))
    assert made.train.images.shape == (24, 3, 4) and made.test.images.shape == (6, 1, 4)
    assert len(set(made.std)) == 1
    values = made.train.images[np.arange(24)][:, 0].astype(np.float64)
    assert (np.diff(values.var(0)) < 0).all()
    fitted = fit_components(plain.train.images.source, np.arange(24), 4)  # type: ignore[attr-defined]
    expected = fitted.project(plain.test.images[np.arange(6)])
    assert np.array_equal(made.test.images[np.arange(6)], expected)
    with pytest.raises(ValueError, match="--feature-components 40 is more than there can be: 24 training images"):
        with_features(data, replace(origin, settings=replace(origin.settings, components=40)))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5))
def test_components_are_orthonormal_ordered_and_have_one_sign(seed: int, count: int) -> None:
    random = np.random.Generator(np.random.PCG64(seed))
    features = (random.normal(size=(40, 2, 6)) @ random.normal(size=(6, 6))).astype(np.float16)
    index = random.permutation(40)[:30]
    fitted = fit_components(features, index, count)
    directions = fitted.directions.astype(np.float64)
    np.testing.assert_allclose(directions.T @ directions, np.eye(count), atol=1e-5)
    plain = features[index][:, 0].astype(np.float64)
    singular = np.linalg.svd(plain - plain.mean(0), compute_uv=False)[:count]
    np.testing.assert_allclose(np.linalg.norm((plain - plain.mean(0)) @ directions, axis=0), singular, rtol=1e-3)
    assert (directions[np.abs(directions).argmax(0), np.arange(count)] > 0).all()
    # the order of the samples is no matter, and neither are other views
    again = fit_components(np.concatenate([features[:, :1], features[:, :1]], axis=1), index[::-1].copy(), count)
    np.testing.assert_allclose(again.directions, fitted.directions, atol=2e-2)


def test_features_that_are_no_numbers_are_refused(origin: FeatureOrigin, tmp_path: Path) -> None:
    state = load_weights(origin.weights())
    state["conv1.0.weight"][:] = torch.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(UsageError, match="aren't finite numbers"):
        with_features(data_of(images(4), False, [0, 1], [2, 3]), replace(origin, weights=lambda: tmp_path / "nan.pth"))


def test_a_size_that_the_backbone_cannot_take_is_refused_with_one_that_it_can() -> None:
    with pytest.raises(UsageError, match=r"can't take images of 8 x 8 pixels; .* give --feature-size \d+ or another"):
        measure_length("test_vit", 8)
