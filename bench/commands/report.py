"""`report`, and the end of `run`: records to leaderboards. Imports no torch."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Budget
from bench.budget import parse as parse_budget
from bench.commands.aside import study_files, what_is_known
from bench.commands.output import note, write, write_json
from bench.errors import UsageError
from bench.plan import Plan
from bench.spec import RESERVED_SEEDS

if TYPE_CHECKING:
    from bench import leaderboard

Record = Mapping[str, Any]


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
    from bench.leaderboard import reportable
    from bench.store import Store

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
        found = read_files(records)
        where = ", ".join(records)
    else:
        store = Store(Path(out or "runs"), on_problem=lambda problem: note(f"note: {problem}"))
        found, failures, where = list(store.records()), list(store.failures()), str(store.root)
    if found and not any(map(reportable, found)):
        raise UsageError(
            f"all {len(found):,} records in {where} are of seeds for choosing (from {RESERVED_SEEDS:,} up), which "
            "stand on no board: train on others by python -m bench run"
        )
    if not found:
        raise UsageError(f"there are no records in {where}: train some by python -m bench run, or give another --out")
    if compare is not None:
        _print_comparison(found, failures, select, compare, form)
    else:
        publish(found, failures=failures, boards=folder, select=select, form=form, budget=asked)
    if export is not None:
        from bench.commands.export import export as write_records

        for path in write_records(list(filter(reportable, found)), Path(export)):
            note(f"wrote {path}")
    return 0


def _print_comparison(records: Sequence[Record], failures: Sequence[Record], select: str, to: str, form: str) -> None:
    """Print the paired differences of every row to one method; writes no board."""
    from bench import registry
    from bench.leaderboard import build, compare

    known = registry.methods()
    to = next((name for name, entry in known.items() if to in entry["aliases"]), to)
    report = build(records, failures=failures, select=select)
    found = compare.compare(report, to, oracle=build(records, select="best-test"))
    if form == "json":
        write_json(compare.as_json(found, select))
    elif form == "csv":
        write(compare.as_csv(found, select))
    elif sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        for line in compare.as_markdown(found, select, short_names=True).splitlines():
            write(line if line.startswith("|") else textwrap.fill(line, width))
    else:
        write(compare.as_markdown(found, select))


def _print_tables(report: leaderboard.Report, asked: Collection[str] | None) -> None:
    """Print the tables as compactly as the terminal's width wants them; the files hold them in full."""
    from rich.console import Console
    from rich.text import Text

    from bench import leaderboard

    console = Console(highlight=False, soft_wrap=True)
    for line in leaderboard.as_lines(report, asked, console.width):
        console.print(Text(line.text, style="bold" if line.strong else ""))


def read_files(paths: Sequence[str]) -> list[Record]:
    """The records of files, each run once (from the first file that has it)."""
    from bench.records import read_jsonl

    found: dict[str, Record] = {}
    for path in paths:
        for record in read_jsonl(Path(path)):
            found.setdefault(record["run_id"], record)
    return list(found.values())


def publish(
    records: Sequence[Record],
    *,
    failures: Sequence[Record],
    boards: Path,
    select: str,
    form: str,
    asked: Collection[str] | None = None,
    planned: Plan | None = None,
    command: str | None = None,
    budget: Budget | None = None,
) -> None:
    """Write the boards of `records`, and print the tables of the settings in `asked` (ids; None: all).

    `planned` and `command` are those of the `run` that ends here: what it left out stands under its tables.
    """
    from bench import leaderboard
    from bench.leaderboard import tuned as tuned_rows

    every = len(records)
    records = [record for record in records if leaderboard.reportable(record)]
    failures = [failure for failure in failures if leaderboard.reportable(failure)]
    if len(records) < every:
        note(f"{every - len(records):,} runs on seeds for choosing (from {RESERVED_SEEDS:,} up) stand on no board")
    if not records and not failures:
        note("no run has a record yet, so there is no leaderboard")
        return
    studies = study_files(boards)
    aside = what_is_known(records, failures, planned, command, studies)
    report = leaderboard.build(
        records,
        failures=failures,
        select=select,
        left_out=aside.left_out,
        commands={} if command is None else dict.fromkeys(asked or (), command),
        checked=aside.checked,
        notes=aside.notes,
        budget=budget,
    )
    if budget is not None and not any(board.equal_compute for board in report.boards):
        note(
            "no table at equal compute: no method has runs of several lengths or numbers of members. Train them by "
            "python -m bench run --budget equal-compute"
        )
    written: list[Path] = leaderboard.write(report, boards)
    tuned = tuned_rows.pairs(report, studies)
    if tuned:
        written.append(tuned_rows.write(tuned, boards))
    if form == "json":
        write_json(leaderboard.as_json(report, asked) | ({"tuned": tuned_rows.as_json(tuned)} if tuned else {}))
    elif form == "csv":
        write(leaderboard.as_csv(report, asked))
    elif sys.stdout.isatty():
        _print_tables(report, asked)
    else:
        write(leaderboard.as_markdown(report, asked))
    if tuned and form == "md":
        write(f"\n{tuned_rows.HEADING}\n\n{tuned_rows.grid(tuned)}")
    for path in written:
        note(f"wrote {path}")
