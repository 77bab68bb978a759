"""The error that a user is meant to read, and the parts of its messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from bench.system.text import list_first


class UsageError(ValueError):
    """A wrong request. The message says in one or two lines what is wrong, why, and what to type. Exit code 2."""


def quote_reason(error: Exception) -> str:
    """An error's message as part of a sentence, in one line: a list of which it breaks off keeps its first items."""
    head, *items = (line.strip() for line in str(error).splitlines() if line.strip())
    if not items:
        return head.rstrip(" .:")
    first = list_first([item.rstrip(" ,;.") for item in items], 3)
    return f"{head} {first}" if head.endswith(":") else f"{head.rstrip(' .')}; {first}"


NEAR = 0.6
"""The least similarity (`difflib`) of a name that is suggested: "gec" is near "gce", and "instance" not near "none"."""


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known names that look most like `name`, best first, whatever their case; none where none is near."""
    by_case = {other.casefold(): other for other in reversed(list(known))}
    return [by_case[other] for other in get_close_matches(name.casefold(), list(by_case), n=most, cutoff=NEAR)]


def list_offenders(items: Sequence[str], most: int = 10) -> str:
    """At most `most` items, one a line, and how many more there are."""
    lines = [f"  {item}" for item in items[:most]]
    if len(items) > most:
        lines.append(f"  ... and {len(items) - most} more")
    return "\n".join(lines)
