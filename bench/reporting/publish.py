"""Records -> boards on disk, each table with its command, the methods that can't run there and its notes.

`publish_boards` is the whole flow; `describe_tables` adds what records don't hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import registry
from bench.leaderboard import tables, tuning_gains
from bench.leaderboard.model import Report, TableNotes
from bench.leaderboard.notes import describe_disabled_terms, describe_held_label_users
from bench.leaderboard.render import markdown
from bench.leaderboard.tuning_gains import TuningGain
from bench.planning import recipe_files
from bench.planning.compute_budget import Budget
from bench.planning.plan import LeftOut, Plan
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.recipe_files import RecipeFile
from bench.reporting.command_line import TypedCommand
from bench.reporting.reproduce import command_for
from bench.spec import RESERVED_SEEDS, SHARED_GRID
from bench.spec.privileges import is_tuned
from bench.system.console import print_note
from bench.system.errors import UsageError
from bench.system.text import join_words

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Publication:
    """The tables, the gains of tuning, and the files that hold both."""

    report: Report
    gains: Sequence[TuningGain]
    files: Sequence[Path]


def publish_boards(
    records: Iterable[Record],
    *,
    failures: Iterable[Record],
    boards: Path,
    select: str,
    typed: Mapping[str, Any] | None = None,
    planned: Plan | None = None,
    budget: Budget | None = None,
    audited: bool = False,
) -> Publication | None:
    """Write the boards of `records`; None, with a note, where there is nothing to write.

    `typed` are the options and `planned` the plan of the `run` that ends here: the methods that it left out are named
    under its tables. `audited` shows accuracy by audited test labels too. Raises UsageError where a file can't be
    written.
    """
    everything = list(records)
    records = list(filter(tables.is_reportable, everything))
    failures = list(filter(tables.is_reportable, failures))
    if len(records) < len(everything):
        print_note(
            f"{len(everything) - len(records):,} runs on seeds for choosing (from {RESERVED_SEEDS:,} up) stand on no "
            "board"
        )
    if not records and not failures:
        print_note("no run has a record yet, so there is no leaderboard")
        return None
    tuning_files = read_tuning_files(boards)
    typed_command = None if typed is None or planned is None else TypedCommand(typed, planned)
    choosing = select == "holdout" or budget is not None
    beside = describe_tables([*records, *failures], typed_command, tuning_files, choosing)
    beside = replace(beside, audited=audited)
    report = tables.build_report(records, failures=failures, select=select, beside=beside, budget=budget)
    if budget is not None and not any(board.equal_compute for board in report.boards):
        print_note(
            "no table at equal compute: no method has runs of several lengths or numbers of members. Train them by "
            "python -m bench run --budget equal-compute"
        )
    files = markdown.write_boards(report, boards)
    gains = tuning_gains.tuning_gains(report, studies_of(tuning_files))
    if gains:
        files.append(tuning_gains.write_gains_page(gains, boards))
    return Publication(report, gains, files)


def describe_tables(
    runs: Iterable[Record],
    typed: TypedCommand | None = None,
    files: Mapping[Path, RecipeFile] | None = None,
    held_labels_choose: bool = False,
) -> TableNotes:
    """The command under each table, the methods that it leaves out, and notes on disabled terms and the grid's choices.

    `runs` are records and failures of any number of settings; `files` are those that `read_tuning_files` returns.
    `held_labels_choose`: epochs, or lengths and members, are chosen by the hold-out's noisy labels.
    """
    files = files or {}
    studies = studies_of(files)
    left_out = [] if typed is None else group_left_out(typed.planned)
    commands, notes = {}, {}
    try:
        methods: Mapping[str, Mapping[str, Any]] = registry.methods()
    except UsageError as error:  # a plugin that can't be read costs notes and short commands, and no board
        print_note(f"note: {error}")
        methods = {}
    for setting_id, setting_runs in tables.runs_by_setting(runs).items():
        specs = [run["spec"] for run in setting_runs]
        command = command_for(setting_id, setting_runs, typed, _study_of(specs, studies))
        commands[setting_id] = command.command
        chosen = [str(spec["method"]) for spec in specs] if held_labels_choose else []
        notes[setting_id] = [
            *describe_held_label_users(chosen, methods),
            *describe_disabled_terms(specs, methods),
            *describe_older_choices(specs, files.values()),
            *describe_older_rows(specs, methods),
        ]
        left_out += [_under_setting(setting_id, left) for left in command.left_out]
    return TableNotes(left_out, commands, notes)


def studies_of(files: Mapping[Path, RecipeFile]) -> dict[Path, RecipeFile]:
    """The files that hold what studies chose."""
    return {path: file for path, file in files.items() if file.kind == "study"}


def describe_older_choices(specs: Sequence[Mapping[str, Any]], files: Iterable[RecipeFile]) -> list[str]:
    """Sentences on the rows of one setting that train with what the shared grid chose for an older version of them.

    A row's choice is the first one with its learning rate in `files`, or else in the project's own file.
    """
    if specs[0].get("protocol") != SHARED_GRID:
        return []
    shared = recipe_files.shared_recipe_file(
        str(specs[0]["data_set"]), str(specs[0]["model"]), specs[0].get("features")
    )
    grids = [file for file in files if file.kind == "grid"] + ([] if shared is None else [shared[1]])
    chosen = {
        (recipe.method, recipe.learning_rate): recipe.method_version
        for file in reversed(grids)
        for recipe in file.recipe
    }
    by_versions: dict[tuple[int, int], set[str]] = {}
    for spec in specs:
        method, now = str(spec["method"]), spec.get("method_version", 1)
        older = chosen.get((method, spec["learning_rate"]), now)
        if older < now and not is_tuned(spec.get("privileges", ())):
            by_versions.setdefault((older, now), set()).add(method)
    return [
        f"Learning rate and weight decay of {join_words(sorted(names))}: the grid chose for version {older}, and "
        f"{'this row is' if len(names) == 1 else 'these rows are'} of version {now}."
        for (older, now), names in sorted(by_versions.items())
    ]


def describe_older_rows(specs: Sequence[Mapping[str, Any]], methods: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence on the rows of one setting whose method has a newer version today; none where there are none."""
    older = {
        f"{spec['method']} (version {version}, now {methods[spec['method']]['version']})"
        for spec in specs
        if spec["method"] in methods and (version := spec.get("method_version", 1)) < methods[spec["method"]]["version"]
    }
    if not older:
        return []
    return [
        f"Rows of an older version of their method, which today's code can't train again: {join_words(sorted(older))}."
    ]


def read_tuning_files(boards: Path) -> dict[Path, RecipeFile]:
    """The recipe files in a folder of boards; one that can't be read costs a note."""
    files = {}
    for path in sorted((boards / recipe_files.FOLDER).glob("*.toml")):
        try:
            file = recipe_files.read_recipe_file(path)
        except UsageError as error:
            print_note(f"note: {error}")
            continue
        files[path] = file
    return files


def _study_of(specs: Sequence[Mapping[str, Any]], studies: Mapping[Path, RecipeFile]) -> SourcedRecipes | None:
    """The first file with choices for all tuned runs of one setting."""
    tuned = {str(spec["method"]) for spec in specs if is_tuned(spec.get("privileges", ()))}
    for path, file in studies.items():
        if tuned and file.setting.get("data_set") == specs[0]["data_set"] and all(map(file.of, tuned)):
            return SourcedRecipes(str(path), file, named=True)
    return None


def group_left_out(planned: Plan) -> list[dict[str, str]]:
    """The methods that a plan left out, an item for each setting under whose table one is named."""
    settings: dict[tuple[str, float | None], dict[str, None]] = {}
    for spec in planned.specs:
        settings.setdefault((spec.noise, spec.rate), {})[spec.setting_id] = None
    return [
        _under_setting(setting_id, left)
        for left in planned.left_out
        if left.noise is not None
        for setting_id in settings.get((left.noise, left.rate), ())
    ]


def _under_setting(setting_id: str, left: LeftOut) -> dict[str, str]:
    return {"setting_id": setting_id, "method": left.method, "reason": left.reason}
