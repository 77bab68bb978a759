"""`show`: one method, data set, noise or run in full. Imports no torch.

`show_command` makes the value that JSON prints, of any kind, and of it the page that text prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.cli.commands.list_entries import public_declaration
from bench.cli.commands.noise_details import describe_annotators, estimate_matrices
from bench.planning import data_facts, given_labels
from bench.planning.request import Request
from bench.planning.validate import with_joined_columns
from bench.registry.names import parse_call
from bench.system.cache import cache_folder
from bench.system.console import print_note, write_json, write_page
from bench.system.errors import UsageError, list_offenders, quote_reason

if TYPE_CHECKING:
    from datasets.data_report import DataReport
    from datasets.interface import DataSet, Outline
    from datasets.noise import Noise, NoisyLabels


IMAGE_OPTIONS = ("image_size", "skip_unreadable")


def show_command(kind: str, name: str, options: Mapping[str, Any]) -> int:
    """Show `name`, which is a method, dataset, noise or run; `options` holds the typed options and default values."""
    save_labels = options.get("save_labels")
    if save_labels is not None and kind != "noise":
        raise UsageError("--save-labels goes with show noise: type show noise sym --save-labels FILE")
    if "check" in options:
        if kind != "dataset":
            raise UsageError(f"--check goes with show dataset: type show dataset NAME --check {options['check']}")
        from bench.cli.commands.check_copy import check_copy_command

        return check_copy_command(name, options)
    registry.load_plugins(options.get("plugin", ()))
    value: Mapping[str, Any]
    if kind == "method":
        value = public_declaration(registry.find_declaration("method", parse_call(name)[0]))
    elif kind == "dataset":
        of_data = {key: options.get(key) for key in ("data_root", *IMAGE_OPTIONS)}
        value = _describe_data_set(Request.typed(dataset=name, **of_data))
    elif kind == "noise":
        typed = ("dataset", "data_root", "download", "draw", "rate", "labels_are_clean", *IMAGE_OPTIONS)
        of_data = {key: options.get(key) for key in typed}
        try:
            request = with_joined_columns(Request.typed(noise=[name], noise_seed=options.get("seed"), **of_data))
        except UsageError as error:  # `run` has another seed beside this one
            raise UsageError(str(error).replace("--noise-seed", "--seed")) from None
        value = _describe_noise(request, name, save_labels, rate_typed="rate" in options)
    else:
        value = _read_run(Path(options["out"]), name)
    if options["format"] == "json":
        write_json(value)
    else:
        from bench.cli import pages
        from bench.cli.noise_page import noise_page

        page_of = {"method": pages.method_page, "dataset": pages.data_set_page, "noise": noise_page}
        write_page(page_of.get(kind, pages.run_page)(value))
    return 0


def _describe_data_set(request: Request) -> dict[str, Any]:
    """A data set's declaration, its description (None where a type's own argument is missing), and its report."""
    from datasets.interface import DataError

    text = request.dataset
    name, argument, _ = registry.parse_data_set(text) if ":" in text or "[" in text else (text, None, {})
    entry = registry.find_declaration("data set", name)
    description = report = None
    if entry["argument"] is None or argument is not None:
        data_set = data_facts.open_requested_data(request)
        description, report = asdict(data_set.describe()), data_set.report()
        with suppress(DataError):  # without the data, there is nothing to compare a file beside it with
            for note in data_set.notes():
                print_note(f"note: {note}")
    _print_data_notes(report)
    value = None if report is None else report.as_json()
    return public_declaration(entry) | {"description": description, "report": value}


def _print_data_notes(report: DataReport | None) -> None:
    """What was left out or guessed where a user's own data was listed, a line each."""
    for note in () if report is None else report.notes:
        print_note(f"note: {note}")


def _describe_noise(request: Request, text: str, save_labels: str | None, rate_typed: bool) -> dict[str, Any]:
    """A noise on a data set: the matrix needs declarations only, the realised rate needs the labels.

    With `save_labels`, the noisy labels are written to that file; raises DataError where they can't be had.
    """
    from datasets.interface import DataError
    from datasets.noise.captions import caption

    if len(request.rate) > 1:
        raise UsageError("show noise takes one --rate: type --rate 0.4")
    registry.parse_data_set(request.dataset)
    registry.parse_noise(text)
    data_set = data_facts.open_requested_data(request)
    description = data_set.describe()
    _print_data_notes(data_set.report())
    for note in given_labels.note_noise_as_given(request, description):
        print_note(f"note: {note}")
    noise = data_facts.open_stated_noise(text, request, description)
    if rate_typed and not noise.takes_rate:
        raise UsageError(f"the noise {noise.recorded_name()} has no rate: leave --rate out")
    rate = request.rate[0] if noise.takes_rate else None
    noise_facts = data_facts.known_facts(noise, request, description)
    matrix = noise.matrix(noise_facts, rate)
    for note in noise.notes(noise_facts):
        print_note(f"note: {note}")
    labels: NoisyLabels | None = None
    realised: list[list[float]] | None = None
    outline: Outline | None = None
    try:
        outline = data_set.outline(request.noise_seed or 0)
    except DataError as error:
        if save_labels is not None:
            raise
        print_note(f"note: without the data, the realised rate and the labels stay unknown: {quote_reason(error)}")
    of_labels: dict[str, Any] = {"annotators": None, "estimated_matrices": None}
    if outline is not None:
        labels, realised = _draw_labels(request, data_set, outline, noise, rate, save_labels)
        matrix = labels.matrix  # which may follow the sizes of the classes
        of_labels["annotators"] = describe_annotators(noise, data_set, request.noise_seed or 0)
        of_labels["estimated_matrices"] = estimate_matrices(request, noise, data_set.content_hash(), labels.sha256)
    classes = list(description.classes)[: None if realised is None else len(realised)]
    return {
        "noise": noise.recorded_name(),
        "dataset": data_facts.recorded_data_set_name(request.dataset),
        "rate": rate,
        "classes": classes,
        "matrix": None if matrix is None else matrix.tolist(),
        "realised_matrix": realised,
        "pairs": [[classes[first], classes[second]] for first, second in noise.pairs(noise_facts)],
        "source": noise.origin(noise_facts),
        "draw": request.draw,
        "seed": request.noise_seed or 0,
        "realised_rate": None if labels is None else labels.realised_rate,
        "is_known": noise.is_known,
        "labels_sha256": None if labels is None else labels.sha256,
        "caption": labels.caption if labels is not None else caption(noise, noise_facts, matrix, rate),
        "summary": noise.summary,
        **of_labels,
    }


def _draw_labels(
    request: Request, data_set: DataSet, outline: Outline, noise: Noise, rate: float | None, save_to: str | None
) -> tuple[NoisyLabels, list[list[float]] | None]:
    """The noisy labels of all training images, and of each class's the share that has each label.

    These shares are None for noise with a matrix, or where no label is known to be clean. The labels are written to
    `save_to` if given.
    """
    import numpy as np

    from datasets.label_columns import take
    from datasets.noise import ImageSource, corrupt
    from datasets.noise.drawing import realised_matrix
    from datasets.noise.labels import save_labels
    from datasets.splits import split_name

    seed = request.noise_seed or 0
    description = data_set.describe()
    noise_facts, clean_labels = data_facts.known_facts(noise, request, description), outline.labels
    columns, index = outline.columns, np.arange(len(clean_labels))
    labelled = noise.labelled(columns)
    if labelled is not None:
        index, clean_labels = labelled, clean_labels[labelled]
        columns = take(columns, labelled)
    compared = noise.reads_pixels or noise.reads_posterior or save_to is not None
    sha256, split = data_set.content_hash() if compared else "", split_name(description.seeded_split, seed)
    if noise.reads_pixels:
        source = ImageSource.of(data_set.load(seed), index, sha256, split, cache_folder())
    else:
        source = ImageSource(index, len(outline.labels), sha256, split)
    noisy_labels = corrupt(noise, clean_labels, noise_facts, rate, seed, request.draw, columns, source)
    if save_to is not None and noisy_labels.clean is not None:
        raise UsageError(
            f"--save-labels: the labels of {noise.recorded_name()} mean nothing without its images and classes. Type "
            f"run --noise '{noise.recorded_name()}' where they are needed"
        )
    if save_to is not None:
        paths = data_set.paths(seed)
        save_labels(
            Path(save_to),
            noisy_labels,
            index,
            classes=len(noise_facts.classes),
            data_set=data_facts.recorded_data_set_name(request.dataset),
            data_sha256=sha256,
            split=split,
            paths=None if paths is None else [paths[place] for place in index.tolist()],
            draw={"noise": noise.recorded_name(), "rate": rate, "seed": seed, "draw": request.draw},
        )
        print_note(
            f"saved {len(clean_labels)} labels to {save_to}; use them by run --labels {save_to} --noise-seed {seed}"
        )
    if noisy_labels.matrix is not None or noisy_labels.realised_rate is None:
        return noisy_labels, None
    if noisy_labels.clean is not None:  # outsiders are of no class, and their classes may be gone
        inside = noisy_labels.clean >= 0
        kept = noise.kept_classes(len(noise_facts.classes))
        return noisy_labels, realised_matrix(noisy_labels.labels[inside], clean_labels[inside], kept).tolist()
    return noisy_labels, realised_matrix(noisy_labels.labels, clean_labels, len(noise_facts.classes)).tolist()


def _read_run(out: Path, name: str) -> Mapping[str, Any]:
    """The record or the failure of a run by its id or the beginning of it."""
    from bench.records.store import Store

    store = Store(out, on_problem=lambda problem: print_note(f"note: {problem}"))
    run_ids = [run_id for run_id in store.run_ids() if run_id.startswith(name)]
    if not run_ids:
        raise UsageError(f"there is no run {name!r} in {out}: give its id, or another folder by --out")
    if len(run_ids) > 1:
        raise UsageError(f"{len(run_ids)} runs begin with {name!r}: type more of the id\n{list_offenders(run_ids)}")
    record = store.read(run_ids[0]) or store.read_failure(run_ids[0])
    if record is None:
        why = "none of its files can be read" if store.problems else "it has neither a record nor a failure yet"
        raise UsageError(f"the run {run_ids[0]} has nothing to show: {why}")
    return record
