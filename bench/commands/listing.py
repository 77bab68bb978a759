"""`list`: what there is, by kind. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench import registry, show
from bench.commands.output import write_json, write_page

LISTS = {
    "methods": registry.methods,
    "datasets": registry.data_sets,
    "noises": registry.noises,
    "models": registry.models,
}


def list_command(what: str, plugins: Sequence[str], form: str) -> int:
    """List methods, datasets, noises or models as text or JSON."""
    registry.load_plugins(plugins)
    entries: list[dict[str, Any]] = list(LISTS[what]().values())
    if form == "json":
        write_json([show.public(entry, brief=True) for entry in entries])
    else:
        write_page(show.listing(what, entries))
    return 0
