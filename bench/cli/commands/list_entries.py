"""`list`: the methods, data sets, noises or models that are registered. Imports no torch, and nothing of planning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import registry
from bench.system.console import write_json, write_page, write_text
from bench.system.errors import UsageError

PRIVATE = frozenset({"module", "file", "class", "label"})
LONG = frozenset({"docstring", "description", "layout"})
LISTS = {
    "methods": registry.methods,
    "datasets": registry.data_sets,
    "noises": registry.noises,
    "models": registry.models,
}


def list_command(kind: str, plugins: Sequence[str], form: str) -> int:
    """List methods, datasets, noises or models as text or JSON, datasets also as Markdown."""
    registry.load_plugins(plugins)
    entries = list(LISTS[kind]().values())
    if form == "json":
        write_json([public_declaration(entry, brief=True) for entry in entries])
    elif form == "md":
        if kind != "datasets":
            raise UsageError(f"--format md goes with list datasets: type list {kind}, or list datasets --format md")
        from bench.cli.data_set_document import data_set_document

        write_text(data_set_document(entries))
    else:
        from bench.cli import pages

        adversaries = [entry for entry in entries if entry.get("is_adversary")]
        write_page(pages.declarations_table(kind, [entry for entry in entries if entry not in adversaries]))
        if adversaries:
            write_text("\nAdversaries: labels made to do the most harm, which nothing in nature does\n")
            write_page(pages.declarations_table(kind, adversaries))
    return 0


def public_declaration(entry: Mapping[str, Any], brief: bool = False) -> dict[str, Any]:
    """A declaration as JSON shows it; `brief` leaves the long texts to `show`."""
    hidden = PRIVATE | (LONG if brief else frozenset())
    common = {"name": entry["name"], "aliases": [], "summary": "", "source": ""}
    return common | {key: value for key, value in entry.items() if key not in hidden}
