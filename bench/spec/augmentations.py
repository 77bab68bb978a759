"""The names of augmentations: parsing, checks and the canonical form. No torch, so that a typo shows at once."""

from __future__ import annotations

import re

from bench.system.errors import UsageError, nearest_names

KINDS: dict[str, tuple[int, int] | None] = {
    "crop": (1, 1024),
    "flip": None,
    "rotate": (1, 180),
    "autoaugment": None,
    "randaugment": None,
    "cutout": (1, 1024),
    "view": None,
    "dropout": (1, 99),
}
"""Kinds of steps in the order in which they act, with the bounds of the number that follows (None: none may)."""
OF_VECTORS = frozenset({"view", "dropout"})
"""Kinds of steps on samples that are vectors; all others are on images."""
UNITS = {"crop": "pixels", "rotate": "degrees", "cutout": "pixels", "dropout": "percent"}
OPTIONAL = frozenset({"cutout"})
"""Kinds whose number may be left out."""
EXAMPLES = (
    *("none", "crop4", "flip", "rotate20", "autoaugment", "randaugment", "randaugment:1:3", "cutout", "cutout16"),
    *("view", "dropout20"),
)
MAGNITUDE_BOUNDS = ((1, 16), (0, 30))
"""Of N and M in randaugment:N:M."""

AugmentationStep = tuple[str, tuple[int, ...]]
"""A kind and the numbers that follow it: one or none, and two in randaugment:N:M."""


def augmentation_steps(name: str) -> list[AugmentationStep]:
    """A name such as "flip+crop4" -> its steps (kind, numbers) in the order in which they act; "none" -> [].

    randaugment:N:M acts before all others. Raises UsageError on a step that doesn't exist, stands twice, or has no
    number or a wrong one.
    """
    texts = [text.strip().lower() for text in name.split("+")]
    if texts == ["none"]:
        return []
    if "none" in texts:
        raise UsageError(f'augmentation "{name}": none stands alone. Leave it out, or type --augment none.')
    found: dict[str, AugmentationStep] = {}
    for text in texts:
        kind, numbers = parse_step(text, name)
        if kind in found:
            raise UsageError(f'augmentation "{name}" has {kind} more than once: each step acts once, leave one out.')
        found[kind] = kind, numbers
    in_order = [found[kind] for kind in KINDS if kind in found]
    return sorted(in_order, key=lambda step: not acts_first(step))


def misfit_augmentation(name: str, views: int | None) -> str | None:
    """Why an augmentation can't be had of a data set's samples, or None.

    `views` counts the views of each vector that the data holds; None: the samples are images.
    """
    kinds = {kind for kind, _ in augmentation_steps(name)}
    if views is None:
        strange = sorted(kinds & OF_VECTORS)
        return f"{strange[0]} is a step on vectors, and these are images" if strange else None
    strange = sorted(kinds - OF_VECTORS)
    if strange:
        return f"{strange[0]} is a step on images, and these are vectors: type none, view, dropoutN or view+dropoutN"
    if "view" in kinds and views == 1:
        return "view takes one of several stored views, and there is one of each vector: type none or dropoutN"
    return None


def acts_first(step: AugmentationStep) -> bool:
    """Whether a step acts on the whole image, before it is cropped: randaugment:N:M."""
    return len(step[1]) > 1


def canonical_augmentation(name: str) -> str:
    """The one name of an augmentation, as a run's identity holds it: "Flip + crop04" -> "crop4+flip"."""
    return "+".join(format_step(step) for step in augmentation_steps(name)) or "none"


def format_step(step: AugmentationStep) -> str:
    """The text of a step: ("crop", (4,)) -> "crop4", ("randaugment", (1, 3)) -> "randaugment:1:3"."""
    kind, numbers = step
    return ":".join([kind, *map(str, numbers)]) if acts_first(step) else kind + "".join(map(str, numbers))


def parse_step(text: str, name: str) -> AugmentationStep:
    """The text of one step in an augmentation's `name` -> (kind, numbers). Raises UsageError for a wrong one."""
    if text.startswith("randaugment:"):
        return "randaugment", _parse_magnitude(text)
    match = re.fullmatch(r"([a-z]+)([0-9]*)", text)
    if match is None or match[1] not in KINDS:
        close = nearest_names(text, EXAMPLES) or list(EXAMPLES)
        raise UsageError(
            f'no augmentation step "{text}" in "{name}"; did you mean {" or ".join(close)}?\n'
            "Steps, joined with +: none, cropN, flip, rotateN, autoaugment, randaugment, "
            "randaugment:N:M, cutout, cutoutN; of vectors: view, dropoutN."
        )
    kind, bounds = match[1], KINDS[match[1]]
    if bounds is None:
        if match[2]:
            raise UsageError(f'augmentation step "{text}" takes no number: type {kind}.')
        return kind, ()
    if not match[2] and kind in OPTIONAL:
        return kind, ()
    low, high = bounds
    # At most six digits are read: Python refuses to read very long numbers at all.
    if not match[2] or len(match[2]) > 6 or not low <= int(match[2]) <= high:
        alone = f" or nothing, for half of the image's side: {kind}" if kind in OPTIONAL else ""
        raise UsageError(
            f'augmentation step "{text}": {kind} is followed by a whole number of {UNITS[kind]} from {low} to {high}, '
            f"such as {kind}4{alone}."
        )
    return kind, (int(match[2]),)


def _parse_magnitude(text: str) -> tuple[int, int]:
    """N and M of "randaugment:N:M"; raises UsageError for other numbers of them, or numbers out of bounds."""
    numbers = re.fullmatch(r"randaugment:([0-9]{1,2}):([0-9]{1,2})", text)
    if numbers is not None:
        operations, magnitude = int(numbers[1]), int(numbers[2])
        (fewest, most), (weakest, strongest) = MAGNITUDE_BOUNDS
        if fewest <= operations <= most and weakest <= magnitude <= strongest:
            return operations, magnitude
    raise UsageError(
        f'augmentation step "{text}": type randaugment:N:M with N operations from 1 to 16 of magnitude M from 0 to 30, '
        "such as randaugment:1:3."
    )
