"""Checks of a request that need none of its data: names, parameters, bounds, files and devices.

Read `validate_request`: what it returns is what later stages work with, so that nothing is parsed or looked up twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench import registry
from bench.planning import recipe_files
from bench.planning.data_facts import recorded_data_set_name
from bench.planning.facts import ResolvedMethod
from bench.planning.feature_options import AUTO
from bench.planning.paper_protocol import check_source
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.request import Request
from bench.registry import names
from bench.registry.timm_names import PREFIX, check_timm
from bench.spec import augmentations, schedules
from bench.system import hardware
from bench.system.errors import UsageError

AnyRequest = TypeVar("AnyRequest", bound=Request)


@dataclass(frozen=True)
class ValidatedRequest:
    """A request whose names are all known, and what was read to check it.

    `methods` are the methods that it names, `data_set` the data set's name as records hold it, `recipes` the file that
    `--recipes` names (None where it names a kind).
    """

    request: Request
    methods: tuple[ResolvedMethod, ...]
    data_set: str
    recipes: SourcedRecipes | None


def validate_request(request: Request) -> ValidatedRequest:
    """The request with its names looked up. Needs neither data nor torch, except where a CUDA device is named.

    Raises UsageError for every mistake that shows without data: unknown names and parameters, values out of bounds,
    missing files and devices.
    """
    registry.load_plugins(request.plugin)
    request = with_usual_noise(with_joined_columns(request))
    methods = resolve_methods(request, registry.methods())
    check_source(request.recipe_source, registry.methods().values())
    data_set = recorded_data_set_name(request.dataset)
    for text in request.noise:
        registry.parse_noise(text)
    if request.model is not None:
        find_model_name(request.model, request.pretrained and request.features is None)
    if request.features not in (None, AUTO):
        check_timm(str(request.features), "--features", request.pretrained)
    if request.weights is not None and not Path(request.weights).is_file():
        raise UsageError(f"--weights {request.weights}: there is no such file")
    recipes = read_named_recipes(request)
    if request.labels is not None and not Path(request.labels).is_file():
        raise UsageError(
            f"--labels {request.labels}: there is no such file. `show noise --save-labels FILE` writes one"
        )
    if request.schedule is not None:
        schedules.canonical_schedule(request.schedule)
    if request.optimizer is not None and request.optimizer not in schedules.OPTIMIZERS:
        raise names.unknown_name("optimizer", request.optimizer, schedules.OPTIMIZERS)
    if request.augment is not None:
        augmentations.canonical_augmentation(request.augment)
    if request.executor == "local":  # the nodes of a cluster check the devices that they have
        device = hardware.resolve_device(request.device)
        hardware.resolve_precision(request.precision, device, "fp32")
        hardware.check_step_mode(request.steps, device)
    return ValidatedRequest(request, methods, data_set, recipes)


def with_joined_columns(request: Request) -> Request:
    """The request with `annotators:a,b` in one piece: its noises were split at commas, and columns may have some.

    What follows a noise that takes columns' names, and is no noise's name itself, is another column of it.
    """
    if not any(":" in text for text in request.noise):
        return request
    joined: list[str] = []
    for text in request.noise:
        goes_on = bool(joined) and ":" in joined[-1] and _takes_columns(joined[-1]) and _declared_noise(text) is None
        joined[-1:] = [f"{joined[-1]},{text}"] if goes_on else [*joined[-1:], text]
    return request.model_copy(update={"noise": tuple(joined)})


def _takes_columns(text: str) -> bool:
    entry = _declared_noise(text)
    return entry is not None and entry["argument"] == "NAMES"


def _declared_noise(text: str) -> Mapping[str, Any] | None:
    """The declaration of a typed noise, by the name before its parameters and argument; None for another word."""
    try:
        return registry.find_declaration("noise", text.partition(":")[0].partition("[")[0].strip())
    except UsageError:
        return None


def with_usual_noise(request: AnyRequest) -> AnyRequest:
    """The request with the data set's usual noise where none was typed: what its labels hold already, if they do."""
    if {"noise", "labels"} & request.model_fields_set:
        return request
    entry = registry.find_declaration("data set", registry.parse_data_set(request.dataset)[0])
    usual = (entry["description"] or {}).get("usual_noise", request.noise[0])
    return request if request.noise == (usual,) else request.model_copy(update={"noise": (usual,)})


def resolve_methods(request: Request, methods: Mapping[str, Mapping[str, Any]]) -> tuple[ResolvedMethod, ...]:
    """The methods that a request names, by the declarations `methods`.

    A parameter given with a glob goes to every method that the glob matches, and each must have it. Raises UsageError
    for unknown names and parameters and for values out of bounds.
    """
    return tuple(
        ResolvedMethod(
            selected, methods[selected.name], names.check_parameters(methods[selected.name], selected.values)
        )
        for selected in names.select_methods(request.methods, methods)
    )


def find_model_name(name: str, pretrained: bool = False) -> str:
    """The backbone's name as it is registered (`timm:NAME` is looked up in timm). Raises UsageError if none has it.

    `pretrained`: its weights are fetched, so that it may name which ones.
    """
    models = {key: entry for key, entry in registry.models().items() if key != f"{PREFIX}NAME"}
    if name.startswith(PREFIX) and name != f"{PREFIX}NAME":
        check_timm(name, pretrained=pretrained)
        return name
    return names.canonical_name("model", name, models, "models")


def with_registered_names(request: AnyRequest) -> AnyRequest:
    """The request with its model by the name that specs hold. Other names are looked up wherever they are used."""
    if request.model is None:
        return request
    return request.model_copy(update={"model": find_model_name(request.model, request.pretrained)})


def read_named_recipes(request: Request) -> SourcedRecipes | None:
    """The recipe file that `--recipes` names, checked against the methods; raises UsageError with the file's path."""
    if request.recipe_file is None:
        return None
    path = Path(request.recipe_file)
    if not path.is_file():
        raise UsageError(
            f"--recipes {path}: it is neither plain nor published, and there is no such file. "
            "`python -m bench tune` writes recipe files"
        )
    file = recipe_files.read_recipe_file(path)
    recipe_files.check_recipe_file(file, registry.methods(), path)
    return SourcedRecipes(str(path), file, named=True)
