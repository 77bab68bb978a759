"""Numbers and lists in words, and the short hash of a text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta


def format_large(number: float) -> str:
    """A count in three digits: 970, 12.3 thousand, 4.56 million."""
    for size, name in ((1e12, "million million"), (1e9, "thousand million"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:.3g}"


def format_bytes(count: float) -> str:
    """Bytes in mebibytes or gibibytes: "512 MiB", "1.5 GiB"."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def join_words(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def list_first(names: Iterable[str], most: int = 5) -> str:
    """The first `most` names in a sentence, and how many more there are: "a, b and 3 more"."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def format_duration(seconds: float) -> str:
    """Hours, minutes and whole seconds, such as 0:01:07."""
    return str(timedelta(seconds=round(seconds)))


def number_spans(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and last of each run of consecutive numbers: 0, 1, 2, 7 -> (0, 2), (7, 7)."""
    spans: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans


def digest(text: str) -> str:
    """The first 16 hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
