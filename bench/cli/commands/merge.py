"""`merge`: stores of several machines into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records.merge import MergeConflict, MergeTally, RecordDifference, merge_sources, open_merge_sources
from bench.records.origin import short_revision
from bench.records.store import Store
from bench.system.console import check_folder, print_note, write_json, write_page, write_text
from bench.system.errors import UsageError

CONFLICTS_SHOWN = 10
DIFFERENCES_SHOWN = 4
LONGEST_VALUE = 60


def merge_command(sources: Sequence[str], out: str, dry_run: bool, form: str) -> int:
    """Copy what `sources` hold into the store `out`; 1 where something of them isn't in it afterwards."""
    if not sources:
        raise UsageError("merge what? Type, for instance, python -m bench merge runs-1 runs-2 --out runs")
    store = Store(Path(out), on_problem=lambda problem: print_note(f"note: {problem}"), set_aside=not dry_run)
    check_folder("--out", store.root)
    tallies = merge_sources(open_merge_sources(sources, store.root, print_note), store, dry_run)
    if form == "json":
        write_json(_as_json(tallies, dry_run))
    else:
        _print(tallies, out, dry_run)
    return 0 if all(tally.complete for tally in tallies) else 1


def _print(tallies: Sequence[MergeTally], out: str, dry_run: bool) -> None:
    from rich.table import Table

    from bench.cli.pages import escape_markup

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("source", overflow="fold")
    for name in ("new", "fuller", "there already", "conflicts", "unreadable", "failures"):
        drawn.add_column(name, justify="right")
    for tally in tallies:
        numbers = (tally.new, tally.fuller, tally.same, len(tally.conflicts), len(tally.unreadable), tally.failures)
        drawn.add_row(*escape_markup([tally.source, *map(str, numbers)]))
    write_page(drawn)
    copied, failures = sum(tally.new + tally.fuller for tally in tallies), sum(tally.failures for tally in tallies)
    would = "would be copied" if dry_run else "copied"
    write_text(f"\n{copied} records and {failures} failures {would} to {out}")
    conflicts = [conflict for tally in tallies for conflict in tally.conflicts]
    for conflict in conflicts[:CONFLICTS_SHOWN]:
        write_text("\n" + "\n".join(_lines(conflict, out)))
    if len(conflicts) > CONFLICTS_SHOWN:
        write_text(f"\n... and {len(conflicts) - CONFLICTS_SHOWN} more conflicts; --format json has them all")
    for tally in tallies:
        for problem in tally.unreadable:
            print_note(f"unreadable: {problem}")
    if copied and not dry_run:
        print_note(f"python -m bench report --out {out} writes the boards")


def _lines(conflict: MergeConflict, out: str) -> list[str]:
    """What two records of one run say differently."""
    lines = [f"conflict: {_name(conflict.kept)}: {out} is kept, {conflict.source} says otherwise"]
    lines += [
        f"  {each.path}: {_short(each.kept)} kept, {_short(each.refused)} in {conflict.source}"
        for each in conflict.differences[:DIFFERENCES_SHOWN]
    ]
    more = len(conflict.differences) - DIFFERENCES_SHOWN
    if more > 0:
        lines.append(f"  ... and {more} more")
    made = [_made(record) for record in (conflict.kept, conflict.refused)]
    if made[0] != made[1]:
        lines.append(f"  kept: {made[0]}; refused: {made[1]}")
    return lines


def _name(record: Mapping[str, Any]) -> str:
    spec = record["spec"]
    rate = "" if spec.get("rate") is None else f" {spec['rate']:g}"
    return (
        f"{record['run_id']} ({spec['method']}, {spec['data_set']}, {spec['noise']}{rate}, seed {spec.get('seed', 0)})"
    )


def _short(value: tuple[Any, ...]) -> str:
    if not value:
        return "nothing"
    text = str(value[0])
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _made(record: Mapping[str, Any]) -> str:
    """Where a record comes from, as far as it says so: what may explain a difference."""
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
                "kept": _made(conflict.kept),
                "refused": _made(conflict.refused),
                "differences": [_difference(each) for each in conflict.differences],
            }
            for tally in tallies
            for conflict in tally.conflicts
        ],
    }


def _difference(each: RecordDifference) -> dict[str, Any]:
    """What a record doesn't hold at all is left out, since null is a value."""
    sides = {"kept": each.kept, "refused": each.refused}
    return {"path": each.path} | {name: value[0] for name, value in sides.items() if value}
