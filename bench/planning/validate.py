"""Mistakes in a request that show without its data."""

from __future__ import annotations

from pathlib import Path

from bench import registry
from bench.planning import recipe_files
from bench.planning.plan import resolve_methods
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.request import Request
from bench.registry import names
from bench.registry.names import parse_call
from bench.registry.timm_names import PREFIX, check_timm
from bench.spec import augmentations, schedules
from bench.system import hardware
from bench.system.errors import UsageError


def validate_request(request: Request) -> None:
    """Every mistake that shows without data: unknown names and parameters, values out of bounds, missing devices.

    Raises UsageError. Cheap: no torch, unless a CUDA device was named and something hints at one.
    """
    registry.load_plugins(request.plugin)
    resolve_methods(request, registry.methods())
    registry.parse_data_set(request.dataset)
    for text in request.noise:
        registry.parse_noise(text)
    if request.model is not None:
        check_model_name(request.model)
    read_named_recipes(request)
    if request.labels is not None and not Path(request.labels).is_file():
        raise UsageError(
            f"--labels {request.labels}: there is no such file. `show noise --save-labels FILE` writes one"
        )
    check_training_options(request)
    if request.executor == "local":  # elsewhere, it is for what is there to say
        device = hardware.resolve_device(request.device)
        hardware.resolve_precision(request.precision, device, "fp32")
        hardware.check_step_mode(request.steps, device)


def check_model_name(name: str) -> None:
    """Raise UsageError where no backbone has this name (`timm:NAME` is looked up in timm)."""
    known = registry.models()
    if name.startswith(PREFIX) and name != f"{PREFIX}NAME":
        check_timm(name)
    elif name not in known or name == f"{PREFIX}NAME":
        raise names.unknown_name("model", name, known, "models")


def check_training_options(request: Request) -> None:
    """Raise UsageError where schedule, optimiser or augmentation are none that the core has."""
    if request.schedule is not None:
        schedules.canonical_schedule(request.schedule)
    if request.optimizer is not None and request.optimizer not in schedules.OPTIMIZERS:
        raise names.unknown_name("optimizer", request.optimizer, schedules.OPTIMIZERS)
    if request.augment is not None:
        augmentations.canonical_augmentation(request.augment)


def read_named_recipes(request: Request) -> SourcedRecipes | None:
    """The recipe file that `--recipes` names, checked against the methods; raises UsageError with file and line."""
    if request.recipe_file is None:
        return None
    path = Path(request.recipe_file)
    if not path.is_file():
        raise UsageError(
            f"--recipes {path}: it is neither plain nor published, and there is no such file. "
            "`python -m bench tune` writes recipe files"
        )
    found = recipe_files.read_recipe_file(path)
    recipe_files.check_recipe_file(found, registry.methods(), path)
    return SourcedRecipes(str(path), found, named=True)


def canonical_method_name(text: str) -> str:
    """The canonical name of a method as typed, its parameters aside; UsageError if none."""
    return str(registry.find_declaration("method", parse_call(text)[0])["name"])
