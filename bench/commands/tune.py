"""`tune`: studies over methods' own search spaces. A request is judged whole before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import look_up as lookup
from bench import room
from bench.claims import LEASE_SECONDS
from bench.commands.looking import look_up
from bench.commands.output import check_folder, note, write, write_json
from bench.commands.run import note_placement, runtimes
from bench.commands.words import command_line
from bench.errors import UsageError
from bench.executors import together
from bench.request import Request
from bench.tuning import case as cases
from bench.tuning import storage as storages
from bench.tuning.request import TuneRequest
from bench.tuning.space import check_with

if TYPE_CHECKING:
    from bench.facts import Facts
    from bench.plan import LeftOut
    from bench.store import Store
    from bench.tuning import files
    from bench.tuning.case import Case
    from bench.tuning.search import Search
    from bench.tuning.stages import Stages

OWN = frozenset(TuneRequest.model_fields)
REPLACED = frozenset({"lr", "weight_decay"})
"""Options of the search that a run with its recipes doesn't take: the recipes say it."""


def tune_command(options: Mapping[str, Any], lease: float = LEASE_SECONDS) -> int:
    """Carry out a request as typed; returns the exit code."""
    if "seeds" in options:
        raise UsageError("--seeds goes with --grid: studies take as many splits as they need. Leave it out")
    tuning = TuneRequest.typed(**{name: value for name, value in options.items() if name in OWN})
    shared = {name: value for name, value in options.items() if name not in OWN}
    request = Request.typed(**shared, seeds=(cases.SEARCH_SEEDS,))
    also = check_with(tuning.also)
    if together.world().size > 1:
        raise UsageError("tune starts its own processes, so torchrun has no place here. Type: python -m bench tune ...")
    storages.check_address(tuning.storage)
    lookup.check_names(request)
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    facts = look_up(request)
    found, left_out = cases.cases(request, facts, also, tuning.objective, tuning.study_seed, tuning.study_name)
    if request.dry_run:
        _print_plan(found, left_out, tuning, request.format)
        return 0
    note_placement(request, facts)
    for each in left_out:
        note(f"left out: {each.method} ({each.noise}): {each.reason}")
    return _tune(request, tuning, facts, found, options, lease)


def _tune(
    request: Request,
    tuning: TuneRequest,
    facts: Facts,
    found: Sequence[Case],
    options: Mapping[str, Any],
    lease: float,
) -> int:
    from bench.executors.local import LocalExecutor
    from bench.progress import open_display
    from bench.store import Store
    from bench.study import follow
    from bench.tuning import files
    from bench.tuning.driver import Driver, TrialsDisplay
    from bench.tuning.readings import Readings
    from bench.tuning.search import Search, refuse_another
    from bench.tuning.stages import Stages

    runs = sum(len(each.search_seeds) * tuning.trials for each in found)
    kinds = [spec for each in found for spec in each.search_runs(each.own)]
    made = room.share(kinds, facts, runs, request.jobs, note)
    store = Store(Path(request.out), on_problem=lambda problem: note(f"note: {problem}"), lease=lease)
    where = storages.shown(tuning.storage, store.root)
    where_to = files.target(Path(request.boards), found, tuning.study_name)
    storage = storages.open_storage(tuning.storage, store.root, lease)
    for each in found:  # all, before any is made
        refuse_another(each, storage, where)
    searches = [Search(each, storage, where, store.root, tuning.trials, lease) for each in found]
    finals = tuning.finalists + 1
    done = sum(slot.over for search in searches for slot in search.slots().values())
    display = TrialsDisplay(open_display(), len(found) * (tuning.trials + finals), done)
    readings = Readings(store, tuning.objective)
    stages = [
        Stages(search.case, search, readings, tuning.finalists, display.note, display.trial_ended)
        for search in searches
    ]
    driver = Driver(stages, made.jobs, runtimes(request, facts, made))
    for each in found:
        note(_announced(each, tuning))
    _say_revisions(searches)
    try:
        outcome = follow(driver, store, display, LocalExecutor(store.root, made.jobs, made.threads, lease=lease))
    finally:
        driver.leave()
    if outcome.interrupted_signal is not None:
        note("Stopped; the same command goes on where it was")
        return outcome.exit_code
    return _conclude(request, stages, searches, store, where_to, _commands(options, where_to))


def _announced(case: Case, tuning: TuneRequest) -> str:
    """One line on what a study does."""
    names = [each.name for each in case.space.dimensions]
    return (
        f"{case.name}: {len(names)} dimension{'s' * (len(names) != 1)} ({', '.join(names)}), "
        f"{tuning.trials} trials of {len(case.search_seeds)} runs, {case.labels} held-out labels"
    )


def _say_revisions(searches: Sequence[Search]) -> None:
    """Say which studies were begun with another revision of the code."""
    from bench.revision import revision

    head = revision()[0]
    others = [each for each in searches if head and each.begun_by and each.begun_by != head]
    for each in others:
        note(
            f"note: the study {each.case.name} was begun by revision {str(each.begun_by)[:10]} of the code, this is "
            f"{str(head)[:10]}. Its trials count: equal run ids mean equal training. --study-name keeps them apart"
        )


def _commands(options: Mapping[str, Any], where: files.Target) -> files.Commands:
    """The command as it was typed, but for what changes no choice, and the one that trains with what it chose."""
    from bench.tuning import files

    typed = {"with" if name == "also" else name: value for name, value in options.items()}
    training = {name: value for name, value in options.items() if name not in OWN | REPLACED}
    use = {**training, "recipes": str(where.recipes)}
    return files.Commands(command_line(typed, command="tune"), command_line(use))


def _conclude(
    request: Request,
    stages: Sequence[Stages],
    searches: Sequence[Search],
    store: Store,
    where: files.Target,
    commands: files.Commands,
) -> int:
    """Write and print what was chosen; 1 where nothing could be in some study."""
    from bench.tuning import files, outcome, page
    from bench.tuning.hindsight import hindsight

    ended = [(each.tuned, search) for each, search in zip(stages, searches, strict=True) if each.tuned is not None]
    if not ended:  # the output folder took no more, which was said
        return 1
    documents = [
        outcome.document(tuned, search, hindsight(tuned, store, search.completed())) for tuned, search in ended
    ]
    unwritten = 0
    try:
        tuned, tried = [each for each, _ in ended], [search for _, search in ended]
        written = files.write(where, tuned, tried, documents, store, commands)
        note(f"wrote {', '.join(map(str, written))}")
    except UsageError as error:  # too late for a wrong request: the trials are done
        unwritten = 1
        note(str(error))
    if request.format == "json":
        write_json(
            {
                "schema": 1,
                "command": commands.made,
                "recipes": str(where.recipes),
                "use": commands.use,
                "studies": documents,
            }
        )
    else:
        write(f"{page.summary(documents)}\n\nTo train with what was chosen:\n\n    {commands.use}")
    return 1 if outcome.failed(documents) or len(documents) < len(stages) else unwritten


def _print_plan(found: Sequence[Case], left_out: Sequence[LeftOut], tuning: TuneRequest, form: str) -> None:
    """What would be searched, and what it would cost at most."""
    if form == "json":
        write_json(
            {
                "studies": [
                    {
                        "study": each.name,
                        "space": each.space.declaration(),
                        "own": dict(each.own),
                        "dimensions": len(each.space.dimensions),
                        "trials": tuning.trials,
                        "splits": len(each.search_seeds),
                        "held_out_labels": each.labels,
                        "most_runs": _most_runs(each, tuning),
                    }
                    for each in found
                ],
                "left_out": [
                    {"method": each.method, "noise": each.noise, "rate": each.rate, "reason": each.reason}
                    for each in left_out
                ],
            }
        )
        return
    for each in found:
        write(f"{_announced(each, tuning)}, at most {_most_runs(each, tuning)} runs in all")
        for dimension in each.space.dimensions:
            write(f"  {dimension.name}: {dimension}, own value {each.own[dimension.name]}")
    for out in left_out:
        write(f"left out: {out.method} ({out.noise}): {out.reason}")


def _most_runs(case: Case, tuning: TuneRequest) -> int:
    """Training runs of a study that prunes nothing."""
    return (tuning.trials + min(tuning.trials, tuning.finalists + 1)) * len(case.search_seeds)
