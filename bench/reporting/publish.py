"""What stands under a table and no record holds: its command, what can't run there, which terms are off."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.planning import recipe_files
from bench.planning.compute_budget import Budget
from bench.planning.plan import Plan
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.recipe_files import RecipeFile
from bench.spec import RESERVED_SEEDS
from bench.spec.privileges import is_tuned
from bench.system.console import print_note, write_json, write_text
from bench.system.errors import UsageError

if TYPE_CHECKING:
    from bench.leaderboard import model


Record = Mapping[str, Any]


@dataclass
class BoardNotes:
    """What stands under tables and no record holds: by setting id, but for `left_out`, whose items hold theirs."""

    left_out: list[dict[str, str]]
    checked: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)


def describe_tables(
    records: Sequence[Record],
    failures: Sequence[Record],
    planned: Plan | None,
    command: str | None,
    studies: Mapping[Path, RecipeFile],
) -> BoardNotes:
    """The command under each table, what it leaves out, and which terms are off; `studies` as `study_files` gives them.

    What was typed stays where it asks for every run of a table; elsewhere it is the shortest command that does.
    """
    from bench import registry
    from bench.leaderboard.notes import describe_disabled_terms
    from bench.leaderboard.settings import record_setting
    from bench.reporting.reproduce import shortest_command
    from bench.spec import canonical_json
    from bench.system.text import digest

    aside = BoardNotes([] if planned is None else group_left_out(planned))
    asked = set() if planned is None else {spec.run_id for spec in planned.specs}
    carried = _carried(command)
    settings: dict[str, list[Record]] = {}
    for record in [*records, *failures]:
        settings.setdefault(digest(canonical_json(record_setting(record))), []).append(record)
    try:
        methods = registry.methods()
    except UsageError as error:  # boards need no catalogue
        print_note(f"note: {error}")
        return aside
    for setting_id, runs in settings.items():
        specs = [run["spec"] for run in runs]
        aside.notes[setting_id] = describe_disabled_terms(specs, methods)
        if command is not None and asked.issuperset(run["run_id"] for run in runs):
            aside.checked[setting_id] = command
            continue
        found = shortest_command(specs, carried, _study_of(specs, studies))
        if found is not None:
            aside.checked[setting_id] = found.command
            aside.left_out += [
                {"setting_id": setting_id, "method": each.method, "reason": each.reason} for each in found.left_out
            ]
    return aside


def read_study_files(boards: Path) -> dict[Path, RecipeFile]:
    """The files of studies in a folder of boards; one that can't be read costs a note."""
    found = {}
    for path in sorted((boards / recipe_files.FOLDER).glob("*.toml")):
        try:
            file = recipe_files.read_recipe_file(path)
        except UsageError as error:
            print_note(f"note: {error}")
            continue
        if file.kind == "study":
            found[path] = file
    return found


def _study_of(specs: Sequence[Mapping[str, Any]], studies: Mapping[Path, RecipeFile]) -> SourcedRecipes | None:
    """The first file with choices for all tuned runs of one setting."""
    tuned = {str(spec["method"]) for spec in specs if is_tuned(spec.get("privileges", ()))}
    for path, file in studies.items():
        if tuned and file.setting.get("data_set") == specs[0]["data_set"] and all(map(file.of, tuned)):
            return SourcedRecipes(str(path), file, named=True)
    return None


def group_left_out(planned: Plan) -> list[dict[str, str]]:
    """What was left out, with the ids of the settings under whose tables it stands."""
    settings: dict[tuple[str, float | None], dict[str, None]] = {}
    for spec in planned.specs:
        settings.setdefault((spec.noise, spec.rate), {})[spec.setting_id] = None
    return [
        {"setting_id": setting_id, "method": each.method, "reason": each.reason}
        for each in planned.left_out
        if each.noise is not None
        for setting_id in settings.get((each.noise, each.rate), ())
    ]


def _carried(command: str | None) -> dict[str, Any]:
    """What a typed command says about this machine's files, for the commands that are made."""
    from bench.reporting.reproduce_fallback import options_in

    typed = options_in(command)
    return {
        **({"data_root": typed["--data-root"][-1]} if "--data-root" in typed else {}),
        **({"download": True} if "--download" in typed else {}),
        **({"plugin": typed["--plugin"]} if "--plugin" in typed else {}),
    }


def _print_tables(report: model.Report, asked: Collection[str] | None) -> None:
    """Print the tables as compactly as the terminal's width wants them; the files hold them in full."""
    from rich.console import Console
    from rich.text import Text

    from bench.leaderboard.render import terminal

    console = Console(highlight=False, soft_wrap=True)
    for line in terminal.report_as_lines(report, asked, console.width):
        console.print(Text(line.text, style="bold" if line.strong else ""))


def read_record_files(paths: Sequence[str]) -> list[Record]:
    """The records of files, each run once (from the first file that has it)."""
    from bench.records.compact import read_jsonl

    found: dict[str, Record] = {}
    for path in paths:
        for record in read_jsonl(Path(path)):
            found.setdefault(record["run_id"], record)
    return list(found.values())


def publish_boards(
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
    from bench.leaderboard import tables, tuning_gains
    from bench.leaderboard.render import board_files, markdown, structured

    every = len(records)
    records = [record for record in records if tables.is_reportable(record)]
    failures = [failure for failure in failures if tables.is_reportable(failure)]
    if len(records) < every:
        print_note(
            f"{every - len(records):,} runs on seeds for choosing (from {RESERVED_SEEDS:,} up) stand on no board"
        )
    if not records and not failures:
        print_note("no run has a record yet, so there is no leaderboard")
        return
    studies = read_study_files(boards)
    aside = describe_tables(records, failures, planned, command, studies)
    report = tables.build_report(
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
        print_note(
            "no table at equal compute: no method has runs of several lengths or numbers of members. Train them by "
            "python -m bench run --budget equal-compute"
        )
    written: list[Path] = board_files.write_boards(report, boards)
    tuned = tuning_gains.tuning_gains(report, studies)
    if tuned:
        written.append(tuning_gains.write_gains_page(tuned, boards))
    if form == "json":
        write_json(
            structured.report_as_json(report, asked) | ({"tuned": tuning_gains.gains_as_json(tuned)} if tuned else {})
        )
    elif form == "csv":
        write_text(structured.report_as_csv(report, asked))
    elif sys.stdout.isatty():
        _print_tables(report, asked)
    else:
        write_text(markdown.report_as_markdown(report, asked))
    if tuned and form == "md":
        write_text(f"\n{tuning_gains.HEADING}\n\n{tuning_gains.gains_table(tuned)}")
    for path in written:
        print_note(f"wrote {path}")
