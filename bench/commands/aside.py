"""What stands under a table and no record holds: its command, what can't run there, which terms are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import recipe_files
from bench.commands.output import note
from bench.errors import UsageError
from bench.plan import Plan
from bench.privileges import is_tuned
from bench.recipe_files import RecipeFile
from bench.recipe_use import Sourced

Record = Mapping[str, Any]


@dataclass
class Aside:
    """What stands under tables and no record holds: by setting id, but for `left_out`, whose items hold theirs."""

    left_out: list[dict[str, str]]
    checked: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)


def what_is_known(
    records: Sequence[Record],
    failures: Sequence[Record],
    planned: Plan | None,
    command: str | None,
    studies: Mapping[Path, RecipeFile],
) -> Aside:
    """The command under each table, what it leaves out, and which terms are off; `studies` as `study_files` gives them.

    What was typed stays where it asks for every run of a table; elsewhere it is the shortest command that does.
    """
    from bench import registry
    from bench.commands.again import again
    from bench.commands.terms import switched_off
    from bench.leaderboard.settings import setting_of
    from bench.spec import canonical_json, digest

    aside = Aside([] if planned is None else left_out(planned))
    asked = set() if planned is None else {spec.run_id for spec in planned.specs}
    carried = _carried(command)
    settings: dict[str, list[Record]] = {}
    for record in [*records, *failures]:
        settings.setdefault(digest(canonical_json(setting_of(record))), []).append(record)
    try:
        methods = registry.methods()
    except UsageError as error:  # boards need no catalogue
        note(f"note: {error}")
        return aside
    for setting_id, runs in settings.items():
        specs = [run["spec"] for run in runs]
        aside.notes[setting_id] = switched_off(specs, methods)
        if command is not None and asked.issuperset(run["run_id"] for run in runs):
            aside.checked[setting_id] = command
            continue
        found = again(specs, carried, _study_of(specs, studies))
        if found is not None:
            aside.checked[setting_id] = found.command
            aside.left_out += [
                {"setting_id": setting_id, "method": each.method, "reason": each.reason} for each in found.left_out
            ]
    return aside


def study_files(boards: Path) -> dict[Path, RecipeFile]:
    """The files of studies in a folder of boards; one that can't be read costs a note."""
    found = {}
    for path in sorted((boards / recipe_files.FOLDER).glob("*.toml")):
        try:
            file = recipe_files.read(path)
        except UsageError as error:
            note(f"note: {error}")
            continue
        if file.kind == "study":
            found[path] = file
    return found


def _study_of(specs: Sequence[Mapping[str, Any]], studies: Mapping[Path, RecipeFile]) -> Sourced | None:
    """The first file with choices for all tuned runs of one setting."""
    tuned = {str(spec["method"]) for spec in specs if is_tuned(spec.get("privileges", ()))}
    for path, file in studies.items():
        if tuned and file.setting.get("data_set") == specs[0]["data_set"] and all(map(file.of, tuned)):
            return Sourced(str(path), file, named=True)
    return None


def left_out(planned: Plan) -> list[dict[str, str]]:
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
    from bench.leaderboard.commands import options_in

    typed = options_in(command)
    return {
        **({"data_root": typed["--data-root"][-1]} if "--data-root" in typed else {}),
        **({"download": True} if "--download" in typed else {}),
        **({"plugin": typed["--plugin"]} if "--plugin" in typed else {}),
    }
