"""`tune`: request -> facts -> studies -> results -> recipes and page.

`tune_command` is the whole flow; the functions below it are its steps, in order. Wrong requests are refused before
anything is trained or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.commands.run import open_store
from bench.execution.backends import note_image_placement, open_backend
from bench.execution.progress import gather_facts_with_display
from bench.leaderboard.notes import describe_held_label_users
from bench.planning.plan import LeftOut
from bench.planning.request import Request
from bench.planning.validate import validate_request, with_registered_names
from bench.records.origin import short_revision
from bench.records.store import Store
from bench.registry.method_code import note_changed_methods
from bench.reporting.command_line import command_line
from bench.system.code_version import git_revision
from bench.system.console import print_note, write_json, write_text
from bench.system.errors import UsageError
from bench.system.processes import torchrun_world
from bench.tuning.request import TuneRequest
from bench.tuning.study.definition import SEARCH_SEEDS, StudyDefinition, note_few_labels, plan_studies
from bench.tuning.study.search_space import check_searched_names
from bench.tuning.study.storage import check_storage_address

if TYPE_CHECKING:
    from bench.tuning.study.optuna_study import OptunaStudy
    from bench.tuning.study.outputs import OutputTarget
    from bench.tuning.study.stages import StudyResult

    Results = Sequence[tuple[StudyResult, OptunaStudy]]

TUNE_OPTIONS = frozenset(TuneRequest.model_fields)
IN_RECIPES = frozenset({"lr", "weight_decay"})
"""Options of the search that a run with its recipes doesn't take, since the recipes hold the values."""


def tune_command(options: Mapping[str, Any]) -> int:
    """Carry out a request as typed; returns the exit code."""
    request, tuning = read_options(options)
    with open_backend(request) as backend:
        request = with_registered_names(request)
        validated = validate_request(request)
        request = validated.request
        store = open_store(request)
        facts = gather_facts_with_display(validated, backend.find_hardware())
        definitions, left_out = plan_studies(request, facts, tuning)
        if (few := note_few_labels(definitions[0])) is not None:  # the splits are those of all studies
            print_note(few)
        if request.dry_run:
            # Ray writes to standard output while it is connected, so `close` comes before any result is printed.
            backend.close()
            return show_plan(definitions, left_out, tuning, request.format)
        note_image_placement(request, facts)
        for entry in left_out:
            print_note(f"left out: {entry.method} ({entry.noise}): {entry.reason}")
        # Optuna takes long to import, and a dry run or a wrong request needs none of it.
        from bench.tuning.study.outputs import output_target
        from bench.tuning.study.run_studies import open_studies, run_studies

        runs = sum(len(definition.search_seeds) * tuning.trials for definition in definitions)
        first_trials = [run for study in definitions for run in study.search_runs(study.default_values)]
        limits = backend.limit_jobs(first_trials, facts, runs)
        target = output_target(Path(request.boards), definitions, tuning.study_name)
        studies = open_studies(definitions, tuning, store)
        for definition in definitions:
            print_note(describe_study(definition, tuning))
        if tuning.objective == "noisy-val":
            note_held_label_users((definition.base.method for definition in definitions), facts.methods)
        note_revisions(studies)
        note_changed_code(definitions, store)
        runtimes = backend.start(facts, store, limits, runs)
        executor = backend.make_executor(runs)
        outcome, results = run_studies(studies, tuning, store, runtimes, backend.count_jobs(), executor)
    if outcome.interrupted_signal is not None:
        print_note("Stopped; the same command goes on where it was")
        return outcome.exit_code
    code = publish_results(results, store, target, options, request.format)
    return code or int(len(results) < len(studies))


def read_options(options: Mapping[str, Any]) -> tuple[Request, TuneRequest]:
    """The typed options as requests. Raises UsageError for mistakes that show without data or plugins."""
    if "seeds" in options:
        raise UsageError("--seeds goes with --grid: studies take as many splits as they need. Leave it out")
    tuning = TuneRequest.typed(**{name: value for name, value in options.items() if name in TUNE_OPTIONS})
    shared = {name: value for name, value in options.items() if name not in TUNE_OPTIONS}
    request = Request.typed(**shared, seeds=(SEARCH_SEEDS,))
    check_searched_names(tuning.also)
    if torchrun_world().size > 1:
        raise UsageError("tune starts its own processes, so torchrun has no place here. Type: python -m bench tune ...")
    check_storage_address(tuning.storage)
    return request, tuning


def show_plan(
    definitions: Sequence[StudyDefinition], left_out: Sequence[LeftOut], tuning: TuneRequest, form: str
) -> int:
    """Print what would be searched, and what it would cost at most; returns the exit code."""
    # At most: when nothing is pruned, and all finalists run again.
    trials = tuning.trials + min(tuning.trials, tuning.finalists + 1)
    most_runs = {definition.name: trials * len(definition.search_seeds) for definition in definitions}
    if form == "json":
        studies = [
            {
                "study": definition.name,
                "space": definition.space.declaration(),
                "own": dict(definition.default_values),
                "dimensions": len(definition.space.dimensions),
                "trials": tuning.trials,
                "splits": len(definition.search_seeds),
                "held_out_labels": definition.labels,
                "most_runs": most_runs[definition.name],
            }
            for definition in definitions
        ]
        fields = ("method", "noise", "rate", "reason")
        excluded = [{field: getattr(entry, field) for field in fields} for entry in left_out]
        write_json({"studies": studies, "left_out": excluded})
        return 0
    for definition in definitions:
        write_text(f"{describe_study(definition, tuning)}, at most {most_runs[definition.name]} runs in all")
        for dimension in definition.space.dimensions:
            write_text(f"  {dimension.name}: {dimension}, own value {definition.default_values[dimension.name]}")
    for entry in left_out:
        write_text(f"left out: {entry.method} ({entry.noise}): {entry.reason}")
    return 0


def describe_study(definition: StudyDefinition, tuning: TuneRequest) -> str:
    """One line on what a study searches."""
    names = [dimension.name for dimension in definition.space.dimensions]
    return (
        f"{definition.name}: {len(names)} dimension{'s' * (len(names) != 1)} ({', '.join(names)}), "
        f"{tuning.trials} trials of {len(definition.search_seeds)} runs, {definition.labels} held-out labels"
    )


def note_held_label_users(names: Iterable[str], methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Print which methods train by the labels that a choice is about to rest on."""
    for sentence in describe_held_label_users(names, methods):
        print_note(f"note: {sentence}")


def note_revisions(studies: Sequence[OptunaStudy]) -> None:
    """Print which studies were begun by another revision of the code."""
    head = git_revision()[0]
    for study in studies:
        if head and study.begun_by and study.begun_by != head:
            print_note(
                f"note: the study {study.definition.name} was begun by revision {short_revision(study.begun_by)} of "
                f"the code, this is {short_revision(head)}. Its trials count: equal run ids mean equal training. "
                "--study-name keeps them apart"
            )


def note_changed_code(definitions: Sequence[StudyDefinition], store: Store) -> None:
    """Print which stored runs of the studies' methods were trained by other code of them than there is now."""
    methods = {definition.base.method for definition in definitions}
    searched = (record for record in store.records() if record["spec"]["seed"] >= SEARCH_SEEDS)
    of_studies = [record for record in searched if record["spec"]["method"] in methods]
    changed = note_changed_methods(of_studies, train_anew="give another --out")
    if changed is not None:
        print_note(changed)


def publish_results(results: Results, store: Store, target: OutputTarget, options: Mapping[str, Any], form: str) -> int:
    """Write and print what was chosen; returns the exit code, 1 where nothing could be chosen in some study."""
    from bench.tuning.study.outputs import write_outputs
    from bench.tuning.study.result import study_document
    from bench.tuning.study.study_page import summarise_studies

    if not results:  # the output folder took no more records, and a note said so
        return 1
    documents = [study_document(result, study, store) for result, study in results]
    tuning, training = tuning_commands(options, target)
    unwritten = False
    try:
        written = write_outputs(target, results, documents, store, (tuning, training))
        print_note(f"wrote {', '.join(map(str, written))}")
    except UsageError as error:  # printed, not raised: the trials are done, and their results are shown all the same
        unwritten = True
        print_note(str(error))
    if form == "json":
        write_json({"schema": 1, "command": tuning, "recipes": str(target[0]), "use": training, "studies": documents})
    else:
        write_text(f"{summarise_studies(documents)}\n\nTo train with what was chosen:\n\n    {training}")
    return int(unwritten or any(document["chosen"] is None for document in documents))


def tuning_commands(options: Mapping[str, Any], target: OutputTarget) -> tuple[str, str]:
    """The command as typed without what changes no choice, and the command that trains with what it chose."""
    typed = {"with" if name == "also" else name: value for name, value in options.items() if name != "storage"}
    training = {name: value for name, value in options.items() if name not in TUNE_OPTIONS | IN_RECIPES}
    return command_line(typed, command="tune"), command_line({**training, "recipes": str(target[0])})
