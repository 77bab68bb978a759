"""`list`: the methods, data sets, noises or models that are registered. Imports no torch, and nothing of planning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import registry
from bench.system.console import write_json, write_page

PRIVATE = frozenset({"module", "file", "class", "label"})
LONG = frozenset({"docstring", "description"})
LISTS = {
    "methods": registry.methods,
    "datasets": registry.data_sets,
    "noises": registry.noises,
    "models": registry.models,
}


def list_command(kind: str, plugins: Sequence[str], form: str) -> int:
    """List methods, datasets, noises or models as text or JSON."""
    registry.load_plugins(plugins)
    entries = list(LISTS[kind]().values())
    if form == "json":
        write_json([public_declaration(entry, brief=True) for entry in entries])
    else:
        from bench.cli import pages

        write_page(pages.declarations_table(kind, entries))
    return 0


def public_declaration(entry: Mapping[str, Any], brief: bool = False) -> dict[str, Any]:
    """A declaration as JSON shows it; `brief` leaves the long texts to `show`."""
    hidden = PRIVATE | (LONG if brief else frozenset())
    common = {"name": entry["name"], "aliases": [], "summary": "", "source": ""}
    return common | {key: value for key, value in entry.items() if key not in hidden}
