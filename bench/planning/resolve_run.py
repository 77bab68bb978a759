"""One method under one noise -> the spec of its first replicate: recipe, then protocol, then what was typed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.planning import recipe_choice
from bench.planning.facts import Facts, PlannedNoise, ResolvedMethod
from bench.planning.request import TYPED_FIELDS, Request
from bench.spec import HOLD_OUT, SHARED_GRID, SHARED_LR, RunSpec, augmentations, privileges, schedules

PROTOCOL_FIELDS = (
    "model",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "momentum",
    "nesterov",
    "schedule",
    "gradient_clip",
    "augmentation",
    "strong_augmentation",
)
TRAINING_FIELDS = frozenset(PROTOCOL_FIELDS) | {"optimizer"}


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """A method can't run under a noise, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def resolve_run(
    request: Request, facts: Facts, asked: ResolvedMethod, noise: PlannedNoise, rate: float | None
) -> RunSpec:
    """The spec of a method's first replicate under one noise; raises Refused where it can't run."""
    declared = asked.declaration
    given = privileges.given_by_noise(noise.takes_rate or noise.gives_matrix, noise.gives_matrix, request.noise_rate)
    untold = privileges.missing_privilege(declared["needs"], given, noise.name)
    if untold is not None:
        raise Refused(untold)
    chosen = choose_recipe(request, facts, asked, noise.name, rate)
    parameters = {item["name"]: item["default"] for item in declared["parameters"]}
    parameters |= {name: cast_like_default(parameters[name], value) for name, value in chosen.values.items()}
    parameters |= asked.values
    fields = training_fields(request, facts, chosen)
    if declared["weight_decay"] is not None:
        fields["weight_decay"] = declared["weight_decay"]
    refuse_small_images(facts, fields["model"])
    if fields["batch_size"] < 2 * facts.processes:
        raise Refused(
            f"{facts.processes} processes can't share a batch of {fields['batch_size']}: each needs two samples; "
            f"type --batch-size {2 * facts.processes} or more"
        )
    if declared["may_be_unsuitable"]:
        ask_method(facts, declared["name"], parameters, noise, rate, fields, given)
    seed = request.seeds[0]
    return RunSpec(
        protocol=protocol_name(request, facts),
        method=declared["name"],
        method_version=declared["version"],
        parameters=dict(sorted(parameters.items())),
        privileges=tuple(
            sorted({*privileges.named_privileges(declared["needs"], request.noise_rate), *chosen.privileges})
        ),
        noise=noise.name,
        rate=rate,
        draw=request.draw,
        noise_seed=noise_seed(request, seed),
        noise_sha256=noise.sha256,
        split_seed=split_seed(request, seed),
        seed=seed,
        precision=facts.precision,
        world_size=facts.processes,
        sync_batch_norm=request.sync_batch_norm,
        **data_fields(request, facts),
        **fields,
    )


def protocol_name(request: Request, facts: Facts) -> str:
    """The protocol as specs name it: what was typed, and whether the grid's choice is in force."""
    if request.protocol == "paper":
        return "paper"
    return SHARED_LR if facts.grid is None else SHARED_GRID


def cast_like_default(default: Any, value: Any) -> Any:
    """A recipe's value in its parameter's type, so that 1 and 1.0 make one run."""
    return float(value) if isinstance(default, float) else value


def choose_recipe(
    request: Request, facts: Facts, asked: ResolvedMethod, noise: str, rate: float | None
) -> recipe_choice.RecipeChoice:
    """The recipe that a method runs with. Raises Refused where none was published, or a file has none for it."""
    if facts.study is not None:
        absent = recipe_choice.missing_recipe(facts.study, asked.declaration)
        found = None if absent else recipe_choice.recipe_from_study(facts.study, asked.declaration, noise, rate)
        if found is None:
            here = noise if rate is None else f"{noise} {rate:g}"
            raise Refused(absent or f"{facts.study.path} holds no values of it for {here}")
        return found
    chosen = choose_published_recipe(request, facts, asked, noise, rate)
    if facts.grid is None:
        return chosen
    absent = recipe_choice.missing_recipe(facts.grid, asked.declaration)
    if absent:
        raise Refused(f"{absent}; {recipe_choice.HOW_TO_CHOOSE}")
    return recipe_choice.recipe_with_grid(facts.grid, asked.declaration, chosen)


def choose_published_recipe(
    request: Request, facts: Facts, asked: ResolvedMethod, noise: str, rate: float | None
) -> recipe_choice.RecipeChoice:
    """The published recipe by `--recipes`; under `--protocol paper` raises Refused where none was published."""
    own = facts.protocol
    model = request.model or (own.model if request.protocol != "paper" else None)
    known = recipe_choice.matching_recipes(asked.declaration["recipes"], own.recipes_from, model)
    if request.protocol == "paper":
        known = [each for each in known if each["training"]]
        if not known:
            raise Refused(f"no training settings are published for it on {own.recipes_from}")
    if request.recipes == "published":
        return recipe_choice.published_recipe(known, noise, rate)
    return recipe_choice.plain_recipe(known)


def training_fields(request: Request, facts: Facts, chosen: recipe_choice.RecipeChoice) -> dict[str, Any]:
    """The spec's training fields: the data set's, those of a paper's recipe or of a recipe file, then what was typed.

    A schedule that wasn't typed keeps its shape where other epochs were: its milestones move with the total.
    """
    fields: dict[str, Any] = {name: getattr(facts.protocol, name) for name in PROTOCOL_FIELDS}
    fields |= {"optimizer": "sgd", "hold_out": HOLD_OUT, "members": 1}
    if request.protocol == "paper":
        if chosen.recipe is None:
            raise Refused(f"its settings on {facts.protocol.recipes_from} are published for other noise only")
        published = chosen.recipe["training"]
        own_model = {"model": chosen.recipe["model"]} if chosen.recipe["model"] else {}
        fields |= own_model | {name: value for name, value in published.items() if name in TRAINING_FIELDS}
        fields["hold_out"] = 0.0
    fields |= chosen.core
    published_epochs, published_schedule = fields["epochs"], fields["schedule"]
    for option, name in TYPED_FIELDS.items():
        value = getattr(request, option)
        if value is not None:
            fields[name] = value
    if request.schedule is None:
        fields["schedule"] = schedules.scale_schedule(published_schedule, published_epochs, fields["epochs"])
    else:
        fields["schedule"] = schedules.canonical_schedule(request.schedule)
    for name in ("augmentation", "strong_augmentation"):
        fields[name] = augmentations.canonical_augmentation(fields[name])
    return fields


def refuse_small_images(facts: Facts, model: str) -> None:
    """Raise Refused where the images are too small for a model."""
    side, least = min(facts.image_shape[:2]), facts.smallest.get(model, 1)
    if side < least:
        raise Refused(
            f"the model {model} needs images of {least} x {least} pixels, these have {side}; "
            f"--image-size {least} enlarges them"
        )


def ask_method(
    facts: Facts,
    name: str,
    parameters: Mapping[str, Any],
    noise: PlannedNoise,
    rate: float | None,
    fields: Mapping[str, Any],
    given: frozenset[str],
) -> None:
    """Ask a method that may be unsuitable; raises Refused with its reason."""
    setting = {
        "data_set": facts.data_set,
        "noise": noise.name,
        "rate": rate,
        "classes": facts.classes,
        "samples": facts.samples,
        "image_shape": facts.image_shape,
        "epochs": fields["epochs"],
        "batch_size": fields["batch_size"],
        "augmentation": fields["augmentation"],
        "given": given,
    }
    reason = facts.unsuitable(name, parameters, setting)
    if reason is not None:
        raise Refused(reason)


def data_fields(request: Request, facts: Facts) -> dict[str, Any]:
    """The spec's fields that say which images are drawn."""
    return {
        "data_set": facts.data_set,
        "data_sha256": facts.data_sha256,
        "train_size": request.train_size,
        "imbalance": request.imbalance,
        "image_size": request.image_size,
    }


def noise_seed(request: Request, seed: int) -> int:
    """The noise seed of a replicate: `--noise-seed`, or the run's own seed."""
    if request.noise_seed is not None:
        return request.noise_seed
    return seed if request.labels is None else 0


def split_seed(request: Request, seed: int) -> int:
    """The split's seed: the run's own, but the noise seed under `--labels`, whose labels belong to one split."""
    return seed if request.labels is None else noise_seed(request, seed)
