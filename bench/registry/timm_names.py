"""The names of timm's models, read from its files: an import of timm takes seconds, and a typo must show at once."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from bench.system.errors import UsageError, nearest_names

PREFIX = "timm:"
FEWEST = 100
"""With fewer names than that, timm's files aren't written as they were, and timm itself is imported and asked."""

_REGISTERED = re.compile(rb"^@register_model\s*\n(?:@[^\n]*\n)*def (\w+)\(", re.MULTILINE)


@lru_cache(maxsize=1)
def timm_names() -> frozenset[str]:
    """Every model of timm, without importing it. Raises UsageError if timm isn't installed."""
    package = find_spec("timm")
    if package is None or not package.origin:
        raise UsageError("timm isn't installed, and the model needs it: pip install timm")
    names: set[str] = set()
    for file in (Path(package.origin).parent / "models").rglob("*.py"):
        names.update(name.decode() for name in _REGISTERED.findall(file.read_bytes()))
    if len(names) < FEWEST:
        import timm

        names = set(timm.list_models())
    return frozenset(names)


def check_timm(model: str, option: str = "--model", pretrained: bool = False) -> None:
    """Raise UsageError if `model`, "timm:NAME" typed with `option`, is no model of timm.

    Also if it names weights, "timm:NAME.TAG", and they aren't fetched (`pretrained`).
    """
    name, dot, _ = model.removeprefix(PREFIX).partition(".")
    if name not in timm_names():
        near = nearest_names(name, sorted(timm_names()))
        meant = f"Did you mean {' or '.join(PREFIX + other for other in near)}?" if near else "See timm.list_models()."
        raise UsageError(f"timm has no model {name!r}. {meant}")
    if dot and not pretrained:
        raise UsageError(
            f"{option} {model} names pretrained weights: add --pretrained to fetch them, or type {PREFIX}{name}"
        )
