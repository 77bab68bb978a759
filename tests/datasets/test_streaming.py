"""Files decoded when they are asked for: the same data as decoded at once, without decoding to plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets import images, listing, streaming
from datasets.files import states
from datasets.folder import Folder
from datasets.image_file import decode, scan
from datasets.interface import Data, DataError, Options
from datasets.selected import select
from datasets.streaming import ImageFiles, outline, streamed
from datasets.table import Table

Save = Callable[..., None]


def both(folder: Path, options: Options, seed: int = 0) -> tuple[Data, Data]:
    """The table of a folder of photos, decoded at once and streamed."""
    path = str(folder / "index.csv")
    return Table(options, path).load(seed), Table(replace(options, stream=True), path).load(seed)


def assert_equal(one: Data, other: Data) -> None:
    assert one.description == other.description
    assert one.mean == other.mean and one.std == other.std, "normalisation is exact either way"
    for mine, theirs in ((one.train, other.train), (one.test, other.test)):
        assert np.array_equal(mine.labels, theirs.labels)
        assert mine.images.shape == theirs.images.shape
        assert np.array_equal(np.asarray(mine.images), np.asarray(theirs.images))
    assert {name: values.tolist() for name, values in one.columns.items()} == {
        name: values.tolist() for name, values in other.columns.items()
    }


@pytest.mark.parametrize("size", [None, 12, 9, 30])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_streamed_data_is_the_decoded_data(
    size: int | None, mode: str, photos: Path, options: Options, save: Save
) -> None:
    for path in (photos / "images").iterdir():
        save(path, int(path.stem), mode=mode)
    one, other = both(photos, replace(options, image_size=size))
    assert one.train.images.shape[3] == (1 if mode == "L" else 3)
    assert_equal(one, other)


def test_seeded_splits_and_jpegs(tmp_path: Path, options: Options, save: Save) -> None:
    for number in range(30):
        save(tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number:02}.jpg", number, (16, 11))
    for seed in (0, 3):
        decoded = Folder(options, str(tmp_path / "pets")).load(seed)
        assert_equal(decoded, Folder(replace(options, stream=True), str(tmp_path / "pets")).load(seed))


def test_one_colour_image_among_grey_ones(photos: Path, options: Options, save: Save) -> None:
    for number in range(29):
        save(photos / f"images/{number:02}.png", number, mode="L")
    one, other = both(photos, options)
    assert one.train.images.shape[3] == 3
    assert_equal(one, other)


def test_planning_decodes_nothing(photos: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Table(replace(options, cache=photos / "elsewhere"), str(photos / "index.csv")).load(0)
    monkeypatch.setattr(images, "decode", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(streaming, "decode", lambda *_: pytest.fail("decoded"))
    for stream in (False, True):
        data_set = Table(replace(options, stream=stream), str(photos / "index.csv"))
        found = data_set.outline(0)
        assert data_set.describe() == expected.description
        assert found.image_shape == (12, 12, 3) and found.test == 10
        assert np.array_equal(found.labels, expected.train.labels)
        assert {name: values.tolist() for name, values in found.columns.items()} == {
            name: values.tolist() for name, values in expected.columns.items()
        }


def test_the_shape_is_looked_up_once(photos: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Table(options, str(photos / "index.csv")).describe().image_shape == (12, 12, 3)
    monkeypatch.setattr(listing, "outline", lambda *_: pytest.fail("looked again"))
    assert Table(options, str(photos / "index.csv")).describe().image_shape == (12, 12, 3)
    with pytest.raises(pytest.fail.Exception):
        Table(replace(options, image_size=8), str(photos / "index.csv")).describe()


def test_files_are_gone_through_once(photos: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    stream = replace(options, stream=True, progress=lambda *report: seen.append(report))
    first = Table(stream, str(photos / "index.csv"))
    first.prepare()
    assert ("looking at images", 30, 30) in seen
    before = first.load(0)
    monkeypatch.setattr(streaming, "go_through", lambda *_: pytest.fail("went through again"))
    assert_equal(before, Table(stream, str(photos / "index.csv")).load(0))
    assert not list((options.cache or photos).glob("images/*")), "nothing decoded is kept"


@pytest.mark.parametrize("spoil", [lambda c: c[:-9], lambda c: b"", lambda c: c.replace(b"sums", b"sumz")])
def test_spoilt_sums_are_gathered_again(spoil: Callable[[bytes], bytes], photos: Path, options: Options) -> None:
    stream = replace(options, stream=True)
    before = Table(stream, str(photos / "index.csv")).load(0)
    assert options.cache is not None
    (kept,) = (options.cache / "sums").iterdir()
    kept.write_bytes(spoil(kept.read_bytes()))
    assert_equal(before, Table(stream, str(photos / "index.csv")).load(0))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("call", ["prepare", "describe", "outline", "load"])
def test_unreadable_files_are_named_all_at_once(stream: bool, call: str, photos: Path, options: Options) -> None:
    (photos / "images/03.png").write_bytes(b"nothing")
    (photos / "images/29.png").write_bytes(b"")
    data_set = Table(replace(options, stream=stream), str(photos / "index.csv"))
    arguments = (0,) if call in ("outline", "load") else ()
    with pytest.raises(DataError, match="2 of 30 images can't be read") as caught:
        getattr(data_set, call)(*arguments)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()[1:]] == ["images/03.png", "images/29.png"]


def test_a_file_cut_short_is_found_before_training(photos: Path, options: Options) -> None:
    whole = (photos / "images/03.png").read_bytes()
    (photos / "images/03.png").write_bytes(whole[: len(whole) // 2])
    data_set = Table(replace(options, stream=True), str(photos / "index.csv"))
    assert data_set.describe().image_shape == (12, 12, 3), "its beginning is whole"
    with pytest.raises(DataError, match=r"1 of 30 images can't be read.*\n.*03\.png"):
        data_set.prepare()


def test_sizes_that_differ_name_the_option(photos: Path, options: Options, save: Save) -> None:
    save(photos / "images/07.png", 1, (20, 10))
    data_set = Table(replace(options, stream=True), str(photos / "index.csv"))
    with pytest.raises(DataError, match=r"2 sizes; the first is 12 x 12.*--image-size 12"):
        data_set.describe()


@pytest.fixture
def files(tmp_path: Path, save: Save) -> list[str]:
    for number in range(5):
        save(tmp_path / f"ä {number}.png", number)
    return [str(tmp_path / f"ä {number}.png") for number in range(5)]


def test_indexing_is_an_arrays(files: Sequence[str]) -> None:
    images = ImageFiles(files, (12, 12, 3), None)
    whole = np.stack([np.asarray(Image.open(path)) for path in files])
    assert images.shape == whole.shape and images.dtype == whole.dtype and len(images) == 5
    assert [images.path(number) for number in range(5)] == list(files)
    for which in (
        np.array([3, 0, 3]),
        slice(1, 4),
        np.array([], dtype=np.int64),
        -1,
        np.array([True, False] * 2 + [True]),
    ):
        assert np.array_equal(images[which], whole[which])  # type: ignore[index]
    assert np.array_equal(np.asarray(select(select(images, np.array([4, 2, 1])), np.array([2, 0]))), whole[[1, 4]])


def test_another_image_of_the_same_shape_is_named_too(files: Sequence[str], options: Options, save: Save) -> None:
    images, _ = streamed(files, str, "c" * 64, options, states(files)[0])
    before = images[np.array([1])]
    save(Path(files[1]), 77)
    os.utime(files[1], (1, 1))
    assert images[np.array([0, 2])].shape == (2, 12, 12, 3)
    with pytest.raises(DataError, match=r"1\.png has changed since"):
        images[np.array([1])]
    assert before.any()


@pytest.mark.parametrize("change", ["gone", "broken", "larger", "colour"])
def test_a_file_that_changes_later_is_named(change: str, tmp_path: Path, options: Options, save: Save) -> None:
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, path in enumerate(paths):
        save(Path(path), number, mode="L")
    images, _ = streamed(paths, str, "c" * 64, options)
    if change == "gone":
        Path(paths[1]).unlink()
    elif change == "broken":
        Path(paths[1]).write_bytes(b"nothing")
    else:
        save(Path(paths[1]), 1, (13, 12) if change == "larger" else (12, 12), mode="L" if change == "larger" else "RGB")
    words = "can't be read: .* put it back" if change in ("gone", "broken") else "has changed since"
    with pytest.raises(DataError, match=rf"1\.png {words}"):
        images[np.arange(3)]
    assert images[np.array([0, 2])].shape == (2, 12, 12, 1)


def turned(orientation: int) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


KINDS: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    f"{mode} {suffix}": (Image.new("RGB", (6, 4), (9, 200, 30)).convert(mode), suffix, {})
    for mode, suffix in [
        ("RGB", "png"),
        ("RGBA", "png"),
        ("L", "jpg"),
        ("RGB", "jpg"),
        ("CMYK", "jpg"),
        ("LA", "png"),
        ("1", "png"),
        ("P", "gif"),
        ("P", "png"),
        ("RGB", "webp"),
        ("L", "tiff"),
        ("CMYK", "tiff"),
        ("RGB", "bmp"),
        ("L", "pgm"),
    ]
}
KINDS["I;16 png"] = (Image.fromarray(np.arange(24, dtype=np.uint16).reshape(4, 6) * 999), "png", {})
KINDS["grey palette"] = (Image.new("L", (6, 4), 7).convert("P"), "png", {})
KINDS |= {
    f"turned {orientation} {suffix}": (Image.new("RGB", (6, 4), (1, 2, 3)), suffix, turned(orientation))
    for orientation in (1, 3, 5, 6, 8)
    for suffix in ("jpg", "png", "tiff", "webp")
}


@pytest.mark.parametrize(("image", "suffix", "options"), KINDS.values(), ids=KINDS)
def test_the_head_of_a_file_tells_what_decoding_gives(
    image: Image.Image, suffix: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = str(tmp_path / f"a.{suffix}")
    image.save(path, **options)
    pixels, grey = decode(path, None)
    assert scan(path) == (pixels.shape[:2], grey, False)
    assert outline([path, path], None) == ((*pixels.shape[:2], 1 if grey else 3), [])
    assert outline([path], 5) == ((5, 5, 1 if grey else 3), [])
