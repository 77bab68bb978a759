"""`report`: records to leaderboards. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.cli.boards import print_boards, print_comparison
from bench.cli.options import Text, Texts
from bench.leaderboard.tables import is_reportable
from bench.planning.compute_budget import parse_budget
from bench.records.compact import export_records, read_jsonl
from bench.records.differences import distinct_records, record_differences
from bench.records.store import Store
from bench.registry.method_code import note_changed_methods, present_code
from bench.reporting.publish import Record, publish_boards
from bench.spec import RESERVED_SEEDS
from bench.system.console import print_note
from bench.system.errors import UsageError


def report_command(
    out: Text,
    records: Texts,
    boards: Text,
    select: str,
    form: str,
    compare: Text,
    export: Text,
    budget: Text,
    audited: bool,
) -> int:
    """Write the leaderboards of all records in a folder or in files; UsageError where there are none.

    `compare` prints every row's paired differences to one method in place of the tables; `export` is a folder that
    gets the records in their short form. `budget` adds tables at equal compute, as `run --budget` does; `audited` shows
    accuracy by audited test labels too.
    """
    parsed_budget = None if budget is None else parse_budget(budget)
    if parsed_budget is not None and compare is not None:
        raise UsageError("--compare prints differences and --budget tables: leave one out")
    if out is not None and records:
        raise UsageError("--out and --records both say where the records are: leave one out")
    folder = Path(boards or "leaderboards")
    for option, path in (("--boards", folder), ("--export", None if export is None else Path(export))):
        try:
            if path is not None:
                Store(path).check_writable()
        except UsageError as error:
            raise UsageError(str(error).replace("--out", option)) from None
    failures: list[Record] = []
    if records:
        stored, source = read_record_files(records), ", ".join(records)
    else:
        store = Store(Path(out or "runs"), on_problem=lambda problem: print_note(f"note: {problem}"))
        stored, failures, source = list(store.records()), list(store.failures()), str(store.root)
    if not stored:
        raise UsageError(f"there are no records in {source}: train some by python -m bench run, or give another --out")
    if not any(map(is_reportable, stored)):
        raise UsageError(
            f"all {len(stored):,} records in {source} are of seeds for choosing (from {RESERVED_SEEDS:,} up), which "
            "stand on no board: train on others by python -m bench run"
        )
    changed = note_changed_methods(stored, lambda name, files: present_code(files))
    if changed is not None:
        print_note(changed)
    if compare is not None:
        print_comparison(stored, failures, select, compare, form)
    else:
        published = publish_boards(
            stored, failures=failures, boards=folder, select=select, budget=parsed_budget, audited=audited
        )
        if published is not None:
            print_boards(published, form)
    if export is not None:
        for path in export_records(list(filter(is_reportable, stored)), Path(export), print_note):
            print_note(f"wrote {path}")
    return 0


def read_record_files(paths: Sequence[str]) -> list[Record]:
    """The records of files, each run once, from the first file that has it. Notes what contradicts these."""
    refused: list[tuple[Record, Record]] = []

    def refuse(kept: Record, other: Record) -> None:
        refused.append((kept, other))

    records = [record for path in paths for record in read_jsonl(Path(path), refuse)]
    distinct = distinct_records(records, refuse)
    if refused:
        kept, other = refused[0]
        difference = next(record_differences(kept, other))
        values = " and ".join(
            str(value[0])[:40] if value else "nothing" for value in (difference.kept, difference.refused)
        )
        print_note(
            f"note: {len(refused)} records contradict an earlier one of their run, which is kept; the first is of "
            f"{kept['run_id']}, where {difference.path} is {values}. Remove the wrong lines"
        )
    return distinct
