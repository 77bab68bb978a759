"""Where a run keeps its images: on the device, in the host's memory, or on disk. Chosen by size; needs no torch.

A placement changes no bit of a result, only how fast images come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from bench.spec import ImagePlace
from bench.spec.augmentations import augmentation_steps
from bench.system import hardware
from bench.system.text import format_bytes

SHARE = 0.5
"""The part of the free memory that images may take; the rest is for networks, activations and other programs."""


@dataclass(frozen=True)
class ImagePlacement:
    """Where the images of every run of a request are kept, and why there."""

    where: ImagePlace
    why: str


def largest_border(augmentations: Iterable[str]) -> int:
    """How many pixels beyond an image's border crops reach."""
    return max(
        (number or 0 for name in augmentations for kind, number in augmentation_steps(name) if kind == "crop"),
        default=0,
    )


def choose_placement(
    asked: str,
    images: int,
    shape: tuple[int, int, int],
    pad: int,
    device: str,
    copies: int,
    free: tuple[float, float] | None = None,
) -> ImagePlacement:
    """Where `images` images of `shape` (height, width, channels) go, unless the user said so.

    `pad` is the border that images get on the device, `copies` how many runs share the memory there,
    `free` the bytes of memory and of the device's, None those of this machine.
    """
    if asked != "auto":
        return ImagePlacement(next(where for where in get_args(ImagePlace) if where == asked), "as --images says")
    height, width, channels = shape
    most = placement_limits(device, copies, free)
    padded = images * (height + 2 * pad) * (width + 2 * pad) * channels
    needed, there = format_bytes(padded), format_bytes(most["device"])
    if padded <= most["device"]:
        return ImagePlacement("device", f"{needed} of images, and {there} may be used there")
    plain = images * height * width * channels
    full = f"{needed} of images, and {there} of the {_name(device)} may be used for them"
    if plain <= most["host"]:
        return ImagePlacement("host", full)
    return ImagePlacement(
        "disk", f"{full}; {format_bytes(plain)} without their borders, and {format_bytes(most['host'])} of memory"
    )


def placement_limits(device: str, copies: int = 1, free: tuple[float, float] | None = None) -> dict[ImagePlace, float]:
    """Bytes of images that may be kept on a device by each of `copies` runs, and in the host's memory by all of them.

    Infinite where the system doesn't say. In the host's memory runs share one memory-mapped array where images come
    from files, which is what is large.
    """
    host, there = hardware.free_bytes(device) if free is None else free
    return {"device": SHARE * there / copies, "host": SHARE * host}


def describe_placement(device: str) -> str:
    """What `auto` would do, for a person."""
    most = placement_limits(device)
    device_bytes, host = format_bytes(most["device"]), format_bytes(most["host"])
    if not device.startswith("cuda"):
        return f"in memory up to {device_bytes} a run; larger sets are decoded from their files"
    return f"on the card up to {device_bytes} a run, in memory up to {host}; larger sets are decoded from their files"


def _name(device: str) -> str:
    return "card's memory" if device.startswith("cuda") else "memory"
