"""One image file: its pixels, and what its head says of them.

Read `decode` and `scan` first.
"""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

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
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What shows an image upright, by its orientation in the EXIF standard; with 5 to 8 height and width change places."""
SAY_A_TURN = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})
"""What Pillow calls the parts of a file that may hold an orientation."""
HEAD_BYTES = 1024
"""Of a file, in which a JPEG's size mostly stands."""
FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Markers of the part of a JPEG that tells its size: sequential and progressive."""
PASSED_OVER = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xEE, 0xFE})
"""Markers of parts that say nothing of size, colours or turns: tables, JFIF, Adobe, comments."""
END = b"\xff\xd9"
"""The marker with which a JPEG ends."""
LAST_BYTES = 1 << 16
"""Of a PNG, in which an orientation may follow the pixels."""
_ORIENTATION = 0x0112
"""The tag of the EXIF standard."""
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
    """Pixels uint8 (H, W, 3), or (H, W, 1) to be repeated if grey, and whether the image is grey.

    Of several frames or pages the first is taken, EXIF orientation is applied, transparency is laid over white, 16 bits
    become 8, and CMYK is turned into RGB without a colour profile. Raises whatever a decoder stumbles over.
    """
    from PIL import Image, ImageOps

    with open_image(path) as opened:
        if opened.format in ("JPEG", "MPO"):
            _check_end(opened)
        if size is not None:
            opened.draft(None, (2 * size, 2 * size))  # JPEG: leave out detail that wouldn't survive
        opened.load()
        turn = TURNS.get(_orientation(opened))
        image = eight_bits(opened if turn is None else opened.transpose(Image.Transpose[turn]))
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


class Head(NamedTuple):
    """What the head of an image file says: height and width as `decode` gives them without a size, and so on."""

    size: tuple[int, int]
    grey: bool
    several: bool
    """Whether it holds several frames or pages, of which `decode` takes the first."""


def scan(path: str) -> Head:
    """The head of a file. Its pixels are decoded only where nothing else tells the colours, or how it is turned."""
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 -- tens of thousands of files
        plain = _plain_jpeg_head(stream.read(HEAD_BYTES))
    if plain is not None:
        return plain
    with open_image(path) as opened:
        width, height = opened.size
        if opened.format != "TIFF":  # a TIFF's size is the turned one already
            if opened.format == "PNG" and not SAY_A_TURN & opened.info.keys() and _says_a_turn_at_its_end(path):
                opened.load()
            turned = bool(SAY_A_TURN & opened.info.keys()) and _orientation(opened) >= 5
            width, height = (height, width) if turned else (width, height)
        return Head((height, width), is_grey(opened), _has_several(opened))


def _plain_jpeg_head(content: bytes) -> Head | None:
    """The head of a JPEG without anything that may turn it or add other views, such as EXIF; None for all else.

    Ten times as fast as opening the image. From ITU T.81, annex B: parts of a marker, a length that counts itself, and
    content; the frame's has precision, height, width and the number of components.
    """
    place = 2
    while content.startswith(b"\xff\xd8") and place + 10 <= len(content) and content[place] == 0xFF:
        marker, content_at = content[place + 1], place + 4
        if marker in FRAMES:
            height, width = (int.from_bytes(content[at : at + 2], "big") for at in (content_at + 1, content_at + 3))
            precision, components = content[content_at], content[content_at + 5]
            usual = precision == 8 and components in (1, 3, 4) and 0 < height * width <= MOST_PIXELS
            return Head((height, width), components == 1, False) if usual else None
        if marker not in PASSED_OVER:
            return None
        place += 2 + int.from_bytes(content[place + 2 : content_at], "big")
    return None


def _orientation(image: Image.Image) -> int:
    """The orientation of the EXIF standard; 1 (upright) where nothing says, or where what says so is broken.

    Of a JPEG, EXIF alone is asked.
    """
    if image.format == "JPEG" and "exif" not in image.info:
        return 1
    try:
        said = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken part beside the pixels: parsers raise whatever they stumble over
        return 1
    return said if said in TURNS else 1


def _says_a_turn_at_its_end(path: str) -> bool:
    with Path(path).open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - LAST_BYTES))
        last = stream.read()
    return any(each in last for each in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"))


def _check_end(image: Image.Image) -> None:
    """Raise ValueError for a JPEG, opened and not yet loaded, whose pixels break off.

    The decoder fills up with grey what is missing if other bytes follow, such as the zeros of a copy that broke off.
    """
    stream = cast("BinaryIO", image.fp)  # type: ignore[attr-defined]
    begin = stream.tell()
    stream.seek(-len(END), 2)
    if stream.read() != END:
        stream.seek(begin)  # of the pixels: what comes before may be a small copy of the image, with an end of its own
        if END not in stream.read():
            raise ValueError("image file is truncated: its pixels have no end")
    stream.seek(begin)


def _has_several(image: Image.Image) -> bool:
    """Whether an image has several frames or pages; a photo's other views (MPO) don't count."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # what follows the first frame is broken, and isn't taken
        return True


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
