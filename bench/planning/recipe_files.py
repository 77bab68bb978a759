"""Recipe files: learning rates, weight decays and parameters that `tune` chose, and how. TOML, for `run --recipes`.

    format = 1
    [setting]                   what the values were chosen in: data set, model, training; noise apart
    [choice.NAME]               how they were chosen; recipes name their choice
    [[recipe]]                  one method's values, and what they came to

`bench/shared_recipes/` holds the project's own: what the grid of the shared protocol chose for each data set.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_serializer, model_validator

from bench.planning.recipe_file_errors import TomlPath, line_of_key
from bench.planning.request import parse_seeds
from bench.registry.names import canonical_name, check_parameters
from bench.spec import CHOSEN_BY_METHOD, SEEDS, Finite, Fraction, RunSpec, Seed, Value
from bench.system.errors import UsageError
from bench.system.files import recipe_file_stem, write_atomically

FORMAT = 1
"""Version of the files that this release writes."""
FOLDER = "tuning"
"""Where recipe files lie in a folder of boards."""
SHARED_FOLDER = Path(__file__).resolve().parent / "shared_recipes"
HEADER = """\
# Values that `python -m bench tune` chose; `python -m bench run --recipes FILE` trains with them.
# criterion: accuracy on held-out labels, 0 to 1, mean over the seeds' splits; own_criterion: that of the values that
# the method had before, best_criterion the highest that was found. kept: the values from before stayed, since they lie
# no more than one standard error below the best.
"""
BESIDE_NOISE = frozenset(
    {"identity", "protocol", "noise", "rate", "draw", "noise_sha256", "hold_out", "precision", "world_size"}
)
"""Fields of a run's setting that may differ from those that a recipe was chosen in."""
TIED = frozenset(RunSpec.model_fields) - CHOSEN_BY_METHOD - SEEDS - BESIDE_NOISE
"""Fields that may not: what `RecipeFile.setting` may hold."""

Text = Annotated[str, Field(min_length=1)]


class FileChoice(BaseModel):
    """How values were chosen: under which noise, on which seeds, by what, from what, by which command.

    `objective`: accuracy on the hold-out's noisy labels ("noisy-val") or on its clean ones ("clean-val"), the mean of
    the `last_epochs`. `held_out_labels`: those that a criterion rests on, all splits together. `trials`: settings tried
    for each method; `tried`: what they were, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["grid", "study"]
    objective: Literal["noisy-val", "clean-val"] = "noisy-val"
    noise: Text
    rate: Fraction | None = None
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(parse_seeds), Field(min_length=1)]
    hold_out: Annotated[float, Field(gt=0, lt=1)]
    held_out_labels: Annotated[int, Field(ge=1)]
    last_epochs: Annotated[int, Field(ge=1)]
    trials: Annotated[int, Field(ge=1)]
    tried: dict[str, Text] = Field(default_factory=dict)
    command: Text
    revision: Text = "unknown"
    date: datetime.date

    @field_serializer("seeds")
    def _as_range(self, seeds: tuple[int, ...]) -> str | list[int]:
        """Consecutive seeds as they are typed, "5:8"."""
        whole = all(seed == seeds[0] + place for place, seed in enumerate(seeds))
        return f"{seeds[0]}:{seeds[-1] + 1}" if whole else list(seeds)


class ChoiceRegret(BaseModel):
    """How far the choice that clean labels make lies above this one: test accuracy, shares of 1, with 95 % interval.

    Looked up afterwards, among the settings that were run again on fresh seeds; nothing is chosen by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: Finite
    low: Finite | None = None
    high: Finite | None = None


class MethodRecipe(BaseModel):
    """A method's values. `noise` and `rate` key it, as those of a published recipe do; None: for any.

    `criterion` and `standard_error` are of these values, `own_criterion` of those that the method had before (None: it
    couldn't be taken), `best_criterion` the highest of all that was tried. `runs`: training runs that the choice took.
    `regret`: see there; None where it isn't known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Text
    method_version: Annotated[int, Field(ge=1)] = 1
    choice: Text
    noise: Text | None = None
    rate: Fraction | None = None
    learning_rate: Annotated[Finite, Field(gt=0)]
    weight_decay: Annotated[Finite, Field(ge=0)]
    parameters: dict[str, Value] = Field(default_factory=dict)
    criterion: Fraction
    standard_error: Annotated[Finite, Field(ge=0)]
    own_criterion: Fraction | None = None
    best_criterion: Fraction | None = None
    kept: bool
    runs: Annotated[int, Field(ge=1)]
    regret: ChoiceRegret | None = None


class RecipeFile(BaseModel):
    """A whole file. `setting` holds those fields of `RunSpec.setting` that aren't None, but for the noise's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    setting: dict[str, Value]
    choice: dict[str, FileChoice]
    recipe: Annotated[tuple[MethodRecipe, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unknown = sorted(self.setting.keys() - TIED)
        if unknown:
            raise _Misplaced(("setting", unknown[0]), f"setting.{unknown[0]}: nothing by this name belongs here")
        seen = set()
        for number, each in enumerate(self.recipe):
            if each.choice not in self.choice:
                raise _Misplaced(("recipe", number, "choice"), f"there is no [choice.{each.choice}]")
            key = (each.method, each.noise, each.rate)
            if key in seen:
                raise _Misplaced(("recipe", number), f"a second recipe of {each.method} for the same noise and rate")
            seen.add(key)
        kinds = sorted({choice.kind for choice in self.choice.values()})
        if len(kinds) > 1:
            raise _Misplaced(("choice",), "choices of both kinds, grid and study: keep them in files of their own")
        try:
            self._probe()
        except ValidationError as error:
            first = error.errors()[0]
            place = ("setting", *first["loc"][:1])
            raise _Misplaced(place, f"{'.'.join(map(str, place))}: {_rule(first)}") from None
        return self

    def _probe(self) -> RunSpec:
        return RunSpec(method="-", noise="-", learning_rate=1.0, **self.setting)

    @property
    def kind(self) -> str:
        """ "grid" or "study"."""
        return next(iter(self.choice.values())).kind

    @property
    def ground(self) -> dict[str, Any]:
        """What the values were chosen in, every field with its value."""
        return recipe_ground(self._probe())

    def of(self, method: str) -> list[MethodRecipe]:
        """A method's recipes."""
        return [each for each in self.recipe if each.method == method]


class _Misplaced(ValueError):  # noqa: N818 - carries a place
    """A mistake that only the whole shows, and where it is."""

    def __init__(self, place: TomlPath, rule: str) -> None:
        super().__init__(rule)
        self.place = place
        self.rule = rule


def recipe_ground(spec: RunSpec) -> dict[str, Any]:
    """What of a run's setting a recipe is tied to: data and training, not the noise."""
    return {name: value for name, value in spec.setting().items() if name not in BESIDE_NOISE}


def recipe_setting(spec: RunSpec) -> dict[str, Any]:
    """`RecipeFile.setting` for values that were chosen in this run's setting."""
    return {name: value for name, value in recipe_ground(spec).items() if value is not None}


def setting_differences(found: RecipeFile, spec: RunSpec, fields: frozenset[str] | None = None) -> list[str]:
    """In which of `fields` (None: all) a run differs from what a file's values were chosen in, in words."""
    chosen, own = found.ground, recipe_ground(spec)
    every = [name for name in dict.fromkeys([*own, *chosen]) if fields is None or name in fields]
    names = [name for name in every if chosen.get(name) != own.get(name)]
    return [
        f"{name.replace('_', ' ')} {_said(chosen.get(name))} there and {_said(own.get(name))} here" for name in names
    ]


def _said(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return f"{text[:12]}..." if re.fullmatch(r"[0-9a-f]{40,}", text) else text


# Reading and writing -------------------------------------------------------------------------------------------------


def read_recipe_file(path: Path) -> RecipeFile:
    """The recipes of a file. Raises UsageError with the file, the line and the rule of each mistake."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}. `python -m bench tune` writes recipe files"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} isn't UTF-8 text, so no recipe file") from None
    return parse_recipe_file(text, str(path))


def parse_recipe_file(text: str, name: str) -> RecipeFile:
    """The recipes in a text; `name` stands for it in messages. Raises UsageError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise UsageError(f"{name}:{line}: this is no TOML: {error}") from None
    version = data.get("format")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        line = line_of_key(text, ("format",))
        raise UsageError(f"{name}:{line}: a recipe file says its format, such as format = {FORMAT}, in its first lines")
    if version > FORMAT:
        raise UsageError(
            f"{name}:{line_of_key(text, ('format',))}: format {version} is newer than this release's {FORMAT}; "
            "update lnl-bench to read it"
        )
    try:
        return RecipeFile.model_validate(data)
    except ValidationError as error:
        lines = dict.fromkeys(_explain(item, data, text, name) for item in error.errors())
        raise UsageError("\n".join(list(lines)[:5])) from None


def write_recipe_file(found: RecipeFile, path: Path) -> None:
    """Write a file, there whole or not at all. Raises UsageError where it can't be written."""
    try:
        write_atomically(path, format_recipe_file(found).encode())
    except OSError as error:
        raise UsageError(f"can't write the recipes to {path}: {error.strerror}. Give another --boards") from None


def format_recipe_file(found: RecipeFile) -> str:
    """The file's text; `parse` gives the same recipes back."""
    kept = found.model_dump(exclude_none=True)
    kept["recipe"] = [_without_empty(each) for each in kept["recipe"]]
    kept["choice"] = {name: _without_empty(each) for name, each in kept["choice"].items()}
    return f"{HEADER}\n{tomli_w.dumps(kept)}"


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table without empty ones, and with its plain values first, so that none lands in a table below."""
    return {name: value for name, value in table.items() if value != {}}


def _explain(error: Any, data: Any, text: str, name: str) -> str:
    """One pydantic error: file, line, what was written there, the rule."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, _Misplaced):
        return f"{name}:{line_of_key(text, cause.place)}: {cause.rule}"
    place: list[str | int] = []
    for part in error["loc"]:
        inside = isinstance(data, dict) and part in data
        if not inside and not (isinstance(data, list) and isinstance(part, int)) and error["type"] != "missing":
            break  # what follows names a member of a union, nothing in the file
        place.append(part)
        data = data[part] if inside or isinstance(data, list) else None
    spoken = ".".join(str(part) for part in place if isinstance(part, str))
    rule = _rule(error) if len(place) == len(error["loc"]) else "must be a number, text, true or false"
    return f"{name}:{line_of_key(text, place)}: {spoken}: {rule}"


def _rule(error: Any) -> str:
    rule = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "nothing by this name belongs here"
    return f"{rule}, not {str(error['input'])[:60]!r}"


# Use -----------------------------------------------------------------------------------------------------------------


def check_recipe_file(found: RecipeFile, methods: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Raise UsageError, with file and line, for a method or a parameter that isn't known, or a value out of bounds."""
    for number, each in enumerate(found.recipe):
        place: TomlPath = ("recipe", number, "method")
        try:
            if canonical_name("method", each.method, methods, "methods") != each.method:
                raise UsageError(
                    f"{each.method!r} is an alias: write {canonical_name('method', each.method, methods)!r}"
                )
            place = ("recipe", number, "parameters")
            check_parameters(methods[each.method], {name: str(value) for name, value in each.parameters.items()})
        except UsageError as error:
            line = line_of_key(path.read_text(encoding="utf-8"), place)
            raise UsageError(f"{path}:{line}: {error}") from None


def shared_recipe_file(data_set: str, model: str) -> tuple[Path, RecipeFile] | None:
    """The project's own recipes for a data set, as records name it: those of `model`, or else of another one."""
    wanted = [path for path in sorted(SHARED_FOLDER.glob("*.toml")) if path.stem.startswith(recipe_file_stem(data_set))]
    found = [(path, read_recipe_file(path)) for path in wanted]
    own = [each for each in found if each[1].setting.get("data_set") == data_set]
    return next((each for each in own if each[1].setting.get("model") == model), own[0] if own else None)
