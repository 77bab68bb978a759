"""A request written back as the command that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

NOT_TYPED = frozenset(
    {
        "dry_run",
        "format",
        "when",
        "out",
        "boards",
        "jobs",
        "device",
        "images",
        "steps",
        "shard",
        "storage",
        "executor",
        "ray_address",
        "gpus_per_run",
    }
)
"""Options that the command under a board leaves out: they don't change what it shows once all is done."""


def command_line(options: Mapping[str, Any], processes: int = 1, command: str = "run") -> str:
    """The command that asks for the same table again, with what changes a result only."""
    start = ["python"] if processes == 1 else ["torchrun", "--nproc-per-node", str(processes)]
    words = [*start, "-m", "bench", command]
    for name, value in options.items():
        if name in NOT_TYPED or value is False:
            continue
        option = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list | tuple) else [value]:
            words += [option] if each is True else [option, shlex.quote(str(each))]
    return " ".join(words)
