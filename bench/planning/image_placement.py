"""The place of a run's images: on the device, in the host's memory, or on disk. Chosen by size; needs no torch.

The place changes no bit of a result, only how fast batches are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from bench.spec import ImagePlace
from bench.spec.augmentations import augmentation_steps
from bench.system import hardware
from bench.system.text import format_bytes

if TYPE_CHECKING:
    from datasets.samples import VectorShape

ImageShape = tuple[int, int, int]
"""Height, width, channels."""
FreeBytes = tuple[float, float] | None
"""Free bytes of the (host, device), infinite where unknown; None: those of this machine."""
SHARE = 0.5
"""The part of the free memory that images may take; the rest is for networks, activations and other programs."""


@dataclass(frozen=True)
class ImagePlacement:
    """The place of the images of every run of a request, and the reason."""

    where: ImagePlace
    why: str


def largest_border(augmentations: Iterable[str]) -> int:
    """Pixels that crops reach beyond an image's border, at most."""
    return max(
        (numbers[0] for name in augmentations for kind, numbers in augmentation_steps(name) if kind == "crop"),
        default=0,
    )


def choose_placement(
    requested: str,
    images: int,
    shape: ImageShape,
    border: int,
    device: str,
    copies: int,
    free: FreeBytes = None,
    vectors: VectorShape | None = None,
) -> ImagePlacement:
    """The place of `images` images, one byte a value, or of as many `vectors`; `requested` if not "auto".

    On the device images get a `border`, in pixels, and `copies` runs share the memory.
    """
    for place in get_args(ImagePlace):
        if place == requested:
            return ImagePlacement(place, "as --images says")
    height, width, channels = shape
    limits = placement_limits(device, copies, free)
    padded = images * (height + 2 * border) * (width + 2 * border) * channels
    plain = images * height * width * channels
    if vectors is not None:
        padded = plain = images * vectors.sample_bytes
    samples = "images" if vectors is None else "vectors"
    needed, usable = format_bytes(padded), format_bytes(limits["device"])
    if padded <= limits["device"]:
        return ImagePlacement("device", f"{needed} of {samples}, and {usable} may be used there")
    memory = "GPU's memory" if device.startswith("cuda") else "memory"
    why = f"{needed} of {samples}, and {usable} of the {memory} may be used for them"
    if plain <= limits["host"]:
        return ImagePlacement("host", why)
    borders = " without their borders" if vectors is None else ""
    return ImagePlacement(
        "disk", f"{why}; {format_bytes(plain)}{borders}, and {format_bytes(limits['host'])} of memory"
    )


def placement_limits(device: str, copies: int = 1, free: FreeBytes = None) -> dict[ImagePlace, float]:
    """Bytes of images that each of `copies` runs may keep on a device, and all of them in the host's memory.

    In the host's memory runs share one memory-mapped array of images from files, so that `copies` doesn't count there.
    """
    host_free, device_free = hardware.free_bytes(device) if free is None else free
    return {"device": SHARE * device_free / copies, "host": SHARE * host_free}


def describe_placement(device: str) -> str:
    """The rule of "auto" with the limits of this machine, in words."""
    limits = placement_limits(device)
    device_bytes, host = format_bytes(limits["device"]), format_bytes(limits["host"])
    if not device.startswith("cuda"):
        return f"in memory up to {device_bytes} a run; larger sets are decoded from their files"
    return f"on the GPU up to {device_bytes} a run, in memory up to {host}; larger sets are decoded from their files"
