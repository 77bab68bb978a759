"""One image file: its pixels, and what its head says of them.

Read `decode` and `scan` first.
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import TYPE_CHECKING

import numpy as np

from datasets.interface import Images

if TYPE_CHECKING:
    from PIL import Image

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


def reason_of(error: Exception, path: str) -> str:
    """What a decoder says of a file, without the file's name."""
    # older releases of Pillow name the file by its real path
    said = str(error)
    for name in (os.path.realpath(path), path):
        said = said.split(name)[0].split(repr(name)[1:-1])[0]
    return said.strip(" '\"") or type(error).__name__
