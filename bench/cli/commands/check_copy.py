"""`show dataset NAME --check PATH`: whether a copy of a data set is whole. Exit code 1 where it isn't."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.execution.progress import open_display
from bench.planning import data_facts
from bench.planning.request import Request
from bench.system.console import print_note, write_json, write_page, write_text
from bench.system.errors import UsageError, list_offenders

if TYPE_CHECKING:
    from datasets.copy_check import CopyCheck
    from datasets.interface import DataSet

NOT_WHOLE = 1


def check_copy_command(text: str, options: Mapping[str, Any]) -> int:
    """Check the copy of the data set `text` in `options["check"]`, print what was found, and end with one sentence."""
    registry.load_plugins(options.get("plugin", ()))
    place = str(options["check"])
    if not Path(place).expanduser().exists():
        raise UsageError(f"--check {place}: there is no such folder or file")
    request = _place_request(text, place, options)
    display = open_display()
    try:
        data_set = data_facts.open_requested_data(request, display.decoding)
        found = data_set.check()
    finally:
        display.end()
    if not data_set.layout:
        print_note(f"note: {data_set.name} isn't read from {place} ({data_set.access})")
    for note in found.notes:
        print_note(f"note: {note}")
    _print_result(data_set, place, found, options["format"])
    return NOT_WHOLE if found.problems else 0


def _place_request(text: str, place: str, options: Mapping[str, Any]) -> Request:
    """The request for the data set in `place`: its argument where it takes one, else the folder of all data."""
    skip = options.get("skip_unreadable") or options.get("image_size")
    if skip or "data_root" in options or options.get("download"):
        raise UsageError("--check looks at all files as they are: leave --data-root and the options of images out")
    name = text.partition("[")[0].partition(":")[0]
    argument = registry.find_declaration("data set", name)["argument"]
    if argument is None:
        registry.parse_data_set(text)
        if not Path(place).expanduser().is_dir():
            raise UsageError(f"--check {place}: it is a file, and {name} lies in a folder")
        return Request.typed(dataset=text, data_root=str(Path(place).expanduser()))
    if text.partition("]")[2].startswith(":") or ("[" not in text and ":" in text):
        raise UsageError(f"{text} and --check {place} both name a place: type show dataset {name} --check PATH")
    registry.parse_data_set(f"{text}:{place}")
    return Request.typed(dataset=f"{text}:{place}")


def _print_result(data_set: DataSet, place: str, found: CopyCheck, form: str) -> None:
    from datasets.copy_check import as_json, in_words

    name, said = data_set.recorded_call(), in_words(data_set, found)
    if form == "json":
        write_json({"dataset": name, "place": place, **as_json(found), "summary": said})
        return
    from rich.console import Group
    from rich.markup import escape

    from bench.cli.pages import pairs_table

    facts: list[Any] = ["", pairs_table(found.facts)] if found.facts else []
    write_page(Group(f"[bold]{escape(name)}[/] in {escape(place)}", *facts))
    problems = [list_offenders(found.problems)] if found.problems else []
    write_text("\n".join(["", *problems, said]))  # a line of it is never broken: programs read them
