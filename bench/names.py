"""Names as a user types them: calls with parameters, comma-separated lists, globs, and what was meant instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from bench.errors import UsageError, nearest

GLOB = frozenset("*?")


@dataclass(frozen=True)
class Selected:
    """One method that was asked for. `outright`: named itself, not brought in by a glob or `all`."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    outright: bool = True


def parse_call(text: str) -> tuple[str, dict[str, str]]:
    """`"gce[q=0.5]"` -> `("gce", {"q": "0.5"})`; values stay text. Raises UsageError where it isn't of this form."""
    name, bracket, rest = text.strip().partition("[")
    name = name.strip()
    rest = rest.strip()
    if not name or (bracket and not rest.endswith("]")) or ("]" in name):
        raise UsageError(f"{text!r} can't be read: type name or name[parameter=value,parameter=value]")
    values: dict[str, str] = {}
    for item in rest[:-1].split(",") if bracket else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals and value):
            raise UsageError(
                f"{text!r} can't be read at {item.strip()!r}: type {name}[parameter=value,parameter=value]"
            )
        if key in values:
            raise UsageError(f"{text!r} gives {key} twice: leave one")
        values[key] = value
    return name, values


def split_list(text: str) -> list[str]:
    """Split at commas outside brackets; blanks around the items go, empty items are dropped."""
    items, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth <= 0:
            items.append(text[start:position])
            start = position + 1
    items.append(text[start:])
    return [item.strip() for item in items if item.strip()]


def split_values(texts: Sequence[str]) -> list[str]:
    """The items of an option that may be repeated.

    Every text is split at its commas, but for one with a colon (a path, perhaps with commas in it) where the
    option was given more than once.
    """
    whole = len(texts) > 1
    return [item for text in texts for item in ([text.strip()] if whole and ":" in text else split_list(text))]


def unknown(kind: str, name: str, known: Iterable[str], listing: str | None = None) -> UsageError:
    """The error for a name that nothing bears, with the nearest ones and where to see all."""
    known = list(known)
    near = nearest(name, known)
    meant = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known[:10]) or 'none'}."
    more = f" All of them: python -m bench list {listing}" if listing else ""
    return UsageError(f"unknown {kind} {name!r}. {meant}{more}")


def canonical(kind: str, name: str, known: Mapping[str, Mapping[str, Any]], listing: str | None = None) -> str:
    """The name that `name` (itself or an alias) stands for among `known` declarations; UsageError if none."""
    if name in known:
        return name
    aliases = {alias: key for key, entry in known.items() for alias in entry.get("aliases", ())}
    if name in aliases:
        return aliases[name]
    raise unknown(kind, name, [*known, *aliases], listing)


def select(texts: Iterable[str], known: Mapping[str, Mapping[str, Any]]) -> list[Selected]:
    """The methods that `texts` (names, aliases, calls, globs, `all`) ask for, in order, each once.

    A call with other parameters is another row. Something both named and globbed counts as named outright.
    """
    chosen: dict[tuple[str, tuple[tuple[str, str], ...]], Selected] = {}
    for text in texts:
        name, values = parse_call(text)
        if name == "all" or GLOB & set(name):
            names = [key for key in known if name == "all" or fnmatchcase(key, name)]
            if not names:
                raise UsageError(f"no method matches {name!r}. All of them: python -m bench list methods")
            outright = False
        else:
            names, outright = [canonical("method", name, known, "methods")], True
        for each in names:
            key = (each, tuple(sorted(values.items())))
            before = chosen.get(key)
            chosen[key] = Selected(each, values, outright or (before is not None and before.outright))
    return list(chosen.values())
