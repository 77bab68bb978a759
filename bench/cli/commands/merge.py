"""`merge`: stores of several machines into one.

`merge_command` is the flow; `bench.records.merge` decides what is copied, and the rest of this module prints it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records.differences import RecordDifference
from bench.records.merge import MergeConflict, MergeTally, merge_sources, open_merge_sources
from bench.records.origin import short_revision
from bench.records.store import Store
from bench.system.console import check_folder, print_note, write_json, write_page, write_text
from bench.system.errors import UsageError

CONFLICTS_SHOWN = 10
DIFFERENCES_SHOWN = 4
LONGEST_VALUE = 60


def merge_command(sources: Sequence[str], out: str, dry_run: bool, form: str) -> int:
    """Copy the records and failures of `sources` into the store `out`; 1 where some of them aren't in it afterwards."""
    if not sources:
        raise UsageError("merge what? Type, for instance, python -m bench merge runs-1 runs-2 --out runs")
    store = Store(Path(out), on_problem=lambda problem: print_note(f"note: {problem}"), set_aside=not dry_run)
    check_folder("--out", store.root)
    tallies = merge_sources(open_merge_sources(sources, store.root, print_note), store, dry_run)
    if form == "json":
        write_json(_as_json(tallies, dry_run))
    else:
        _print_tallies(tallies, out, dry_run)
    return 0 if all(tally.complete for tally in tallies) else 1


def _print_tallies(tallies: Sequence[MergeTally], out: str, dry_run: bool) -> None:
    """Print a line for each source, the first conflicts, and what can't be read."""
    from bench.cli.pages import table

    names = ("source", "new", "fuller", "there already", "conflicts", "unreadable", "failures")
    rows = []
    for tally in tallies:
        counts = (tally.new, tally.fuller, tally.same, len(tally.conflicts), len(tally.unreadable), tally.failures)
        rows.append([tally.source, *map(str, counts)])
    write_page(table(names, rows, numbers=True, fold=True))
    copied, failures = sum(tally.new + tally.fuller for tally in tallies), sum(tally.failures for tally in tallies)
    would = "would be copied" if dry_run else "copied"
    write_text(f"\n{copied} records and {failures} failures {would} to {out}")
    conflicts = [conflict for tally in tallies for conflict in tally.conflicts]
    for conflict in conflicts[:CONFLICTS_SHOWN]:
        write_text("\n" + "\n".join(_describe_conflict(conflict, out)))
    if len(conflicts) > CONFLICTS_SHOWN:
        write_text(f"\n... and {len(conflicts) - CONFLICTS_SHOWN} more conflicts; --format json has them all")
    for tally in tallies:
        for problem in tally.unreadable:
            print_note(f"unreadable: {problem}")
    if copied and not dry_run:
        print_note(f"python -m bench report --out {out} writes the boards")


def _describe_conflict(conflict: MergeConflict, out: str) -> list[str]:
    """The values in which two records of one run differ, and where each record comes from; a line each."""
    lines = [f"conflict: {_describe_run(conflict.kept)}: {out} is kept, {conflict.source} says otherwise"]
    lines += [
        f"  {difference.path}: {_shorten(difference.kept)} kept, {_shorten(difference.refused)} in {conflict.source}"
        for difference in conflict.differences[:DIFFERENCES_SHOWN]
    ]
    more = len(conflict.differences) - DIFFERENCES_SHOWN
    if more > 0:
        lines.append(f"  ... and {more} more")
    kept, refused = _describe_origin(conflict.kept), _describe_origin(conflict.refused)
    if kept != refused:
        lines.append(f"  kept: {kept}; refused: {refused}")
    return lines


def _describe_run(record: Mapping[str, Any]) -> str:
    spec = record["spec"]
    rate = "" if spec.get("rate") is None else f" {spec['rate']:g}"
    setting = f"{spec['method']}, {spec['data_set']}, {spec['noise']}{rate}, seed {spec.get('seed', 0)}"
    return f"{record['run_id']} ({setting})"


def _shorten(value: tuple[Any, ...]) -> str:
    if not value:
        return "nothing"
    text = str(value[0])
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _describe_origin(record: Mapping[str, Any]) -> str:
    """Revision, versions and machine of a record, as far as it holds them: what may explain a difference."""
    provenance = record["provenance"]
    revision = provenance.get("git_revision")
    torch = (provenance.get("versions") or {}).get("torch")
    parts = [
        f"revision {short_revision(revision, provenance.get('git_dirty'))}" if revision else "",
        f"torch {torch}" if torch else "",
        str(provenance.get("device") or ""),
        f"{provenance['threads']} threads" if provenance.get("threads") else "",
        str(provenance.get("host") or ""),
    ]
    return ", ".join(part for part in parts if part) or "of unknown origin"


def _as_json(tallies: Sequence[MergeTally], dry_run: bool) -> Mapping[str, Any]:
    return {
        "dry_run": dry_run,
        "sources": [
            {
                "source": tally.source,
                "new": tally.new,
                "fuller": tally.fuller,
                "same": tally.same,
                "failures": tally.failures,
                "conflicts": len(tally.conflicts),
                "unreadable": [str(problem) for problem in tally.unreadable],
            }
            for tally in tallies
        ],
        "conflicts": [
            {
                "run_id": conflict.kept["run_id"],
                "source": conflict.source,
                "kept": _describe_origin(conflict.kept),
                "refused": _describe_origin(conflict.refused),
                "differences": [_difference_as_json(difference) for difference in conflict.differences],
            }
            for tally in tallies
            for conflict in tally.conflicts
        ],
    }


def _difference_as_json(difference: RecordDifference) -> dict[str, Any]:
    """A difference; the side whose record lacks the value is left out, since null is a value."""
    sides = {"kept": difference.kept, "refused": difference.refused}
    return {"path": difference.path} | {name: value[0] for name, value in sides.items() if value}
