"""Names with parameters, `synthetic[classes=20]`, as records hold them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def written_call(
    name: str, values: Mapping[str, Any], defaults: Mapping[str, Any], unrecorded: Collection[str] = ()
) -> str:
    """`name[key=value,...]` with the values that aren't the defaults, sorted by key; the bare name if all are.

    True is written as the key alone, `cifar100[coarse]`, and False as in `webvision[flickr=false]`.
    """
    changed = [
        key if value is True else f"{key}={_written_value(value)}"
        for key, value in sorted(values.items())
        if key not in unrecorded and value != defaults[key]
    ]
    return f"{name}[{','.join(changed)}]" if changed else name


def _written_value(value: Any) -> str:
    if value is False:
        return "false"
    return value if isinstance(value, str) else format(value, "g")
