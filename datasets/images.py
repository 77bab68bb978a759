"""Image files decoded once, into one memory-mapped uint8 array that later runs open in no time."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from datasets.arrays import BLOCK_BYTES
from datasets.files import cache_folder, in_order, listed, replacing
from datasets.interface import DataError, Images, Options

if TYPE_CHECKING:
    from PIL import Image

DECODER = 1
"""Raised whenever the same file would decode to other pixels."""

DECODED_AT_ONCE = 128
DIGEST_BYTES = 32
"""Bytes of the SHA-256 of all before it, with which a cached array ends."""
SUFFIXES = frozenset(
    {
        *(".apng", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg"),
        *(".jpx", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""Endings of the files that are taken from class folders: what every allowed Pillow opens without more software."""
MOST_PIXELS = 1 << 30
"""An image of more would take 3 GiB and more while it is decoded."""
QUARTER_TURNS = frozenset({5, 6, 7, 8})
"""Orientations of the EXIF standard in which height and width change places."""
GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B"})


def decoded(paths: Sequence[str], name: Callable[[int], str], content: str, options: Options) -> Images:
    """All images as one array uint8 (N, H, W, C), read-only, memory-mapped from the cache folder.

    C is 1 where every file is grey, else 3. With `options.image_size` S the shorter side is brought to S and the middle
    S x S is kept; without it all must have one size. EXIF orientation is applied, transparency is laid over white, 16
    bits become 8.

    Args:
        paths: the files.
        name: what to call the file at a position in an error, such as "line 3: a.png".
        content: hash of the files' bytes, which names the cache file.

    Raises:
        DataError: files that can't be decoded (all of them named), sizes that differ, a cache that can't be written.
    """
    target = _cache_file(content, options)
    key = target.stem
    kept = _open(target, key, len(paths))
    if kept is None:
        try:
            _build(target, key, paths, name, options)
        except OSError as error:
            raise DataError(
                f"The cache of decoded images {target} can't be written: {error.strerror or error}. "
                "Set the variable LNL_BENCH_CACHE to a folder with room, or type --images disk to decode images "
                "whenever they are needed."
            ) from error
        kept = _open(target, key, len(paths))
    if kept is None:
        raise DataError(f"The cache of decoded images {target} was changed while it was made. Try again.")
    return kept


def drop_damaged(content: str, options: Options) -> None:
    """Remove the cached array of this content if its pixels aren't those that were decoded: it is made again then.

    Reads the whole file, once a command: too long for every process that opens it.
    """
    target = _cache_file(content, options)
    with suppress(OSError), target.open("rb") as stream:
        size, done = target.stat().st_size - DIGEST_BYTES, 0
        value = hashlib.sha256()
        while done < size and (block := stream.read(min(size - done, 1 << 22))):
            value.update(block)
            done += len(block)
        if stream.read() == value.digest():
            return
        target.unlink()


def _cache_file(content: str, options: Options) -> Path:
    return cache_folder(options) / "images" / f"{content[:40]}-{options.image_size or 'own'}-{DECODER}.npy"


def _open(target: Path, key: str, count: int) -> Images | None:
    """The cached array, or None if it isn't there or isn't whole: its key and a hash stand right after the pixels."""
    with suppress(OSError, ValueError):
        with target.open("rb") as stream:
            stream.seek(-len(key) - DIGEST_BYTES, 2)
            if stream.read(len(key)) != key.encode():
                return None
        array = np.load(target, mmap_mode="r")
        whole = target.stat().st_size == array.offset + array.nbytes + len(key) + DIGEST_BYTES
        if whole and array.dtype == np.uint8 and array.ndim == 4 and len(array) == count and array.shape[3] in (1, 3):
            return np.asarray(array)
    return None


def _build(target: Path, key: str, paths: Sequence[str], name: Callable[[int], str], options: Options) -> None:
    """Decode everything into a file beside the target and move it there whole; another process may do the same."""
    with replacing(target) as stream:
        _header(stream.write, (len(paths), 0, 0, 3))
        begin = stream.tell()

        def keep(found: Found, start: int) -> None:
            stream.write(found.images.data)

        shape, grey = go_through(paths, name, options, "decoding images", keep)
        if grey:
            _keep_one_channel(stream, begin, (len(paths), *shape))
        else:
            stream.seek(0)
            _header(stream.write, (len(paths), *shape, 3))
            stream.seek(0, 2)
        stream.write(key.encode())
        stream.seek(0)
        value = hashlib.sha256()
        while block := stream.read(1 << 22):
            value.update(block)
        stream.write(value.digest())


def go_through(
    paths: Sequence[str],
    name: Callable[[int], str],
    options: Options,
    what: str,
    take: Callable[[Found, int], None],
) -> tuple[tuple[int, int], bool]:
    """Decode all files, and hand each stretch of images and its start to `take` until something is wrong.

    Returns height and width of all, and whether all are grey. Raises DataError as `decoded` does.
    """
    progress, size = options.progress, options.image_size
    shape = (size, size) if size else _first_size(paths)
    starts = range(0, len(paths), DECODED_AT_ONCE)
    chunks = [Chunk(paths[start : start + DECODED_AT_ONCE], start, shape, size) for start in starts]
    wrong, grey, done = Wrong(), True, 0
    sizes: dict[tuple[int, int], str] = {}
    for found in in_order(decode_chunk, chunks):
        wrong.unreadable += [f"{name(number)}: {reason}" for number, reason in found.unreadable]
        for number, other in found.sizes:
            sizes.setdefault(other, name(number))
        grey &= found.grey
        start, done = done, done + len(found.images)
        progress(what, done, len(paths))
        if not wrong.unreadable and not sizes:
            take(found, start)
    wrong.check(len(paths), shape, sizes)
    assert shape is not None  # or nothing could be read
    return shape, grey


@dataclass
class Wrong:
    """What stands in the way, gathered so that all of it is named at once."""

    unreadable: list[str] = field(default_factory=list)

    def check(self, count: int, shape: tuple[int, int] | None, sizes: dict[tuple[int, int], str]) -> None:
        """Raise DataError if anything does."""
        if self.unreadable:
            raise DataError(
                f"{len(self.unreadable)} of {count} images can't be read. Repair them or leave them out, or type "
                f"--skip-unreadable to go on without them:\n{listed(self.unreadable)}"
            )
        if sizes and shape is not None:
            others = [f"{width} x {height}: {name}" for (height, width), name in sizes.items()]
            raise DataError(
                f"Images come in {len(sizes) + 1} sizes; the first is {shape[1]} x {shape[0]} (width x height). "
                f"Type --image-size {min(shape)} to bring all to one. Other sizes, each with its first image:\n"
                f"{listed(others)}"
            )


def _header(write: Callable[[bytes], int], shape: tuple[int, ...]) -> None:
    """NumPy's own header, padded to a length that doesn't depend on the number of channels."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust(128 - 10 - 1) + b"\n"
    write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


def _keep_one_channel(stream: BinaryIO, begin: int, shape: tuple[int, int, int]) -> None:
    """Rewrite grey images, stored with three equal channels, with one: in place, since what is written lags behind."""
    height, width = shape[1:]
    stream.seek(0)
    _header(stream.write, (*shape, 1))
    each = height * width * 3
    step = max(1, BLOCK_BYTES // each)
    for start in range(0, shape[0], step):
        count = min(step, shape[0] - start)
        stream.seek(begin + start * each)
        pixels = np.frombuffer(stream.read(count * each), dtype=np.uint8)
        stream.seek(begin + start * height * width)
        stream.write(np.ascontiguousarray(pixels[::3]).data)
    stream.truncate()


@dataclass(frozen=True)
class Chunk:
    """A stretch of files for one thread; `shape` (height, width) is what each must come out as."""

    paths: Sequence[str]
    first: int
    shape: tuple[int, int] | None
    size: int | None


@dataclass
class Found:
    """What came of a chunk: images (n, H, W, 3), whether all are grey, and what went wrong by position."""

    images: Images
    grey: bool = True
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    sizes: list[tuple[int, tuple[int, int]]] = field(default_factory=list)


def decode_chunk(chunk: Chunk) -> Found:
    """Decode the files of a chunk."""
    found = Found(np.zeros((len(chunk.paths), *(chunk.shape or (0, 0)), 3), dtype=np.uint8))
    for position, path in enumerate(chunk.paths):
        try:
            pixels, grey = decode(path, chunk.size)
        except Exception as error:  # decoders of broken files raise whatever they stumble over
            found.unreadable.append((chunk.first + position, reason_of(error, path)))
            continue
        found.grey &= grey
        if pixels.shape[:2] == chunk.shape:
            found.images[position] = pixels
        else:
            found.sizes.append((chunk.first + position, (pixels.shape[0], pixels.shape[1])))
    return found


def reason_of(error: Exception, path: str) -> str:
    """What a decoder says of a file, without the file's name."""
    # older releases of Pillow name the file by its real path
    return str(error).split(os.path.realpath(path))[0].split(path)[0].strip(" '") or type(error).__name__


def _first_size(paths: Sequence[str]) -> tuple[int, int] | None:
    """Height and width of the first file that can be decoded, or None."""
    for path in paths:
        with suppress(Exception):
            pixels, _ = decode(path, None)
            return pixels.shape[0], pixels.shape[1]
    return None


def open_image(path: str) -> Image.Image:
    """The image of a file, undecoded. Raises ValueError where it has more pixels than can be decoded.

    Pillow warns of large images, since a web server may be sent one to exhaust it; a user's own scans are no attack.
    """
    from PIL import Image

    _silence_pillow()
    Image.MAX_IMAGE_PIXELS = None
    opened = Image.open(path)
    if opened.width * opened.height > MOST_PIXELS:
        width, height = opened.size
        opened.close()
        raise ValueError(f"{width:,} x {height:,} pixels are too many; bring it to a smaller size")
    return opened


@functools.cache
def _silence_pillow() -> None:
    """Keep Pillow's warnings from the user: what can't be decoded is an error, and the rest decodes."""
    warnings.filterwarnings("ignore", module=r"PIL\b")


def decode(path: str, size: int | None) -> tuple[Images, bool]:
    """Pixels uint8 (H, W, 3), or (H, W, 1) to be repeated if grey, and whether the image is grey."""
    from PIL import Image, ImageOps

    with open_image(path) as opened:
        if size is not None:
            opened.draft(None, (2 * size, 2 * size))  # JPEG: leave out detail that wouldn't survive
        opened.load()
        if opened.format != "JPEG" or "exif" in opened.info:
            ImageOps.exif_transpose(opened, in_place=True)
        image = eight_bits(opened)
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return (pixels[..., None], True) if image.mode == "L" else (pixels, False)


def eight_bits(image: Image.Image) -> Image.Image:
    """The image in mode L if it is grey, else RGB. Raises ValueError for pixels that 0..255 can't hold."""
    from PIL import Image

    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise ValueError("floating-point pixels")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("pixels of more than 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    grey = is_grey(image)
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image.convert("RGB").convert("L") if grey else image.convert("RGB")


def is_grey(image: Image.Image) -> bool:
    """Whether `eight_bits` makes one channel of an image. Only one with a palette has to be loaded for it."""
    return image.mode in GREY or image.mode.startswith("I;16") or (image.mode == "P" and _grey_palette(image))


def scan(path: str) -> tuple[tuple[int, int], bool]:
    """Height and width that `decode` would give without a size, and whether the image is grey, from the file's head."""
    from PIL import ExifTags

    with open_image(path) as opened:
        width, height = opened.size
        if opened.format != "TIFF" and {"exif", "xmp"} & opened.info.keys():  # a TIFF's size is the turned one already
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) in QUARTER_TURNS
            width, height = (height, width) if turned else (width, height)
        return (height, width), is_grey(opened)


def _grey_palette(image: Image.Image) -> bool:
    """Whether every colour that a palette image uses is grey."""
    used = np.unique(np.asarray(image))
    colours = np.asarray(image.getpalette("RGB"), dtype=np.int64).reshape(-1, 3)
    return bool((np.ptp(colours[used[used < len(colours)]], axis=1) == 0).all())
