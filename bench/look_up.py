"""Looks up what planning must know: the data set's facts, the noise's, the machine's. Names first, then data.

What only the data tells (how many images, how large) is kept in a sidecar in the cache folder, named by the data's
content hash, so that only the first plan on new data looks at images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import augmentations, machine, placement, recipe_files, registry
from bench.catalogue import key
from bench.core import schedules
from bench.errors import UsageError
from bench.executors import together
from bench.facts import Facts, NoiseFacts
from bench.first_run import split_seed
from bench.machine import Hardware
from bench.names import parse_call
from bench.plan import asked_methods
from bench.recipe_use import Sourced
from bench.request import Request
from bench.timm_names import PREFIX, check_timm

if TYPE_CHECKING:
    from datasets.interface import DataSet, Description, Options, Outline, Progress
    from datasets.noise import Noise

SIDECAR_VERSION = 2


@dataclass(frozen=True)
class Sizes:
    """What only the data knows: training images in each class and test images, their shape, further label columns."""

    counts: tuple[int, ...]
    test: int
    image_shape: tuple[int, int, int]
    columns: tuple[str, ...]


def check_names(request: Request) -> None:
    """Every mistake that shows without data: unknown names and parameters, values out of bounds, missing devices.

    Raises UsageError. Cheap: no torch, unless a CUDA device was named and something hints at one.
    """
    registry.load_plugins(request.plugin)
    asked_methods(request, registry.methods())
    registry.parse_data_set(request.dataset)
    for text in request.noise:
        registry.parse_noise(text)
    if request.model is not None:
        check_model(request.model)
    named_recipes(request)
    if request.labels is not None and not Path(request.labels).is_file():
        raise UsageError(
            f"--labels {request.labels}: there is no such file. `show noise --save-labels FILE` writes one"
        )
    check_training(request)
    if request.executor == "local":  # elsewhere, it is for what is there to say
        device = machine.resolve_device(request.device)
        machine.resolve_precision(request.precision, device, "fp32")
        machine.check_steps(request.steps, device)


def check_model(name: str) -> None:
    """Raise UsageError where no backbone has this name (`timm:NAME` is looked up in timm)."""
    known = registry.models()
    if name.startswith(PREFIX) and name != f"{PREFIX}NAME":
        check_timm(name)
    elif name not in known or name == f"{PREFIX}NAME":
        raise registry.unknown("model", name, known, "models")


def check_training(request: Request) -> None:
    """Raise UsageError where schedule, optimiser or augmentation are none that the core has."""
    if request.schedule is not None:
        schedules.canonical(request.schedule)
    if request.optimizer is not None and request.optimizer not in schedules.OPTIMIZERS:
        raise registry.unknown("optimizer", request.optimizer, schedules.OPTIMIZERS)
    if request.augment is not None:
        augmentations.canonical(request.augment)


def look_up(request: Request, progress: Progress | None = None, hardware: Hardware | None = None) -> Facts:
    """The facts of a request. Raises UsageError, or DataError where the data is missing or broken.

    `hardware` is what runs are carried out on, None this machine. Unless it is a dry run, the data is made ready for
    the runs as well: files are decoded once, not by every worker.
    """
    check_names(request)
    device = machine.resolve_device(request.device) if hardware is None else hardware.device
    data_set = open_data(request, progress)
    description, sha256 = data_set.describe(), data_set.content_hash()
    sizes = sizes_of(data_set, description, sha256, request.image_size)
    description = replace(description, columns=tuple(dict.fromkeys([*description.columns, *sizes.columns])))
    check_fit(request.model or description.protocol.model, len(description.classes), sizes.image_shape)
    grid, study = recipe_sources(request, description.protocol.model)
    noises = noise_facts(request, data_set, description, sha256)
    kept = placed(request, description, sizes, device, hardware)
    if not request.dry_run:
        registry.open_data_set(
            request.dataset, replace(options(request, progress), stream=kept.where == "disk")
        ).prepare()
    return Facts(
        methods=registry.methods(),
        data_set=recorded_name(request.dataset),
        data_sha256=sha256,
        protocol=description.protocol,
        classes=len(description.classes),
        samples=samples_drawn(sizes, request),
        image_shape=sizes.image_shape,
        noises=noises,
        stored=(sum(sizes.counts), sizes.test),
        precision=machine.resolve_precision(
            request.precision, device, description.protocol.precision, None if hardware is None else hardware.fast_bf16
        ),
        device=device,
        cores=machine.cores() if hardware is None else hardware.cores,
        smallest={name: entry["smallest"] for name, entry in registry.models().items()},
        unsuitable=partial(ask, key(registry.plugins())),
        grid=grid,
        study=study,
        images=kept.where,
        images_why=kept.why,
    )


def named_recipes(request: Request) -> Sourced | None:
    """The recipe file that `--recipes` names, checked against the methods; raises UsageError with file and line."""
    if request.recipe_file is None:
        return None
    path = Path(request.recipe_file)
    if not path.is_file():
        raise UsageError(
            f"--recipes {path}: it is neither plain nor published, and there is no such file. "
            "`python -m bench tune` writes recipe files"
        )
    found = recipe_files.read(path)
    recipe_files.check(found, registry.methods(), path)
    return Sourced(str(path), found, named=True)


def recipe_sources(request: Request, model: str) -> tuple[Sourced | None, Sourced | None]:
    """(the grid's file, the studies' file) for a request: what `--recipes` names, and the project's own grid.

    `model` is the data set's own.
    """
    named = named_recipes(request)
    if named is not None and named.file.kind == "grid":
        return named, None
    own = None
    if request.protocol == "shared":
        own = recipe_files.shared(recorded_name(request.dataset), request.model or model)
    return None if own is None else Sourced(own[0].name, own[1], named=False), named


def placed(
    request: Request, description: Description, sizes: Sizes, device: str, hardware: Hardware | None = None
) -> placement.Placement:
    """Where the runs of a request keep their images; each has its own unless a card or a machine runs one at a time."""
    here = together.world().local_size
    copies = request.jobs or (1 if device.startswith("cuda") else here)
    if hardware is not None:
        copies = hardware.copies
    elif request.gpus_per_run is not None:
        copies = int(1 / request.gpus_per_run)
    protocol = description.protocol
    pad = placement.border((request.augment or protocol.augmentation, protocol.strong_augmentation))
    images = samples_drawn(sizes, request) + sizes.test
    free = None if hardware is None else hardware.free
    return placement.choose(request.images, images, sizes.image_shape, pad, device, copies, free)


def check_fit(model: str, classes: int, image_shape: tuple[int, int, int]) -> None:
    """Raise UsageError where a model of timm's can't take these images; ours declare their smallest.

    Only timm can tell (which takes seconds), so it is asked once: on shapes alone, with no memory for weights.
    """
    if not model.startswith(PREFIX):
        return
    asked = f"{SIDECAR_VERSION} {version('timm')} {model} {classes} {image_shape}"
    sidecar = registry.cache_folder() / "fits" / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.json"
    if sidecar.is_file():
        return
    import torch

    from bench.models import build

    height, width, channels = image_shape
    with suppress(NotImplementedError), torch.device("meta"):  # a layer without a shape rule says nothing of sizes
        build(model, classes, channels, (height, width))
    registry.keep(sidecar, {"asked": asked}, most=256)


def options(request: Request, progress: Progress | None = None) -> Options:
    """Where the data of a request lies and what may be done to get it."""
    from datasets.interface import Options, no_progress

    return Options(
        root=None if request.data_root is None else Path(request.data_root),
        download=request.download,
        image_size=request.image_size,
        cache=registry.cache_folder(),
        progress=progress or no_progress,
    )


def open_data(request: Request, progress: Progress | None = None) -> DataSet:
    """The data set that a request names, unread."""
    return registry.open_data_set(request.dataset, options(request, progress))


def recorded_name(text: str) -> str:
    """A data set's name as records hold it: no folders, and parameters only where they aren't the defaults."""
    name, argument, values = registry.parse_data_set(text)
    if argument is not None:
        return f"{name}:{Path(argument).name}"
    defaults = {item["name"]: item["default"] for item in registry.data_sets()[name]["parameters"]}
    own = ",".join(f"{key}={values[key]:g}" for key in sorted(values) if values[key] != defaults[key])
    return f"{name}[{own}]" if own else name


def sizes_of(data_set: DataSet, description: Description, sha256: str, image_size: int | None) -> Sizes:
    """What only the data knows, from the sidecar or from the images."""
    key = hashlib.sha256(f"{SIDECAR_VERSION} {description.name} {sha256} {image_size}".encode()).hexdigest()[:32]
    sidecar = registry.cache_folder() / "facts" / f"{key}.json"
    try:
        kept: dict[str, Any] = json.loads(sidecar.read_text(encoding="utf-8"))
        height, width, channels = kept["image_shape"]
        return Sizes(tuple(kept["counts"]), int(kept["test"]), (height, width, channels), tuple(kept["columns"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not whole: looked up again
    found = measure(data_set.outline(0), len(description.classes))
    registry.keep(sidecar, asdict(found), most=256)
    return found


def measure(outline: Outline, classes: int) -> Sizes:
    """The sizes of a data set of so many classes."""
    import numpy as np

    counts = np.bincount(outline.labels, minlength=classes)
    return Sizes(tuple(map(int, counts)), outline.test, outline.image_shape, tuple(outline.columns))


def samples_drawn(sizes: Sizes, request: Request) -> int:
    """Training images after the draw; raises DataError where the draw is impossible."""
    import numpy as np

    from datasets.draw import draw_indices

    if request.train_size is None and request.imbalance is None:
        return sum(sizes.counts)
    labels = np.repeat(np.arange(len(sizes.counts), dtype=np.int64), sizes.counts)
    return len(draw_indices(labels, len(sizes.counts), request.train_size, request.imbalance, 0))


def noise_facts(request: Request, data_set: DataSet, description: Description, sha256: str) -> tuple[NoiseFacts, ...]:
    """Every noise of a request, tried at each of its rates. Raises DataError where one is impossible here."""
    from datasets.noise import NoiseFacts as Declared

    if request.labels is not None:
        return (label_facts(request, data_set, description, sha256),)
    declared = Declared.of(description)
    found = []
    for text in request.noise:
        noise = registry.open_noise(text)
        rates: tuple[float | None, ...] = request.rate if noise.takes_rate else (None,)
        matrices = [noise.matrix(declared, rate) for rate in rates]
        gives = all(matrix is not None for matrix in matrices)
        found.append(NoiseFacts(text, noise_name(noise), noise.takes_rate, gives, noise.file_hash()))
    return tuple(found)


def noise_name(noise: Noise) -> str:
    """A noise's name as records hold it: with its argument, but without folders."""
    if not noise.argument_value:
        return noise.name
    is_file = noise.argument == "FILE"
    return f"{noise.name}:{Path(noise.argument_value).name if is_file else noise.argument_value}"


def label_facts(request: Request, data_set: DataSet, description: Description, sha256: str) -> NoiseFacts:
    """The facts of `--labels`, after its labels were found to be for this data, draw and split."""
    from datasets.draw import draw_indices
    from datasets.noise.labels import load_labels
    from datasets.splits import split_name

    path = Path(str(request.labels))
    seed = split_seed(request, request.seeds[0])
    classes, clean = len(description.classes), data_set.outline(seed).labels
    drawn = draw_indices(clean, classes, request.train_size, request.imbalance, seed)
    split = split_name(description.seeded_split, seed)
    load_labels(path, classes, sha256, clean[drawn], drawn, len(clean), split)
    return NoiseFacts("labels", "labels", False, False, hashlib.sha256(path.read_bytes()).hexdigest())


def ask(code: str, method: str, parameters: Mapping[str, Any], setting: Mapping[str, Any]) -> str | None:
    """Ask a method whether it can run in a setting: None, or why not.

    The answer is a function of the code, whose hash `code` is, and the question, so it is kept beside the catalogue:
    torch is imported for the first asking only.
    """
    question = [code, method, dict(parameters), {**setting, "given": sorted(setting["given"])}]
    name = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
    sidecar = registry.cache_folder() / "answers" / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        answer = json.loads(sidecar.read_text(encoding="utf-8"))["answer"]
        return None if answer is None else str(answer)
    cls = registry.load_method(method)
    from methods.interface import Setting

    try:
        answer = cls(**parameters).unsuitable(Setting(**setting))
    except ValueError as error:
        raise UsageError(str(error)) from error
    registry.keep(sidecar, {"answer": answer}, most=1024)
    return answer


def method_name(text: str) -> str:
    """The canonical name of a method as typed, its parameters aside; UsageError if none."""
    return str(registry.find("method", parse_call(text)[0])["name"])
