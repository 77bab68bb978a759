"""Looks up what planning must know: the data set's facts, the noise's, the machine's. Names first, then data.

What only the data tells (how many images, how large) is kept in a sidecar in the cache folder, named by the data's
content hash, so that only the first plan on new data looks at images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.planning import image_placement, recipe_files
from bench.planning.data_facts import (
    MeasuredSizes,
    check_image_size,
    count_drawn_samples,
    data_options,
    data_sizes,
    gather_noises,
    open_requested_data,
)
from bench.planning.facts import Facts
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.request import Request
from bench.planning.validate import ValidatedRequest
from bench.registry.catalogue import catalogue_key
from bench.system import cache, processes
from bench.system.errors import UsageError
from bench.system.hardware import Hardware, count_cores, resolve_device, resolve_precision

if TYPE_CHECKING:
    from datasets.interface import Description, Progress


def gather_facts(
    validated: ValidatedRequest, progress: Progress | None = None, hardware: Hardware | None = None
) -> Facts:
    """The facts of a request. Raises DataError where the data is missing or broken, UsageError where it doesn't fit.

    `hardware` is what runs are carried out on, None this machine. Unless it is a dry run, the data is made ready for
    the runs as well: files are decoded once, not by every worker.
    """
    request = validated.request
    device = resolve_device(request.device) if hardware is None else hardware.device
    data_set = open_requested_data(request, progress)
    description, sha256 = data_set.describe(), data_set.content_hash()
    sizes = data_sizes(data_set, description, sha256, request.image_size)
    description = replace(description, columns=tuple(dict.fromkeys([*description.columns, *sizes.columns])))
    check_image_size(request.model or description.protocol.model, len(description.classes), sizes.image_shape)
    grid, study = recipe_sources(validated, description.protocol.model)
    noises = gather_noises(request, data_set, description, sha256)
    kept = place_images(request, description, sizes, device, hardware)
    if not request.dry_run:
        registry.open_data_set(
            request.dataset, replace(data_options(request, progress), stream=kept.where == "disk")
        ).prepare()
    return Facts(
        methods=registry.methods(),
        requested=validated.methods,
        data_set=validated.data_set,
        data_sha256=sha256,
        protocol=description.protocol,
        classes=len(description.classes),
        samples=count_drawn_samples(sizes, request),
        image_shape=sizes.image_shape,
        noises=noises,
        stored=(sum(sizes.counts), sizes.test),
        precision=resolve_precision(
            request.precision, device, description.protocol.precision, None if hardware is None else hardware.fast_bf16
        ),
        device=device,
        cores=count_cores() if hardware is None else hardware.cores,
        smallest={name: entry["smallest"] for name, entry in registry.models().items()},
        unsuitable=partial(ask_unsuitable, catalogue_key(registry.plugins())),
        grid=grid,
        study=study,
        images=kept.where,
        images_why=kept.why,
    )


def recipe_sources(validated: ValidatedRequest, model: str) -> tuple[SourcedRecipes | None, SourcedRecipes | None]:
    """(the grid's file, the studies' file) for a request: the file of `--recipes`, and the project's own grid.

    `model` is the data set's own, used where the request names none.
    """
    request, named = validated.request, validated.recipes
    if named is not None and named.file.kind == "grid":
        return named, None
    shared = None
    if request.protocol == "shared":
        shared = recipe_files.shared_recipe_file(validated.data_set, request.model or model)
    return None if shared is None else SourcedRecipes(shared[0].name, shared[1], named=False), named


def place_images(
    request: Request, description: Description, sizes: MeasuredSizes, device: str, hardware: Hardware | None = None
) -> image_placement.ImagePlacement:
    """Where the runs of a request keep their images; each has its own unless a card or a machine runs one at a time."""
    here = processes.torchrun_world().local_size
    copies = request.jobs or (1 if device.startswith("cuda") else here)
    if hardware is not None:
        copies = hardware.copies
    elif request.gpus_per_run is not None:
        copies = int(1 / request.gpus_per_run)
    protocol = description.protocol
    pad = image_placement.largest_border((request.augment or protocol.augmentation, protocol.strong_augmentation))
    images = count_drawn_samples(sizes, request) + sizes.test
    free = None if hardware is None else hardware.free
    return image_placement.choose_placement(request.images, images, sizes.image_shape, pad, device, copies, free)


def ask_unsuitable(code: str, method: str, parameters: Mapping[str, Any], setting: Mapping[str, Any]) -> str | None:
    """Ask a method whether it can run in a setting: None, or why not.

    The answer is a function of the code, whose hash `code` is, and the question, so it is kept beside the catalogue:
    torch is imported for the first asking only.
    """
    question = [code, method, dict(parameters), {**setting, "given": sorted(setting["given"])}]

    def ask() -> str | None:
        cls = registry.load_method(method)
        from methods.interface import Setting

        try:
            return cls(**parameters).unsuitable(Setting(**setting))
        except ValueError as error:
            raise UsageError(str(error)) from error

    answer = cache.cached_json("answers", question, ask, newest=1024)
    return None if answer is None else str(answer)
