"""A validated request -> the facts that planning needs, of its data, its noise and the hardware.

Read `gather_facts` first. Everything that takes long is cached: sizes by the data's content hash, answers of methods by
the code, so that planning the same request again reads neither images nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.planning import data_facts, given_labels, recipe_files
from bench.planning.audit_facts import check_audit
from bench.planning.data_facts import MeasuredSizes
from bench.planning.facts import Facts
from bench.planning.frozen_features import PlannedFeatures, plan_features, prepare_features, refuse_other_images
from bench.planning.image_placement import ImagePlacement, choose_placement, largest_border
from bench.planning.paper_protocol import usual_precision
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.request import Request
from bench.planning.starting_weights import StartingWeights, check_weights, find_weights
from bench.planning.validate import ValidatedRequest
from bench.registry.catalogue import catalogue_key
from bench.spec.augmentations import misfit_augmentation
from bench.system import cache, processes
from bench.system.errors import UsageError
from bench.system.hardware import Hardware, count_cores, resolve_device, resolve_precision

if TYPE_CHECKING:
    from datasets.interface import Progress, Protocol


def gather_facts(
    validated: ValidatedRequest, progress: Progress | None = None, hardware: Hardware | None = None
) -> Facts:
    """The facts of a request. Raises DataError where the data is missing or broken, UsageError where it doesn't fit.

    `hardware` carries out the runs (None: this machine). Unless the request is a dry run, the data is prepared for the
    runs as well.
    """
    request = validated.request
    device = resolve_device(request.device) if hardware is None else hardware.device
    data_set = data_facts.open_requested_data(request, progress)
    description, sha256 = data_set.describe(), data_set.content_hash()
    report = data_set.report()
    check_audit(request, data_set, sha256)
    sizes = data_facts.data_sizes(data_set, description, sha256, request.image_size)
    description = replace(description, columns=tuple(dict.fromkeys([*description.columns, *sizes.columns])))
    fast_bf16 = None if hardware is None else hardware.fast_bf16
    weights, features, of_images = find_weights(request), None, sizes
    if request.features is not None and weights is not None:
        refuse_other_images(request)
        extraction = resolve_precision(request.precision, device, "auto", fast_bf16)
        features = plan_features(request, weights, data_set, description, sha256, sizes, extraction)
        sizes = replace(sizes, image_shape=features.vectors.image_shape, vectors=features.vectors)
        description = replace(description, protocol=features.protocol(len(description.classes)))
    protocol = description.protocol
    check_fit(request, protocol, len(description.classes), sizes)
    grid, study = recipe_sources(validated, protocol.model, None if features is None else features.settings.backbone)
    noises = data_facts.gather_noises(request, data_set, description, sha256, sizes)
    matrix_sha256, matrix_notes = data_facts.read_given_matrix(request, description)
    notes = [
        *(() if report is None else report.notes),
        *data_set.notes(),
        *given_labels.note_noise_as_given(request, description),
    ]
    notes += [note for noise in noises for note in noise.notes] + list(matrix_notes)
    if weights is not None and features is None:
        notes += check_weights(weights, len(description.classes), sizes.image_shape)
    samples = data_facts.count_drawn_samples(sizes, request, data_set, description, sha256)
    placement = place_images(request, protocol, samples + sizes.test, sizes, device, hardware)
    stream = placement.where == "disk"
    if features is not None:  # of all images, whatever part of them is drawn
        images = sum(sizes.counts) + sizes.test
        stream = place_images(request, protocol, images, of_images, "cpu", hardware).where == "disk"
    if not request.dry_run:
        # Before any worker starts: each of them would decode the same files, and make the same features.
        prepare_data(request, stream, features, device if hardware is None else "auto", progress)
    declared = usual_precision(request.is_paper, protocol.precision)
    return Facts(
        methods=registry.methods(),
        requested=validated.methods,
        data_set=validated.data_set,
        data_sha256=sha256,
        protocol=protocol,
        classes=len(description.classes),
        samples=samples,
        image_shape=sizes.image_shape,
        vectors=sizes.vectors,
        for_vectors=frozenset(data_facts.models_for_vectors()),
        noises=noises,
        stored=(sum(sizes.counts), sizes.test),
        precision=resolve_precision(request.precision, device, declared, fast_bf16),
        device=device,
        cores=count_cores() if hardware is None else hardware.cores,
        smallest={name: entry["smallest"] for name, entry in registry.models().items()},
        unsuitable=partial(ask_unsuitable, catalogue_key(registry.plugins())),
        grid=grid,
        study=study,
        images=placement.where,
        images_why=placement.why,
        unreadable_skipped=0 if report is None else report.unreadable,
        data_notes=tuple(dict.fromkeys(notes)),
        given_labels=given_labels.name_given_labels(request, description),
        matrix_sha256=matrix_sha256,
        weights=weights,
        features=features,
        start=start_fields(weights, features),
        stream=stream,
    )


def start_fields(weights: StartingWeights | None, features: PlannedFeatures | None) -> dict[str, Any]:
    """The fields of a RunSpec that weights and features set."""
    if features is not None:
        return features.settings.fields()
    return {} if weights is None else {"weights_sha256": weights.sha256}


def prepare_data(
    request: Request, stream: bool, features: PlannedFeatures | None, device: str, progress: Progress | None = None
) -> None:
    """Do once what each run would do first: decode images, and make features of them on `device`, with all cores."""
    options = replace(data_facts.data_options(request, progress), stream=stream)
    data_set = registry.open_data_set(request.dataset, options)
    data_set.prepare()
    if features is not None:
        prepare_features(features, data_set, resolve_device(device), count_cores(), options.progress)


def check_fit(request: Request, protocol: Protocol, classes: int, sizes: MeasuredSizes) -> None:
    """Raise UsageError where the model or a typed augmentation can't be had with these images or vectors."""
    model = request.model or protocol.model
    if sizes.vectors is not None:
        data_facts.check_takes_vectors(model, sizes.vectors)
    else:
        data_facts.check_image_size(model, classes, sizes.image_shape)
    views = None if sizes.vectors is None else sizes.vectors.views
    misfit = None if request.augment is None else misfit_augmentation(request.augment, views)
    if misfit is not None:
        raise UsageError(f"--augment {request.augment}: {misfit}")


def recipe_sources(
    validated: ValidatedRequest, model: str, backbone: str | None
) -> tuple[SourcedRecipes | None, SourcedRecipes | None]:
    """(the grid's file, the studies' file) for a request: the file of `--recipes`, and the project's own grid.

    `model` is the data set's own, used where the request names none; `backbone` that of frozen features, if any.
    """
    request, named = validated.request, validated.recipes
    if named is not None and named.file.kind == "grid":
        return named, None
    shared = None
    if request.protocol == "shared":
        shared = recipe_files.shared_recipe_file(validated.data_set, request.model or model, backbone)
    return None if shared is None else SourcedRecipes(shared[0].name, shared[1], named=False), named


def place_images(
    request: Request, protocol: Protocol, images: int, sizes: MeasuredSizes, device: str, hardware: Hardware | None
) -> ImagePlacement:
    """The place of each run's images. Runs on one device or machine at the same time share its memory."""
    if hardware is not None:
        copies = hardware.copies
    elif request.gpus_per_run is not None:
        copies = int(1 / request.gpus_per_run)
    else:
        copies = request.jobs or (1 if device.startswith("cuda") else processes.torchrun_world().local_size)
    border = largest_border((request.augment or protocol.augmentation, protocol.strong_augmentation))
    free = None if hardware is None else hardware.free
    shape, vectors = sizes.image_shape, sizes.vectors
    return choose_placement(request.images, images, shape, border, device, copies, free, vectors)


def ask_unsuitable(code: str, method: str, parameters: Mapping[str, Any], setting: Mapping[str, Any]) -> str | None:
    """The reason why a method can't run in a setting, or None. Raises UsageError for impossible parameters.

    The answer is cached by the question and by `code`, the hash of the code: only the first question imports torch.
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
