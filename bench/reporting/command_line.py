"""A request written back as the command that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.planning.plan import Plan
from bench.planning.request import OPTIONS
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
            words += [option] if item is True else [option, shlex.quote(str(item))]
    return " ".join(words)


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
