"""Which line of a TOML text holds what, for messages. Any way of writing TOML will do: TOML's reader looks."""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

TomlPath = Sequence[str | int]
"""Keys of tables and indices of arrays, such as ("recipe", 3, "learning_rate")."""


def line_of_key(text: str, place: TomlPath) -> int:
    """The line, from 1, on which the value at `place` begins; where it isn't there, that of the nearest table above.

    `text` is valid TOML. Read up to some line, it holds the value or it doesn't, and once it does it always will: so
    the line is found by bisection, reading on to the end of a statement that runs over several lines.
    """
    lines = text.split("\n")
    whole = tomllib.loads(text)
    kept = list(place)
    while kept and not _has(whole, kept):
        kept.pop()

    def there(count: int) -> bool:
        while count < len(lines):
            try:
                return _has(tomllib.loads("\n".join(lines[:count])), kept)
            except tomllib.TOMLDecodeError:
                count += 1
        return True

    return max(1, bisect_left(range(len(lines) + 1), True, key=there))


def _has(value: Any, place: TomlPath) -> bool:
    for key in place:
        if isinstance(value, dict) and key in value:
            value = value[str(key)]
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return False
    return True
