"""Image files that cameras, web pages and broken copies leave: read as people see them, or named as broken."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from datasets.folder import Folder
from datasets.image_file import decode, scan
from datasets.interface import DataError, Options
from datasets.table import Table

COUNTING = Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3))
"""6 wide, 4 high; each pixel is another."""
XMP = b'<x><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></x>'


def exif(orientation: int) -> bytes:
    """EXIF with one entry."""
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()


def jpeg(side: int = 64, **how: Any) -> bytes:
    """A JPEG of noise."""
    stream = io.BytesIO()
    Image.effect_noise((side, side), 80).convert("RGB").save(stream, "JPEG", **how)
    return stream.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(bits: int, kind: int, *values: int) -> bytes:
    """A PNG of 2 x 2 equal pixels."""
    form = {8: "B", 16: "H"}[bits]
    row = b"\0" + struct.pack(f">{2 * len(values)}{form}", *values, *values)
    head = struct.pack(">IIBBBBB", 2, 2, bits, kind, 0, 0, 0)
    parts = (png_chunk(b"IHDR", head), png_chunk(b"IDAT", zlib.compress(2 * row)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@settings(max_examples=40, deadline=None)
@given(cut=st.floats(0, 1), filled=st.booleans(), progressive=st.booleans(), camera=st.booleans())
def test_a_jpeg_that_breaks_off_is_never_taken_for_whole(
    cut: float, filled: bool, progressive: bool, camera: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever it ends, and also where a copy that broke off was filled up with zeros."""
    how: dict[str, Any] = {"progressive": progressive}
    if camera:  # cameras keep a small copy of the image, with an end of its own, before it
        how["exif"] = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + jpeg(8)
    whole = jpeg(**how)
    length = int(cut * (len(whole) - 2))
    path = tmp_path_factory.mktemp("jpeg") / "a.jpg"
    path.write_bytes(whole[:length] + b"\0" * (filled * (len(whole) - length)))
    for size in (None, 16):
        with pytest.raises(Exception, match=r"."):
            decode(str(path), size)


@pytest.mark.parametrize("behind", [b"", b"\0" * 100, b"\n", b"\xff\xda video \0\0"])
def test_what_stands_behind_a_whole_jpeg_is_no_matter(behind: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg() + behind)
    assert decode(str(tmp_path / "a.jpg"), None)[0].shape == (64, 64, 3)


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_photos_have_their_colours(marked: bool, tmp_path: Path) -> None:
    """Adobe writes CMYK inverted and marks it; without the mark it is taken for the same."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 60)).convert("CMYK").save(stream, "JPEG", quality=95)
    content = stream.getvalue()
    mark = content.index(b"\xff\xee")
    length = int.from_bytes(content[mark + 2 : mark + 4], "big") + 2
    (tmp_path / "a.jpg").write_bytes(content if marked else content[:mark] + content[mark + length :])
    pixels, grey = decode(str(tmp_path / "a.jpg"), None)
    assert not grey and np.all(np.abs(pixels.astype(int) - [200, 30, 60]) <= 3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(16, 0, 32768), [128]),
        (png(16, 2, 65535, 32768, 257), [255, 128, 1]),
        (png(16, 6, 65535, 32768, 257, 65535), [255, 128, 1]),
        (png(16, 4, 32768, 65535), [128] * 3),
        (png(8, 6, 200, 100, 0, 0), [255] * 3),
    ],
    ids=["grey", "colours", "colours with transparency", "grey with transparency", "nothing but transparency"],
)
def test_sixteen_bits_and_transparency(content: bytes, expected: list[int], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert decode(str(tmp_path / "a.png"), None)[0][1, 1].tolist() == expected


@pytest.mark.parametrize(
    ("transparency", "suffix", "corner"),
    [(1, "png", [255, 255, 255]), (1, "gif", [255, 255, 255]), (bytes([255, 128]), "png", [227, 132, 132])],
)
def test_palettes_with_transparency(transparency: Any, suffix: str, corner: list[int], tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 10])
    image.save(tmp_path / f"a.{suffix}", transparency=transparency)
    assert decode(str(tmp_path / f"a.{suffix}"), None)[0][0, 0].tolist() == corner


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(orientation: int, tmp_path: Path) -> None:
    """The EXIF standard: where the row 0 and the column 0 of the file are, seen upright."""
    rows = np.asarray(COUNTING)
    upright = {
        1: rows,
        2: rows[:, ::-1],
        3: rows[::-1, ::-1],
        4: rows[::-1],
        5: rows.transpose(1, 0, 2),
        6: rows.transpose(1, 0, 2)[:, ::-1],
        7: rows.transpose(1, 0, 2)[::-1, ::-1],
        8: rows.transpose(1, 0, 2)[::-1],
    }[orientation]
    for suffix in ("png", "tiff"):
        COUNTING.save(tmp_path / f"a.{suffix}", exif=exif(orientation))
        pixels, _ = decode(str(tmp_path / f"a.{suffix}"), None)
        assert np.array_equal(pixels, upright) and scan(str(tmp_path / f"a.{suffix}")).size == upright.shape[:2]


def behind_the_pixels(path: Path) -> None:
    COUNTING.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-12] + png_chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0")) + content[-12:])


def as_hexadecimal_text(path: Path) -> None:
    said = PngImagePlugin.PngInfo()
    said.add_text("Raw profile type exif", f"\nexif\n{len(exif(6)):8}\n{exif(6).hex()}\n")
    COUNTING.save(path, pnginfo=said)


ODD_PLACES: dict[str, tuple[str, Callable[[Path], None], bool | None]] = {
    "PNG, behind the pixels": ("png", behind_the_pixels, True),
    "PNG, as text": ("png", as_hexadecimal_text, True),
    "XMP of WebP": ("webp", lambda path: COUNTING.save(path, xmp=XMP, lossless=True), None),
    "XMP of JPEG": ("jpg", lambda path: COUNTING.save(path, xmp=XMP), False),
    "broken, PNG": ("png", lambda path: COUNTING.save(path, exif=b"garbage"), False),
    "broken, WebP": ("webp", lambda path: COUNTING.save(path, exif=b"garbage"), False),
    "broken, JPEG": ("jpg", lambda path: COUNTING.save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"), False),
    "none such": ("png", lambda path: COUNTING.save(path, exif=exif(300)), False),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(("suffix", "write", "turned"), ODD_PLACES.values(), ids=ODD_PLACES)
def test_the_head_agrees_wherever_an_orientation_stands(
    suffix: str, write: Callable[[Path], None], turned: bool | None, tmp_path: Path
) -> None:
    """Not every Pillow reads XMP of every kind of file: there the two have to agree, whatever they say."""
    path = tmp_path / f"a.{suffix}"
    write(path)
    shape = decode(str(path), None)[0].shape
    assert scan(str(path)).size == shape[:2]
    assert turned is None or shape[:2] == ((6, 4) if turned else (4, 6))


def moving(path: Path, **how: Any) -> None:
    """Frames of red, green and blue."""
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], **how)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_frame_is_taken(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    moving(path, **({"lossless": True} if suffix == "webp" else {}))
    pixels, _ = decode(str(path), None)
    assert pixels.shape == (6, 8, 3) and (pixels == [255, 0, 0]).all()
    assert scan(str(path)) == ((6, 8), False, True)


def test_frames_are_said_with_a_count_and_other_views_of_a_photo_are_not(tmp_path: Path, options: Options) -> None:
    for number, name in enumerate("ab"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for each in range(3):
            Image.new("RGB", (8, 6), (number, each, 9)).save(tmp_path / f"pets/{name}/{each}.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "pets/a/3.jpg", "MPO", save_all=True, append_images=[COUNTING])

    def notes(stream: bool = False) -> tuple[str, ...]:
        return Folder(replace(options, stream=stream), str(tmp_path / "pets")).report().notes

    assert notes() == ()
    moving(tmp_path / "pets/b/m.gif")
    said = "1 file holds several frames or pages: the first is taken (b/m.gif)"
    assert notes() == notes() == notes(stream=True) == (said,), "also where it is remembered"
    moving(tmp_path / "pets/a/m.gif", comment=b"other bytes")
    assert notes() == ("2 files hold several frames or pages: the first of each is taken (first: a/m.gif)",)


@pytest.mark.parametrize(
    "broken",
    [b"", b"\xff\xd8\xff", jpeg()[:700], jpeg()[:-500] + b"\0" * 500],
    ids=["nothing", "head", "cut off", "filled up"],
)
def test_broken_files_are_named_by_every_way_in(broken: bytes, photos: Path, options: Options) -> None:
    for size in (None, 12):
        for path in ("images/03.png", "images/29.png"):
            (photos / path).write_bytes(broken)
        for stream in (False, True):
            opened = Table(replace(options, stream=stream, image_size=size), str(photos / "index.csv"))
            with pytest.raises(DataError, match="2 of 30 images can't be read"):
                opened.prepare()


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    sides=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    progressive=st.booleans(),
    beside=st.dictionaries(st.sampled_from(["comment", "icc_profile", "xmp"]), st.binary(min_size=1, max_size=2000)),
    orientation=st.none() | st.integers(1, 8),
)
def test_the_head_of_every_jpeg_tells_what_decoding_gives(
    mode: str,
    sides: tuple[int, int],
    progressive: bool,
    beside: dict[str, Any],
    orientation: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whether it is read by ourselves, or by Pillow where something stands in it that may say more."""
    path = tmp_path_factory.getbasetemp() / "head.jpg"
    turn = {} if orientation is None else {"exif": exif(orientation)}
    Image.new(mode, sides).save(path, progressive=progressive, **turn, **beside)
    pixels, grey = decode(str(path), None)
    assert scan(str(path)) == (pixels.shape[:2], grey, False)
