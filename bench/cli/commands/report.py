"""`report`, and the end of `run`: records to leaderboards. Imports no torch."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench.planning.compute_budget import parse_budget
from bench.reporting.publish import Record, publish_boards, read_record_files
from bench.spec import RESERVED_SEEDS
from bench.system.console import print_note, write_json, write_text
from bench.system.errors import UsageError


def report_command(
    out: str | None,
    records: Sequence[str] | None,
    boards: str | None,
    select: str,
    form: str,
    compare: str | None = None,
    export: str | None = None,
    budget: str | None = None,
) -> int:
    """Write the leaderboards of all records in a folder or in files; UsageError where there are none.

    `compare` prints every row's paired differences to one method in place of the tables; `export` is a folder that
    gets the records in their short form. `budget` adds tables at equal compute, as `run --budget` does.
    """
    from bench.leaderboard.tables import is_reportable
    from bench.records.store import Store

    asked = None if budget is None else parse_budget(budget)
    if asked is not None and compare is not None:
        raise UsageError("--compare prints differences and --budget tables: leave one out")
    if out is not None and records:
        raise UsageError("--out and --records both say where the records are: leave one out")
    folder = Path(boards or "leaderboards")
    for option, place in (("--boards", folder), ("--export", None if export is None else Path(export))):
        try:
            if place is not None:
                Store(place).check_writable()
        except UsageError as error:
            raise UsageError(str(error).replace("--out", option)) from None
    found: list[Record]
    failures: list[Record] = []
    if records:
        found = read_record_files(records)
        where = ", ".join(records)
    else:
        store = Store(Path(out or "runs"), on_problem=lambda problem: print_note(f"note: {problem}"))
        found, failures, where = list(store.records()), list(store.failures()), str(store.root)
    if found and not any(map(is_reportable, found)):
        raise UsageError(
            f"all {len(found):,} records in {where} are of seeds for choosing (from {RESERVED_SEEDS:,} up), which "
            "stand on no board: train on others by python -m bench run"
        )
    if not found:
        raise UsageError(f"there are no records in {where}: train some by python -m bench run, or give another --out")
    if compare is not None:
        _print_comparison(found, failures, select, compare, form)
    else:
        publish_boards(found, failures=failures, boards=folder, select=select, form=form, budget=asked)
    if export is not None:
        from bench.records.compact import export_records as write_records

        for path in write_records(list(filter(is_reportable, found)), Path(export)):
            print_note(f"wrote {path}")
    return 0


def _print_comparison(records: Sequence[Record], failures: Sequence[Record], select: str, to: str, form: str) -> None:
    """Print the paired differences of every row to one method; writes no board."""
    from bench import registry
    from bench.leaderboard import comparison
    from bench.leaderboard.tables import build_report

    known = registry.methods()
    to = next((name for name, entry in known.items() if to in entry["aliases"]), to)
    report = build_report(records, failures=failures, select=select)
    found = comparison.compare_rows(report, to, oracle=build_report(records, select="best-test"))
    if form == "json":
        write_json(comparison.comparison_as_json(found, select))
    elif form == "csv":
        write_text(comparison.comparison_as_csv(found, select))
    elif sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        for line in comparison.comparison_as_markdown(found, select, short_names=True).splitlines():
            write_text(line if line.startswith("|") else textwrap.fill(line, width))
    else:
        write_text(comparison.comparison_as_markdown(found, select))
