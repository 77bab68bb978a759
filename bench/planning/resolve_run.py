"""One method under one noise -> the spec of its first replicate. Pure.

Read `resolve_run` first. `training_fields` holds the rules of precedence between the data set, a recipe, typed options
and the method; `choose_recipe` says which recipe a method runs with. A method that can't run raises `Refused`, which
the planner turns into a message, or into a row of the runs that are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.planning import paper_protocol, recipe_choice
from bench.planning.facts import Facts, PlannedNoise, ResolvedMethod
from bench.planning.paper_protocol import PAPER
from bench.planning.recipe_choice import RecipeChoice
from bench.planning.request import TYPED_FIELDS, Request
from bench.spec import HOLD_OUT, SHARED_GRID, SHARED_LR, RunSpec, augmentations, privileges, schedules

Fields = Mapping[str, Any]
"""Values for fields of a RunSpec, by name."""

NOT_TRAINING = frozenset({"recipes_from", "precision", "source"})
"""Fields of a data set's protocol that `training_fields` doesn't take."""


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """A method can't run under a noise; the message completes the sentence "it can't run here: ..."."""


def resolve_run(
    request: Request, facts: Facts, method: ResolvedMethod, noise: PlannedNoise, rate: float | None
) -> RunSpec:
    """The spec of a method's first replicate under one noise; raises Refused where it can't run."""
    declaration = method.declaration
    missing = privileges.missing_privilege(declaration["needs"], given_privileges(request, noise), noise.name)
    if missing is not None:
        raise Refused(missing)
    recipe = choose_recipe(request, facts, declaration, noise.name, rate)
    needs = privileges.named_privileges(declaration["needs"], request.noise_rate, facts.matrix_sha256)
    protocol = PAPER if request.is_paper else SHARED_LR if facts.grid is None else SHARED_GRID
    spec = RunSpec(
        protocol=protocol,
        recipe_source=recorded_source(request, recipe, declaration),
        method=declaration["name"],
        method_version=declaration["version"],
        parameters=resolve_parameters(method, recipe),
        privileges=tuple(sorted({*needs, *recipe.privileges})),
        noise=noise.name,
        rate=rate,
        draw=request.draw,
        rounding="total" if rate in noise.rounded_in_total else "class",
        noise_sha256=noise.sha256,
        precision=facts.precision,
        world_size=facts.processes,
        sync_batch_norm=request.sync_batch_norm,
        **replicate_seeds(request, request.seeds[0]),
        **data_fields(request, facts),
        **training_fields(request, facts, recipe, declaration),
    )
    refuse_misfit(request, facts, noise, spec)
    return spec


def refuse_misfit(request: Request, facts: Facts, noise: PlannedNoise, spec: RunSpec) -> None:
    """Raise Refused where a run doesn't fit its images or processes, or where its method calls itself unsuitable."""
    side, least = min(facts.image_shape[:2]), facts.smallest.get(spec.model, 1)
    if facts.vectors is not None and spec.model not in facts.for_vectors:
        raise Refused(f"its model {spec.model} is for images, and these samples are {facts.vectors}")
    if side < least:
        raise Refused(
            f"the model {spec.model} needs images of {least} x {least} pixels, these have {side}; "
            f"--image-size {least} enlarges them"
        )
    views = None if facts.vectors is None else facts.vectors.views
    for augmentation in (spec.augmentation, spec.strong_augmentation):
        misfit = augmentations.misfit_augmentation(augmentation, views)
        if misfit is not None:
            raise Refused(f"its augmentation is {augmentation}: {misfit}")
    if spec.batch_size < 2 * facts.processes:
        raise Refused(
            f"{facts.processes} processes can't share a batch of {spec.batch_size}: each needs two samples; "
            f"type --batch-size {2 * facts.processes} or more"
        )
    if not facts.methods[spec.method]["may_be_unsuitable"]:
        return
    of_run = ("data_set", "noise", "rate", "epochs", "batch_size", "augmentation")
    setting: dict[str, Any] = {name: getattr(spec, name) for name in of_run}
    setting |= {name: getattr(facts, name) for name in ("classes", "samples", "image_shape")}
    setting["is_vector"] = facts.vectors is not None
    setting["given"] = given_privileges(request, noise)
    reason = facts.unsuitable(spec.method, spec.parameters, setting)
    if reason is not None:
        raise Refused(reason)


def given_privileges(request: Request, noise: PlannedNoise) -> frozenset[str]:
    """The privileges that a noise, or the user, gives to methods that need them."""
    stated = {privileges.RATE: request.noise_rate, privileges.MATRIX: request.transition_matrix}
    by_user = {name for name, value in stated.items() if value is not None}
    states_rate = noise.takes_rate or noise.gives_matrix
    return privileges.given_by_noise(states_rate, noise.gives_matrix, noise.is_known) | by_user


# Parameters and training ---------------------------------------------------------------------------------------------


def choose_recipe(
    request: Request, facts: Facts, declaration: Mapping[str, Any], noise: str, rate: float | None
) -> RecipeChoice:
    """The recipe that a method runs with: of a file of studies, or a published one with the grid's values if any.

    Raises Refused where no recipe was published for `--protocol paper`, or a recipe file has none for the method.
    """
    if facts.study is not None:
        absent = recipe_choice.missing_recipe(facts.study, declaration)
        tuned = None if absent else recipe_choice.recipe_from_study(facts.study, declaration, noise, rate)
        if tuned is None:
            setting = noise if rate is None else f"{noise} {rate:g}"
            raise Refused(absent or f"{facts.study.path} holds no values of it for {setting}")
        return tuned
    published = choose_published_recipe(request, facts, declaration, noise, rate)
    if facts.grid is None:
        return published
    absent = recipe_choice.missing_recipe(facts.grid, declaration)
    if absent:
        raise Refused(f"{absent}; {recipe_choice.HOW_TO_CHOOSE}")
    return recipe_choice.recipe_with_grid(facts.grid, declaration, published)


def choose_published_recipe(
    request: Request, facts: Facts, declaration: Mapping[str, Any], noise: str, rate: float | None
) -> RecipeChoice:
    """The published recipe by `--recipes`; raises Refused where `--protocol paper` finds no training settings."""
    data_set, paper = facts.protocol.recipes_from, request.is_paper
    model = request.model or (None if paper else facts.protocol.model)
    matching = recipes = recipe_choice.matching_recipes(declaration["recipes"], data_set, model)
    if paper:
        recipes = [recipe for recipe in recipes if recipe["training"]]
        if not recipes:
            why = "; ".join(dict.fromkeys(filter(None, (recipe.get("deviation") for recipe in matching))))
            raise Refused(
                f"no training settings are published for it on {data_set}" + (f" that fit: {why}" if why else "")
            )
        names = dict.fromkeys(name for recipe in recipes for name in paper_protocol.source_names(recipe))
        recipes = paper_protocol.recipes_of_source(recipes, request.recipe_source, declaration.get("compared_source"))
        if not recipes:
            others = ", ".join(f"{PAPER}:{name}" for name in names)
            raise Refused(f"it has no recipe of {request.recipe_source} on {data_set}, but {others}")
    if request.recipes == "published":
        choice = recipe_choice.published_recipe(recipes, noise, rate)
    else:
        choice = recipe_choice.plain_recipe(recipes)
    if paper and choice.recipe is None:
        raise Refused(f"its settings on {data_set} are published for other noise only")
    return choice


def recorded_source(request: Request, recipe: RecipeChoice, declaration: Mapping[str, Any]) -> str | None:
    """The name of the source whose recipe a run trains by; None outside the paper protocol."""
    if not request.is_paper or recipe.recipe is None:
        return None
    return paper_protocol.source_of(recipe.recipe, request.recipe_source, declaration.get("compared_source"))


def resolve_parameters(method: ResolvedMethod, recipe: RecipeChoice) -> dict[str, Any]:
    """A method's parameters, sorted: default values, replaced by the recipe's, replaced by typed ones.

    Without those that were added later and have their default value, as ids of older runs are of specs without them.
    """
    declared = method.declaration["parameters"]
    values = {parameter["name"]: parameter["default"] for parameter in declared}
    unwritten = {parameter["name"]: parameter["default"] for parameter in declared if parameter.get("added_later")}
    for name, value in recipe.values.items():  # in the default's type, so that 1 and 1.0 make one run
        values[name] = float(value) if isinstance(values[name], float) else value
    values |= method.values
    return {name: values[name] for name in sorted(values) if name not in unwritten or values[name] != unwritten[name]}


def training_fields(
    request: Request, facts: Facts, recipe: RecipeChoice, declaration: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The spec's fields that say how a run trains. `declaration` is the method's; None: of no method in particular.

    Every source is a layer, and the last layer that has a field wins:

    1. "data set": the protocol of the data set, with SGD, the usual hold-out and one member.
    2. "recipe": under `--protocol paper` all published training settings, and no hold-out; from a recipe file the
       learning rate and weight decay. A recipe of any other kind has no such fields.
    3. "typed": options of the command line. A schedule that isn't typed keeps its shape: its milestones move with
       typed epochs.
    4. "method": the weight decay of a method with a penalty of its own, which no option replaces.
    """
    layers: dict[str, Fields] = {"data set": dataset_protocol(facts)}
    layers["recipe"] = recipe_fields(request, recipe, layers["data set"])
    layers["typed"] = typed_fields(request, merge_layers(layers))
    layers["method"] = method_rules(declaration)
    fields = merge_layers(layers)
    for name in ("augmentation", "strong_augmentation"):
        fields[name] = augmentations.canonical_augmentation(fields[name])
    return fields


def merge_layers(layers: Mapping[str, Fields]) -> dict[str, Any]:
    """The fields of all layers (by source); a later layer replaces an earlier one's values."""
    return {name: value for layer in layers.values() for name, value in layer.items()}


def dataset_protocol(facts: Facts) -> Fields:
    """The first layer: every training field, most as the data set's protocol says."""
    fields = {name: value for name, value in vars(facts.protocol).items() if name not in NOT_TRAINING}
    return {**fields, "optimizer": "sgd", "hold_out": HOLD_OUT, "members": 1}


def recipe_fields(request: Request, recipe: RecipeChoice, protocol: Fields) -> Fields:
    """The second layer: the training settings that a recipe brings, for fields that `protocol` has."""
    if not request.is_paper or recipe.recipe is None:
        return recipe.core
    published = {name: value for name, value in recipe.recipe["training"].items() if name in protocol}
    model = {"model": recipe.recipe["model"]} if recipe.recipe["model"] else {}
    return {**model, **published, "hold_out": 0.0, "members": 1}


def typed_fields(request: Request, untyped: Fields) -> Fields:
    """The third layer: typed options, and the schedule; `untyped` holds the fields without them."""
    options = {name: getattr(request, option) for option, name in TYPED_FIELDS.items()}
    fields = {name: value for name, value in options.items() if value is not None}
    if "schedule" in fields:
        schedule = schedules.canonical_schedule(fields["schedule"])
    else:
        published = untyped["epochs"]
        schedule = schedules.scale_schedule(untyped["schedule"], published, request.epochs or published)
    return {**fields, "schedule": schedule}


def method_rules(declaration: Mapping[str, Any] | None) -> Fields:
    """The fourth layer: the fields that a method fixes."""
    fixed = None if declaration is None else declaration["weight_decay"]
    return {} if fixed is None else {"weight_decay": fixed}


# Data and seeds ------------------------------------------------------------------------------------------------------


def data_fields(request: Request, facts: Facts) -> dict[str, Any]:
    """The spec's fields that say which images are drawn, what stands for them, and what networks start from."""
    drawn = {name: getattr(request, name) for name in ("train_size", "imbalance", "image_size")}
    drawn["unreadable_skipped"] = facts.unreadable_skipped
    return {"data_set": facts.data_set, "data_sha256": facts.data_sha256, **drawn, **facts.start}


def replicate_seeds(request: Request, seed: int) -> dict[str, int]:
    """The spec's seeds for the replicate `seed`. Labels of `--labels` belong to one split, so they fix its seed."""
    noise_seed = request.noise_seed
    if noise_seed is None:
        noise_seed = seed if request.labels is None else 0
    return {"seed": seed, "split_seed": seed if request.labels is None else noise_seed, "noise_seed": noise_seed}
