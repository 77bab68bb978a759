"""Decoding of image files: every kind of pixel, and a cache that two processes may build and nobody can spoil."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.arrays import channel_statistics, resized
from datasets.image_file import decode
from datasets.images import decoded, drop_damaged
from datasets.interface import DataError, Options

Save = Callable[..., None]
RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17


def files(folder: Path, save: Save, count: int = 5, mode: str = "RGB") -> list[str]:
    """Images in a folder."""
    for number in range(count):
        save(folder / f"{number}.png", number, mode=mode)
    return [str(folder / f"{number}.png") for number in range(count)]


def read(paths: Sequence[str], options: Options, content: str = "c" * 64) -> np.ndarray:
    """`decoded`, with files called by their names."""
    return decoded(paths, lambda number: f"row {number}: {Path(paths[number]).name}", content, options)


def test_pixels_come_back_and_are_memory_mapped(tmp_path: Path, options: Options, save: Save) -> None:
    paths = files(tmp_path, save, 300)
    images = read(paths, options)
    assert images.shape == (300, 12, 12, 3) and not images.flags.writeable
    for number in (0, 127, 128, 299):
        assert np.array_equal(images[number], np.asarray(Image.open(paths[number])))
    base = images
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base  # type: ignore[assignment]
    assert isinstance(base, np.memmap)


def test_all_grey_stays_one_channel_and_one_colour_image_makes_three(
    tmp_path: Path, options: Options, save: Save
) -> None:
    paths = files(tmp_path, save, 200, "L")
    grey = read(paths, options)
    assert grey.shape == (200, 12, 12, 1)
    for number in (0, 199):
        assert np.array_equal(grey[number, ..., 0], np.asarray(Image.open(paths[number])))
    assert np.array_equal(read(paths, options), grey)
    save(Path(paths[199]), 7)
    mixed = read(paths, options, "d" * 64)
    assert mixed.shape == (200, 12, 12, 3)
    assert np.array_equal(mixed[:199], np.repeat(grey[:199], 3, axis=3))


def test_progress_is_reported_to_the_end(tmp_path: Path, options: Options, save: Save) -> None:
    seen: list[tuple[str, int, int]] = []
    read(files(tmp_path, save, 130), replace(options, progress=lambda *report: seen.append(report)))
    assert seen == [("decoding images", 128, 130), ("decoding images", 130, 130)]


def palette(colours: list[int]) -> Image.Image:
    image = Image.fromarray(RAMP // 17, mode=None).convert("L")
    indexed = Image.new("P", (4, 4))
    indexed.putdata(list(np.asarray(image).ravel() % (len(colours) // 3)))
    indexed.putpalette(colours)
    return indexed


def half_transparent() -> Image.Image:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    return image


KINDS: dict[str, tuple[Image.Image, str, bool, tuple[int, ...]]] = {
    "1": (Image.fromarray(RAMP > 100), "png", True, (0,)),
    "L": (Image.fromarray(RAMP), "png", True, (0,)),
    "LA": (Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (4, 4), 0)]), "png", True, (255,)),
    "I;16": (Image.fromarray(RAMP.astype(np.uint16) * 257), "png", True, (0,)),
    "grey palette": (palette([10, 10, 10, 200, 200, 200]), "png", True, (10,)),
    "palette": (palette([10, 20, 30, 200, 200, 200]), "png", False, (10, 20, 30)),
    "RGBA": (half_transparent(), "png", False, (255, 255, 255)),
    "CMYK": (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "tiff", False, (255, 0, 0)),
    "gif": (palette([1, 2, 3, 4, 5, 6]), "gif", False, (1, 2, 3)),
}


@pytest.mark.parametrize(("image", "suffix", "grey", "corner"), KINDS.values(), ids=KINDS)
def test_kinds_of_pixel(image: Image.Image, suffix: str, grey: bool, corner: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    image.save(path)
    pixels, is_grey = decode(str(path), None)
    assert pixels.dtype == np.uint8 and is_grey == grey
    assert tuple(pixels[0, 0].tolist()) == corner


def test_sixteen_bits_keep_their_order(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.array_equal(decode(str(tmp_path / "a.png"), None)[0][..., 0], RAMP)


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    image = Image.fromarray(np.stack([np.arange(24, dtype=np.uint8).reshape(4, 6)] * 3, axis=-1))
    for suffix in ("png", "jpg"):
        image.save(tmp_path / f"a.{suffix}", exif=exif)
        assert decode(str(tmp_path / f"a.{suffix}"), None)[0].shape == (6, 4, 3)
    assert np.array_equal(decode(str(tmp_path / "a.png"), None)[0][0, :, 0], [18, 12, 6, 0])


def test_mixed_sizes_name_the_option(tmp_path: Path, options: Options, save: Save) -> None:
    paths = files(tmp_path, save)
    save(Path(paths[3]), 1, (20, 10))
    save(Path(paths[4]), 1, (20, 10))
    with pytest.raises(DataError, match=r"2 sizes; the first is 12 x 12.*--image-size 12") as caught:
        read(paths, options)
    assert str(caught.value).splitlines()[1:] == ["  20 x 10: row 3: 3.png"]
    assert not list((tmp_path / "cache/images").glob("*"))
    same = read(paths, replace(options, image_size=12))
    assert same.shape == (5, 12, 12, 3)
    assert np.array_equal(same[0], np.asarray(Image.open(paths[0])))


def test_image_size_keeps_the_middle(tmp_path: Path, options: Options) -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 16:44] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    pixels = read([str(tmp_path / "a.png")], replace(options, image_size=10))
    assert pixels.shape == (1, 10, 10, 3) and (pixels == 200).all()


def test_large_jpegs_are_read_smaller_without_losing_shape(tmp_path: Path, options: Options) -> None:
    Image.new("RGB", (800, 600), (10, 200, 30)).save(tmp_path / "a.jpg")
    pixels = read([str(tmp_path / "a.jpg")], replace(options, image_size=32))
    assert pixels.shape == (1, 32, 32, 3) and np.all(np.abs(pixels.astype(int) - [10, 200, 30]) < 6)


def test_unreadable_images_are_named_all_at_once(tmp_path: Path, options: Options, save: Save) -> None:
    paths = files(tmp_path, save, 20)
    for number in range(0, 20, 2):
        Path(paths[number]).write_bytes(b"nothing")
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:200])
    save(Path(paths[5]), 1, (3, 3))
    with pytest.raises(DataError, match="11 of 20 images can't be read") as caught:
        read(paths, options)
    lines = str(caught.value).splitlines()[1:]
    assert lines[0] == "  row 0: 0.png: cannot identify image file" and lines[1].startswith("  row 1: 1.png: ")
    assert len(lines) == 11 and lines[-1] == "  ... and 1 more"
    assert not list((tmp_path / "cache/images").glob("*"))


def test_unreadable_with_an_image_size(tmp_path: Path, options: Options, save: Save) -> None:
    paths = files(tmp_path, save, 3)
    Path(paths[0]).write_bytes(b"")
    with pytest.raises(DataError, match="1 of 3 images"):
        read(paths, replace(options, image_size=8))


@pytest.mark.parametrize("spoil", [lambda c: c[:-1], lambda c: c + b"x", lambda c: b"", lambda c: c[:60]])
def test_a_spoilt_cache_is_made_again(
    spoil: Callable[[bytes], bytes], tmp_path: Path, options: Options, save: Save
) -> None:
    paths = files(tmp_path, save)
    before = np.array(read(paths, options))
    (kept,) = (tmp_path / "cache/images").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(spoil(whole))
    assert np.array_equal(read(paths, options), before)
    assert kept.read_bytes() == whole


def test_cache_is_used(tmp_path: Path, options: Options, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path, save)
    before = np.array(read(paths, options))
    monkeypatch.setattr("datasets.images._build", lambda *_: pytest.fail("decoded again"))
    assert np.array_equal(read(paths, options), before)
    with pytest.raises(pytest.fail.Exception):
        read(paths, options, "e" * 64)
    with pytest.raises(pytest.fail.Exception):
        read(paths, replace(options, image_size=12))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_cache_with_a_flipped_bit_is_made_again(mode: str, tmp_path: Path, options: Options, save: Save) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", number, mode=mode)
    paths, content = [str(tmp_path / f"{number}.png") for number in range(3)], "d" * 64
    before = np.array(decoded(paths, str, content, options))
    (kept,) = options.cache.glob("images/*.npy")  # type: ignore[union-attr]
    whole = kept.read_bytes()
    drop_damaged(content, options)
    assert kept.read_bytes() == whole
    kept.write_bytes(whole[:200] + bytes([whole[200] ^ 4]) + whole[201:])
    drop_damaged(content, options)
    assert not kept.exists()
    drop_damaged(content, options)
    assert np.array_equal(decoded(paths, str, content, options), before) and kept.read_bytes() == whole


def test_two_processes_may_build_it_at_once(tmp_path: Path, save: Save) -> None:
    paths = files(tmp_path, save, 200)
    program = (
        "import sys; from pathlib import Path;"
        "from datasets.images import decoded; from datasets.interface import Options;"
        "images = decoded(sys.argv[2:], str, 'f' * 64, Options(cache=Path(sys.argv[1])));"
        "print(images.shape, int(images.astype('int64').sum()))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache"), *paths]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate()[0] for process in running}
    assert len(answers) == 1 and answers.pop().startswith("(200, 12, 12, 3)")
    assert len(list((tmp_path / "cache/images").iterdir())) == 1


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_leaves_nothing_behind(
    after: int, tmp_path: Path, options: Options, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(tmp_path, save, 130)
    written = 0

    def report(what: str, done: int, total: int) -> None:
        nonlocal written
        if written >= after:
            raise OSError(28, "No space left on device")
        written += 1

    if after == 2:
        monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DataError, match=r"can't be written: No space left on device.*LNL_BENCH_CACHE"):
        read(paths, replace(options, progress=report))
    assert not list((tmp_path / "cache/images").glob("*"))


def test_statistics_are_exact() -> None:
    images = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (50, 6, 7, 3), dtype=np.uint8)
    mean, std = channel_statistics(images, np.arange(0, 50, 3))
    scaled = images[::3].astype(np.float64) / 255
    assert np.allclose(mean, scaled.mean(axis=(0, 1, 2)), rtol=1e-12)
    assert np.allclose(std, scaled.std(axis=(0, 1, 2)), rtol=1e-12)
    assert channel_statistics(np.full((2, 3, 3, 1), 9, dtype=np.uint8))[1] == (1.0,)


def test_statistics_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.Generator(np.random.PCG64(1)).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    whole = channel_statistics(images)
    monkeypatch.setattr("datasets.arrays.BLOCK_BYTES", 48)
    assert channel_statistics(images) == whole


def test_resizing_arrays() -> None:
    flat = np.full((3, 8, 8, 2), 77, dtype=np.uint8)
    assert (resized(flat, 5) == 77).all() and resized(flat, 5).shape == (3, 5, 5, 2)
    assert resized(flat, 8) is flat and resized(flat, None) is flat
    checks = np.zeros((1, 4, 4, 1), dtype=np.uint8)
    checks[0, ::2, ::2] = checks[0, 1::2, 1::2] = 100
    assert np.all(np.abs(resized(checks, 2)[..., 0].astype(int) - 50) <= 13)
    step = np.zeros((1, 8, 8, 1), dtype=np.uint8)
    step[:, :, 4:] = 200
    assert resized(step, 16)[0, 0, :, 0].tolist() == [0] * 7 + [50, 150] + [200] * 7
