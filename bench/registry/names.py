"""Names and parameters as a user types them: calls, lists, globs, values, and suggestions for unknown ones.

Read `select_methods` first, then `parse_call` ("gce[q=0.5]") and `check_parameters`. Nothing here imports torch: a
typo must show at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from bench.system.errors import UsageError, nearest_names
from bench.system.text import list_first

GLOB = frozenset("*?")


@dataclass(frozen=True)
class SelectedMethod:
    """A requested method with its typed parameters. `outright`: named itself, not by a glob or `all`."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    outright: bool = True


def parse_call(text: str, flags: Collection[str] = ()) -> tuple[str, dict[str, str]]:
    """`"gce[q=0.5]"` -> `("gce", {"q": "0.5"})`; values stay text. Raises UsageError for text of another form.

    A parameter among `flags` may stand alone, as in `cifar100[coarse]`, and is "true" then.
    """
    name, bracket, rest = text.strip().partition("[")
    name = name.strip()
    rest = rest.strip()
    if not name or (bracket and not rest.endswith("]")) or ("]" in name):
        raise UsageError(f"{text!r} can't be read: type name or name[parameter=value,parameter=value]")
    values: dict[str, str] = {}
    for item in rest[:-1].split(",") if bracket else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if key in flags and not equals:
            equals, value = "=", "true"
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

    Every text is split at its commas. If the option was repeated, a text with a colon stays in one piece: it is a path,
    which may contain commas.
    """
    repeated = len(texts) > 1
    return [item for text in texts for item in ([text.strip()] if repeated and ":" in text else split_list(text))]


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str | None = None) -> UsageError:
    """The error for an unknown name, with the nearest known ones and the command that lists all."""
    known = list(known)
    near = nearest_names(name, known)
    meant = f"Did you mean {' or '.join(near)}?" if near else f"Known: {list_first(known, 10) or 'none'}."
    more = f" All of them: python -m bench list {listing}" if listing else ""
    return UsageError(f"unknown {kind} {name!r}. {meant}{more}")


def canonical_name(kind: str, name: str, known: Mapping[str, Mapping[str, Any]], listing: str | None = None) -> str:
    """The name in `known` declarations that `name`, itself or an alias, stands for. Raises UsageError if none.

    Case, hyphens, underscores and blanks don't matter where that leaves one name: "CIFAR-10" is cifar10.
    """
    if name in known:
        return name
    aliases = {alias: key for key, entry in known.items() for alias in entry.get("aliases", ())}
    if name in aliases:
        return aliases[name]
    meant = {
        key for text, key in [*((key, key) for key in known), *aliases.items()] if _letters(text) == _letters(name)
    }
    if len(meant) == 1:
        return meant.pop()
    raise unknown_name(kind, name, [*known, *aliases], listing)


def _letters(name: str) -> str:
    """A name as it is compared where it isn't written exactly: in lower case, without what joins its parts."""
    return re.sub(r"[\s_-]+", "", name.casefold())


def select_methods(texts: Iterable[str], known: Mapping[str, Mapping[str, Any]]) -> list[SelectedMethod]:
    """The methods that `texts` (names, aliases, calls, globs, `all`) request, in order, each once.

    A call with other parameters is another method here. A method both named and matched by a glob counts as outright.
    """
    chosen: dict[tuple[str, tuple[tuple[str, str], ...]], SelectedMethod] = {}
    for text in texts:
        name, values = parse_call(text)
        if name.casefold() == "all" or GLOB & set(name):
            pattern = name.casefold()
            names = [key for key in known if pattern == "all" or fnmatchcase(key.casefold(), pattern)]
            if not names:
                raise UsageError(f"no method matches {name!r}. All of them: python -m bench list methods")
            outright = False
        else:
            names, outright = [canonical_name("method", name, known, "methods")], True
        for method in names:
            key = (method, tuple(sorted(values.items())))
            before = chosen.get(key)
            chosen[key] = SelectedMethod(method, values, outright or (before is not None and before.outright))
    return list(chosen.values())


def check_parameters(entry: Mapping[str, Any], typed: Mapping[str, str]) -> dict[str, Any]:
    """The typed parameters of a method in their types, by the bounds of its declaration.

    Raises UsageError for an unknown parameter (with the nearest) and for a value out of bounds (with the bounds).
    """
    known = {parameter["name"]: parameter for parameter in entry["parameters"]}
    values = {}
    for key, value in typed.items():
        if key not in known:
            raise unknown_parameter(f"the method {entry['name']}", key, known)
        values[key] = _parse_value(entry["name"], known[key], value)
    return values


def unknown_parameter(owner: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a parameter that `owner` doesn't have, with the nearest ones."""
    known = list(known)
    near = nearest_names(name, known)
    meant = f"Did you mean {' or '.join(near)}?" if near else f"It has: {', '.join(known) or 'none'}."
    return UsageError(f"{owner} has no parameter {name!r}. {meant}")


def _parse_value(owner: str, parameter: Mapping[str, Any], text: str) -> Any:
    """The value that was typed for a parameter, in the type of its default. Raises UsageError if it isn't allowed."""
    # The rules are those of `Parameter.check` in methods/interface.py, which imports torch and checks values from code.
    # Here a declaration as JSON is all there is, and methods must not import the harness: so the rules stand twice.
    default, name = parameter["default"], parameter["name"]
    value: Any = text
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{owner}[{name}={text}]: {name} must be true or false")
        value = text.lower() == "true"
    elif isinstance(default, int | float):
        value = parse_number(owner, name, text, whole=isinstance(default, int), bounds=parameter["bounds"])
    if not is_allowed_value(parameter, value):
        raise UsageError(f"{owner}[{name}={text}] is out of bounds: {name} must be {parameter['bounds']}")
    return value


def is_allowed_value(parameter: Mapping[str, Any], value: Any) -> bool:
    """Whether a value of the right type lies within a declared parameter's bounds and choices."""
    within = not parameter["choices"] or value in parameter["choices"]
    low, high = parameter["low"], parameter["high"]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if low is not None:
            within &= value > low if parameter["open_low"] else value >= low
        if high is not None:
            within &= value < high if parameter["open_high"] else value <= high
    return bool(within)


def parse_number(owner: str, name: str, text: str, *, whole: bool, bounds: str = "") -> float | int:
    """The number in `text`; raises UsageError if it isn't finite, or with `whole` not a whole one."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf") or (whole and value != int(value)):
        noun = "a whole number" if whole else "a number"
        rule = f" {bounds}" if bounds.startswith("in ") else ""
        raise UsageError(f"{owner}[{name}={text}]: {name} must be {noun}{rule}")
    return int(value) if whole else value
