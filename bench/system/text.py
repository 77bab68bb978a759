"""Numbers and lists as words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta


def format_large(number: float) -> str:
    """A count in three digits: 970, 12.3 thousand, 4.56 million."""
    for size, name in ((1e12, "million million"), (1e9, "thousand million"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:.3g}"


def format_bytes(count: float) -> str:
    """Bytes as a person reads them."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def list_first(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, the first few of many."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def format_duration(seconds: float) -> str:
    """Hours, minutes and whole seconds, such as 0:01:07."""
    return str(timedelta(seconds=round(seconds)))


def number_spans(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """0, 1, 2, 7 -> (0, 2), (7, 7)."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def digest(text: str) -> str:
    """The first 16 hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
