"""The names of timm's models, read from its files: importing timm takes seconds, and a typo should show at once."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from bench.system.errors import UsageError, nearest_names

PREFIX = "timm:"
FEWEST = 100
"""Fewer names than that: timm's files are no longer written as they were, and timm itself is asked."""

_REGISTERED = re.compile(rb"^@register_model\s*\n(?:@[^\n]*\n)*def (\w+)\(", re.MULTILINE)


@lru_cache(maxsize=1)
def timm_names() -> frozenset[str]:
    """Every model that timm has, without importing it. Raises UsageError where timm isn't installed."""
    found = find_spec("timm")
    if found is None or not found.origin:
        raise UsageError("timm isn't installed, and the model needs it: pip install timm")
    names: set[str] = set()
    for file in (Path(found.origin).parent / "models").rglob("*.py"):
        names.update(name.decode() for name in _REGISTERED.findall(file.read_bytes()))
    if len(names) < FEWEST:
        import timm

        names = set(timm.list_models())
    return frozenset(names)


def check_timm(model: str) -> None:
    """Raise UsageError where `model`, "timm:NAME", is none of timm's, or names weights, which aren't loaded here."""
    wanted = model.removeprefix(PREFIX)
    name, dot, _ = wanted.partition(".")
    if name not in timm_names():
        near = nearest_names(name, sorted(timm_names()))
        meant = f"Did you mean {' or '.join(PREFIX + each for each in near)}?" if near else "See timm.list_models()."
        raise UsageError(f"timm has no model {name!r}. {meant}")
    if dot:
        raise UsageError(
            f"{model} names pretrained weights, and networks here start from random ones: type {PREFIX}{name}"
        )
