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
}
"""Kinds of steps in the order in which they act, with the bounds of the number that follows (None: none may)."""
UNITS = {"crop": "pixels", "rotate": "degrees", "cutout": "pixels"}
OPTIONAL = frozenset({"cutout"})
"""Kinds whose number may be left out."""
EXAMPLES = ("none", "crop4", "flip", "rotate20", "autoaugment", "randaugment", "cutout", "cutout16")

AugmentationStep = tuple[str, int | None]


def augmentation_steps(name: str) -> list[AugmentationStep]:
    """A name such as "flip+crop4" -> its steps (kind, number) in the order in which they act; "none" -> [].

    Raises UsageError on a step that doesn't exist, stands twice, or has no number or a wrong one.
    """
    texts = [text.strip().lower() for text in name.split("+")]
    if texts == ["none"]:
        return []
    if "none" in texts:
        raise UsageError(f'augmentation "{name}": none stands alone. Leave it out, or type --augment none.')
    numbers: dict[str, int | None] = {}
    for text in texts:
        kind, number = parse_step(text, name)
        if kind in numbers:
            raise UsageError(f'augmentation "{name}" has {kind} more than once: each step acts once, leave one out.')
        numbers[kind] = number
    return [(kind, numbers[kind]) for kind in KINDS if kind in numbers]


def canonical_augmentation(name: str) -> str:
    """The one name of an augmentation, as a run's identity holds it: "Flip + crop04" -> "crop4+flip"."""
    return "+".join(format_step(step) for step in augmentation_steps(name)) or "none"


def format_step(step: AugmentationStep) -> str:
    """The text of a step: ("crop", 4) -> "crop4"."""
    kind, number = step
    return kind if number is None else f"{kind}{number}"


def parse_step(text: str, name: str) -> AugmentationStep:
    """The text of one step in an augmentation's `name` -> (kind, number). Raises UsageError for a wrong one."""
    match = re.fullmatch(r"([a-z]+)([0-9]*)", text)
    if match is None or match[1] not in KINDS:
        close = nearest_names(text, EXAMPLES) or list(EXAMPLES)
        raise UsageError(
            f'no augmentation step "{text}" in "{name}"; did you mean {" or ".join(close)}?\n'
            "Steps, joined with +: none, cropN, flip, rotateN, autoaugment, randaugment, cutout, cutoutN."
        )
    kind, bounds = match[1], KINDS[match[1]]
    if bounds is None:
        if match[2]:
            raise UsageError(f'augmentation step "{text}" takes no number: type {kind}.')
        return kind, None
    if not match[2] and kind in OPTIONAL:
        return kind, None
    low, high = bounds
    # At most six digits are read: Python refuses to read very long numbers at all.
    if not match[2] or len(match[2]) > 6 or not low <= int(match[2]) <= high:
        alone = f" or nothing, for half of the image's side: {kind}" if kind in OPTIONAL else ""
        raise UsageError(
            f'augmentation step "{text}": {kind} is followed by a whole number of {UNITS[kind]} from {low} to {high}, '
            f"such as {kind}4{alone}."
        )
    return kind, int(match[2])
