"""`list`: what there is, by kind. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.cli import pages
from bench.planning import data_facts, validate
from bench.planning.request import Request
from bench.system.console import print_note, write_json, write_page
from bench.system.errors import UsageError, list_offenders

if TYPE_CHECKING:
    from rich.console import RenderableType

    from datasets.interface import DataSet, Description
    from datasets.noise import NoisyLabels


LISTS = {
    "methods": registry.methods,
    "datasets": registry.data_sets,
    "noises": registry.noises,
    "models": registry.models,
}


def list_command(what: str, plugins: Sequence[str], form: str) -> int:
    """List methods, datasets, noises or models as text or JSON."""
    registry.load_plugins(plugins)
    entries: list[dict[str, Any]] = list(LISTS[what]().values())
    if form == "json":
        write_json([pages.public_declaration(entry, brief=True) for entry in entries])
    else:
        write_page(pages.declarations_table(what, entries))
    return 0


DEFAULT_RATE = 0.4


def show_command(
    what: str,
    name: str,
    *,
    dataset: str,
    rate: str | None = None,
    seed: str | None = None,
    draw: str,
    save_labels: str | None = None,
    data_root: str | None = None,
    download: bool = False,
    out: str,
    plugin: Sequence[str] = (),
    format: str,
) -> int:
    """Show `name`, which is a method, dataset, noise or run."""
    if save_labels is not None and what != "noise":
        raise UsageError("--save-labels goes with show noise: type show noise sym --save-labels FILE")
    registry.load_plugins(plugin)
    page: Callable[[Mapping[str, Any]], RenderableType]
    if what == "method":
        value: Mapping[str, Any] = pages.public_declaration(registry.methods()[validate.canonical_method_name(name)])
        page = pages.method_page
    elif what == "dataset":
        entry, description = _data_set(name, data_root)
        value = pages.public_declaration(entry) | {"description": description}
        page = pages.data_set_page
    elif what == "noise":
        try:
            request = Request.typed(
                noise=[name],
                dataset=dataset,
                data_root=data_root,
                download=download,
                draw=draw,
                noise_seed=seed,
                rate=rate,
            )
        except UsageError as error:  # `run` has another seed beside this one
            raise UsageError(str(error).replace("--noise-seed", "--seed")) from None
        value, page = _noise(request, name, save_labels, rate is not None), pages.noise_page
    else:
        value, page = _run(Path(out), name), pages.run_page
    if format == "json":
        write_json(value)
    else:
        write_page(page(value))
    return 0


def _data_set(text: str, data_root: str | None) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """A data set's declaration, and its description where it can be had."""
    name, argument, _ = registry.parse_data_set(text) if ":" in text or "[" in text else (text, None, {})
    entry = registry.find_declaration("data set", name)
    if entry["argument"] is not None and argument is None:
        return entry, None
    request = Request.typed(dataset=text, data_root=data_root)
    return entry, asdict(data_facts.open_requested_data(request).describe())


def _noise(request: Request, text: str, save_labels: str | None, rate_typed: bool) -> dict[str, Any]:
    """What `show noise` says: the matrix needs declarations only, the realised rate needs the labels."""
    from datasets.interface import DataError
    from datasets.noise import NoiseFacts
    from datasets.noise.captions import caption

    if len(request.rate) > 1:
        raise UsageError("show noise takes one --rate: type --rate 0.4")
    registry.parse_data_set(request.dataset)
    registry.parse_noise(text)
    data_set = data_facts.open_requested_data(request)
    description = data_set.describe()
    noise = registry.open_noise(text)
    if rate_typed and not noise.takes_rate:
        raise UsageError(f"the noise {data_facts.noise_name(noise)} has no rate: leave --rate out")
    rate = request.rate[0] if noise.takes_rate else None
    declared = NoiseFacts.of(description)
    matrix = noise.matrix(declared, rate)
    labels: NoisyLabels | None = None
    try:
        labels = _labels(request, data_set, text, rate, save_labels)
    except DataError as error:
        if save_labels is not None:
            raise
        print_note(f"note: without the images, the realised rate and the labels stay unknown ({_first_line(error)})")
    return {
        "noise": data_facts.noise_name(noise),
        "dataset": data_facts.recorded_data_set_name(request.dataset),
        "rate": rate,
        "classes": list(description.classes),
        "matrix": None if matrix is None else matrix.tolist(),
        "pairs": [list(pair) for pair in _named_pairs(noise.pairs(declared), description)],
        "source": noise.origin(declared),
        "draw": request.draw,
        "seed": request.noise_seed or 0,
        "realised_rate": None if labels is None else labels.realised_rate,
        "labels_sha256": None if labels is None else labels.sha256,
        "caption": labels.caption if labels is not None else caption(noise, declared, matrix, rate),
        "summary": noise.summary,
    }


def _labels(request: Request, data_set: DataSet, text: str, rate: float | None, save_labels: str | None) -> NoisyLabels:
    """The noisy labels of the whole training set, saved where that was asked for. Raises DataError without the data."""
    import numpy as np

    from datasets.noise import NoiseFacts, corrupt
    from datasets.noise.labels import save_labels as save
    from datasets.splits import split_name

    seed = request.noise_seed or 0
    description, outline = data_set.describe(), data_set.outline(seed)
    declared, clean = NoiseFacts.of(description), outline.labels
    noisy = corrupt(registry.open_noise(text), clean, declared, rate, seed, request.draw, outline.columns)
    if save_labels is not None:
        save(
            Path(save_labels),
            noisy,
            np.arange(len(clean)),
            classes=len(declared.classes),
            data_set=data_facts.recorded_data_set_name(request.dataset),
            data_sha256=data_set.content_hash(),
            split=split_name(description.seeded_split, seed),
            draw={"noise": text, "rate": rate, "seed": seed, "draw": request.draw},
        )
        print_note(
            f"saved {len(clean)} labels to {save_labels}; use them by run --labels {save_labels} --noise-seed {seed}"
        )
    return noisy


def _run(out: Path, name: str) -> Mapping[str, Any]:
    """The record or the failure of a run by its id or the beginning of it."""
    from bench.records.store import Store

    store = Store(out)
    found = [run_id for run_id in store.run_ids() if run_id.startswith(name)]
    if not found:
        raise UsageError(f"there is no run {name!r} in {out}: give its id, or another folder by --out")
    if len(found) > 1:
        raise UsageError(f"{len(found)} runs begin with {name!r}: type more of the id\n{list_offenders(found)}")
    record = store.read(found[0]) or store.read_failure(found[0])
    if record is None:
        raise UsageError(f"the run {found[0]} has neither a record nor a failure yet")
    return record


def _named_pairs(pairs: Sequence[tuple[int, int]], description: Description) -> list[tuple[str, str]]:
    return [(description.classes[first], description.classes[second]) for first, second in pairs]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(" .:")
