"""Image files decoded once, into one memory-mapped uint8 array that later runs open in no time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from datasets.arrays import BLOCK_BYTES
from datasets.files import cache_folder, in_order, listed, replacing
from datasets.image_file import decode, reason_of
from datasets.interface import DataError, Images, Options

DECODER = 1
"""Raised whenever the same file would decode to other pixels."""

DECODED_AT_ONCE = 128
DIGEST_BYTES = 32
"""Bytes of the SHA-256 of all before it, with which a cached array ends."""


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


def _first_size(paths: Sequence[str]) -> tuple[int, int] | None:
    """Height and width of the first file that can be decoded, or None."""
    for path in paths:
        with suppress(Exception):
            pixels, _ = decode(path, None)
            return pixels.shape[0], pixels.shape[1]
    return None
