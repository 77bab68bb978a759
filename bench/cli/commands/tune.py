"""`tune`: studies over methods' own search spaces. A request is judged whole before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.execution.progress import gather_facts_with_display
from bench.execution.runtimes import make_runtimes, note_image_placement
from bench.memory import job_limits
from bench.planning import validate
from bench.planning.request import Request
from bench.records.claims import LEASE_SECONDS
from bench.records.origin import short_revision
from bench.reporting.command_line import command_line
from bench.system import processes
from bench.system.console import check_folder, print_note, write_json, write_text
from bench.system.errors import UsageError
from bench.tuning.request import TuneRequest
from bench.tuning.study import definition
from bench.tuning.study.search_space import check_searched_names
from bench.tuning.study.storage import check_storage_address, describe_storage, open_storage

if TYPE_CHECKING:
    from bench.planning.facts import Facts
    from bench.planning.plan import LeftOut
    from bench.records.store import Store
    from bench.tuning.study import outputs
    from bench.tuning.study.definition import StudyCase
    from bench.tuning.study.optuna_study import OptunaStudy
    from bench.tuning.study.stages import StudyStages


OWN = frozenset(TuneRequest.model_fields)
REPLACED = frozenset({"lr", "weight_decay"})
"""Options of the search that a run with its recipes doesn't take: the recipes say it."""


def tune_command(options: Mapping[str, Any], lease: float = LEASE_SECONDS) -> int:
    """Carry out a request as typed; returns the exit code."""
    if "seeds" in options:
        raise UsageError("--seeds goes with --grid: studies take as many splits as they need. Leave it out")
    tuning = TuneRequest.typed(**{name: value for name, value in options.items() if name in OWN})
    shared = {name: value for name, value in options.items() if name not in OWN}
    request = Request.typed(**shared, seeds=(definition.SEARCH_SEEDS,))
    also = check_searched_names(tuning.also)
    if processes.torchrun_world().size > 1:
        raise UsageError("tune starts its own processes, so torchrun has no place here. Type: python -m bench tune ...")
    check_storage_address(tuning.storage)
    validated = validate.validate_request(request)
    if not request.dry_run:
        check_folder("--out", Path(request.out))
        check_folder("--boards", Path(request.boards))
    facts = gather_facts_with_display(validated)
    found, left_out = definition.plan_studies(
        request, facts, also, tuning.objective, tuning.study_seed, tuning.study_name
    )
    if request.dry_run:
        _print_plan(found, left_out, tuning, request.format)
        return 0
    note_image_placement(request, facts)
    for each in left_out:
        print_note(f"left out: {each.method} ({each.noise}): {each.reason}")
    return _tune(request, tuning, facts, found, options, lease)


def _tune(
    request: Request,
    tuning: TuneRequest,
    facts: Facts,
    found: Sequence[StudyCase],
    options: Mapping[str, Any],
    lease: float,
) -> int:
    from bench.execution.local import LocalExecutor
    from bench.execution.progress import open_display
    from bench.execution.study import run_job_source
    from bench.records.store import Store
    from bench.tuning.study import outputs
    from bench.tuning.study.job_source import TrialsDisplay, TuningJobs
    from bench.tuning.study.optuna_study import OptunaStudy, refuse_other_definition
    from bench.tuning.study.stages import StudyStages
    from bench.tuning.study.trial_scores import TrialScores

    runs = sum(len(each.search_seeds) * tuning.trials for each in found)
    kinds = [spec for each in found for spec in each.search_runs(each.own)]
    made = job_limits.limit_jobs(kinds, facts, runs, request.jobs, print_note)
    store = Store(Path(request.out), on_problem=lambda problem: print_note(f"note: {problem}"), lease=lease)
    where = describe_storage(tuning.storage, store.root)
    where_to = outputs.output_target(Path(request.boards), found, tuning.study_name)
    storage = open_storage(tuning.storage, store.root, lease)
    for each in found:  # all, before any is made
        refuse_other_definition(each, storage, where)
    searches = [OptunaStudy(each, storage, where, store.root, tuning.trials, lease) for each in found]
    finals = tuning.finalists + 1
    done = sum(slot.over for search in searches for slot in search.slots().values())
    display = TrialsDisplay(open_display(), len(found) * (tuning.trials + finals), done)
    readings = TrialScores(store, tuning.objective)
    stages = [
        StudyStages(search.case, search, readings, tuning.finalists, display.note, display.trial_ended)
        for search in searches
    ]
    driver = TuningJobs(stages, made.jobs, make_runtimes(request, facts, made))
    for each in found:
        print_note(_announced(each, tuning))
    _say_revisions(searches)
    try:
        outcome = run_job_source(
            driver, store, display, LocalExecutor(store.root, made.jobs, made.threads, lease=lease)
        )
    finally:
        driver.leave()
    if outcome.interrupted_signal is not None:
        print_note("Stopped; the same command goes on where it was")
        return outcome.exit_code
    return _conclude(request, stages, searches, store, where_to, _commands(options, where_to))


def _announced(case: StudyCase, tuning: TuneRequest) -> str:
    """One line on what a study does."""
    names = [each.name for each in case.space.dimensions]
    return (
        f"{case.name}: {len(names)} dimension{'s' * (len(names) != 1)} ({', '.join(names)}), "
        f"{tuning.trials} trials of {len(case.search_seeds)} runs, {case.labels} held-out labels"
    )


def _say_revisions(searches: Sequence[OptunaStudy]) -> None:
    """Say which studies were begun with another revision of the code."""
    from bench.system.code_version import git_revision

    head = git_revision()[0]
    others = [each for each in searches if head and each.begun_by and each.begun_by != head]
    for each in others:
        print_note(
            f"note: the study {each.case.name} was begun by revision {short_revision(each.begun_by)} of the code, "
            f"this is {short_revision(head)}. Its trials count: equal run ids mean equal training. --study-name keeps "
            "them apart"
        )


def _commands(options: Mapping[str, Any], where: outputs.OutputTarget) -> outputs.StudyCommands:
    """The command as it was typed, but for what changes no choice, and the one that trains with what it chose."""
    from bench.tuning.study import outputs

    typed = {"with" if name == "also" else name: value for name, value in options.items() if name != "storage"}
    training = {name: value for name, value in options.items() if name not in OWN | REPLACED}
    use = {**training, "recipes": str(where.recipes)}
    return outputs.StudyCommands(command_line(typed, command="tune"), command_line(use))


def _conclude(
    request: Request,
    stages: Sequence[StudyStages],
    searches: Sequence[OptunaStudy],
    store: Store,
    where: outputs.OutputTarget,
    commands: outputs.StudyCommands,
) -> int:
    """Write and print what was chosen; 1 where nothing could be in some study."""
    from bench.tuning.study import outputs, result, study_page
    from bench.tuning.study.result import judge_in_hindsight

    ended = [(each.tuned, search) for each, search in zip(stages, searches, strict=True) if each.tuned is not None]
    if not ended:  # the output folder took no more, which was said
        return 1
    documents = [
        result.study_document(tuned, search, judge_in_hindsight(tuned, store, search.completed()))
        for tuned, search in ended
    ]
    unwritten = 0
    try:
        tuned, tried = [each for each, _ in ended], [search for _, search in ended]
        written = outputs.write_outputs(where, tuned, tried, documents, store, commands)
        print_note(f"wrote {', '.join(map(str, written))}")
    except UsageError as error:  # too late for a wrong request: the trials are done
        unwritten = 1
        print_note(str(error))
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
        write_text(f"{study_page.summarise_studies(documents)}\n\nTo train with what was chosen:\n\n    {commands.use}")
    return 1 if result.failed_studies(documents) or len(documents) < len(stages) else unwritten


def _print_plan(found: Sequence[StudyCase], left_out: Sequence[LeftOut], tuning: TuneRequest, form: str) -> None:
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
        write_text(f"{_announced(each, tuning)}, at most {_most_runs(each, tuning)} runs in all")
        for dimension in each.space.dimensions:
            write_text(f"  {dimension.name}: {dimension}, own value {each.own[dimension.name]}")
    for out in left_out:
        write_text(f"left out: {out.method} ({out.noise}): {out.reason}")


def _most_runs(case: StudyCase, tuning: TuneRequest) -> int:
    """Training runs of a study that prunes nothing."""
    return (tuning.trials + min(tuning.trials, tuning.finalists + 1)) * len(case.search_seeds)
