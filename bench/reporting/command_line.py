"""A request written back as the command that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.planning.plan import Plan
from bench.planning.request import OPTIONS, SOURCES
from bench.system.code_version import MODULE


def command_line(options: Mapping[str, Any], processes: int = 1, command: str = "run") -> str:
    """The command that asks for the same table again: what only says where and how runs are carried out is left out."""
    start = ["python"] if processes == 1 else ["torchrun", "--nproc-per-node", str(processes)]
    words = [*start, "-m", MODULE, command]
    for name, value in options.items():
        if value is False or (name in OPTIONS and OPTIONS[name].role == "runtime"):
            continue
        option = f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, list | tuple) else [value]:
            words += [option] if item is True else [option, _quote_value(name, str(item))]
    return " ".join(words)


def quote_word(text: str) -> str:
    """A word as a shell reads it, in one line whatever it holds: control characters are written as in $'\\n'."""
    if text.isprintable():
        return shlex.quote(text)
    letters = (
        "\\" + letter if letter in "\\'" else letter if letter.isprintable() else _escape(letter) for letter in text
    )
    return f"$'{''.join(letters)}'"


def _escape(letter: str) -> str:
    """A letter that can't be printed, in the words of $'...'."""
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return known.get(letter) or "".join(f"\\x{byte:02x}" for byte in letter.encode(errors="surrogateescape"))


def _quote_value(option: str, text: str) -> str:
    """A value of an option. Commands are published: a path of data or code doesn't say where somebody's home is."""
    path = Path(text)
    if option in (*SOURCES, "weights") and path.is_absolute():
        if path.is_relative_to(Path.cwd()):
            return quote_word(path.relative_to(Path.cwd()).as_posix())
        with suppress(RuntimeError):  # nobody's home: a user id without an account
            if path != Path.home() and path.is_relative_to(Path.home()):
                return "~/" + quote_word(path.relative_to(Path.home()).as_posix())
    return quote_word(text)


@dataclass(frozen=True)
class TypedCommand:
    """The options of a `run` as typed, and the plan that it made of them."""

    options: Mapping[str, Any]
    planned: Plan

    @cached_property
    def run_ids(self) -> frozenset[str]:
        """The planned runs."""
        return frozenset(spec.run_id for spec in self.planned.specs)

    @cached_property
    def setting_ids(self) -> frozenset[str]:
        """The settings of the planned runs."""
        return frozenset(spec.setting_id for spec in self.planned.specs)

    @property
    def line(self) -> str:
        """The command as text."""
        return command_line(self.options, max((spec.world_size for spec in self.planned.specs), default=1))
