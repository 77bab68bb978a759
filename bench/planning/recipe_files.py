"""Recipe files: learning rates, weight decays and parameters that `tune` chose, and how. TOML, for `run --recipes`.

    format = 1
    [setting]                   the setting that the values were chosen in: data set, model, training; not the noise
    [choice.NAME]               how they were chosen; every recipe names its choice
    [[recipe]]                  one method's values, and the accuracy that they reached

`shared_recipes/` beside this file holds the project's own: what the grid of the shared protocol chose for each data
set. Read `RecipeFile` first for what a file holds, then `parse_recipe_file` for how one is read and checked;
`setting_differences` decides whether a file's values hold for a run.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_serializer, model_validator

from bench.planning.request import parse_seeds
from bench.registry.names import canonical_name, check_parameters
from bench.spec import CHOSEN_BY_METHOD, SEEDS, Finite, Fraction, RunSpec, Seed, Value
from bench.system.errors import UsageError
from bench.system.files import read_regular_file, safe_file_stem, write_atomically

FORMAT = 1
"""Version of the files that this release writes."""
FOLDER = "tuning"
"""The folder of recipe files in a folder of boards."""
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
"""Fields of a run's setting that may differ from the setting that a recipe was chosen in."""
TIED = frozenset(RunSpec.model_fields) - CHOSEN_BY_METHOD - SEEDS - BESIDE_NOISE
"""Fields that may not differ: those that `RecipeFile.setting` holds."""

NO_SUCH_KEY = "nothing by this name belongs here"

Text = Annotated[str, Field(min_length=1)]


class FileChoice(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The circumstances of a choice: the noise, the seeds, the criterion, the number of trials, the command.

    `objective`: accuracy on the noisy labels of the hold-out ("noisy-val") or on its clean labels ("clean-val"), mean
    of the `last_epochs`. `held_out_labels`: labels that one criterion rests on, all splits together. `trials`: settings
    tried for each method; `tried`: a description of them.
    """

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
        """Consecutive seeds as a user types them, "5:8"; others as a list."""
        consecutive = all(seed == seeds[0] + place for place, seed in enumerate(seeds))
        return f"{seeds[0]}:{seeds[-1] + 1}" if consecutive else list(seeds)


class ChoiceRegret(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Test accuracy that clean labels would have gained by choosing instead: shares of 1, with a 95 % interval.

    Computed after the choice, among the settings that were run again on fresh seeds; nothing is chosen by it.
    """

    mean: Finite
    low: Finite | None = None
    high: Finite | None = None


class MethodRecipe(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A method's values. `noise` and `rate` are its keys, as those of a published recipe; None: any noise or rate.

    `criterion` and `standard_error` belong to these values, `own_criterion` to the values that the method had before
    (None: not measured); `best_criterion` is the highest of all trials. `runs`: training runs that the choice took.
    """

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


class RecipeFile(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A recipe file. `setting` holds those fields of `RunSpec.setting` that aren't None, without the noise's."""

    format: Literal[1] = 1
    setting: dict[str, Value]
    choice: dict[str, FileChoice]
    recipe: Annotated[tuple[MethodRecipe, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in sorted(self.setting.keys() - TIED):
            raise ValueError(f"setting.{name}: {NO_SUCH_KEY}")
        keys = set()
        for number, recipe in enumerate(self.recipe):
            if recipe.choice not in self.choice:
                raise ValueError(f"recipe.{number}.choice: there is no [choice.{recipe.choice}]")
            key = (recipe.method, recipe.noise, recipe.rate)
            if key in keys:
                raise ValueError(f"recipe.{number}: a second recipe of {recipe.method} for the same noise and rate")
            keys.add(key)
        if len({choice.kind for choice in self.choice.values()}) > 1:
            raise ValueError("choice: choices of both kinds, grid and study: keep them in files of their own")
        try:
            self._example_spec()
        except ValidationError as error:
            raise ValueError(explain_file_error(error.errors()[0], self.setting, "setting")) from None
        return self

    def _example_spec(self) -> RunSpec:
        """A spec in the file's setting."""
        return RunSpec(method="-", noise="-", learning_rate=1.0, **self.setting)

    @property
    def kind(self) -> str:
        """ "grid" or "study"."""
        return next(iter(self.choice.values())).kind

    @property
    def fewest_held_out(self) -> int:
        """Held-out labels of the choice that rests on the fewest."""
        return min(choice.held_out_labels for choice in self.choice.values())

    @property
    def tied_setting(self) -> dict[str, Any]:
        """The setting that the values were chosen in: every field that they are tied to, None included."""
        return tied_setting(self._example_spec())

    def of(self, method: str) -> list[MethodRecipe]:
        """A method's recipes."""
        return [recipe for recipe in self.recipe if recipe.method == method]


def tied_setting(spec: RunSpec) -> dict[str, Any]:
    """The part of a run's setting that a recipe is tied to: data and training, not the noise."""
    return {name: value for name, value in spec.setting().items() if name not in BESIDE_NOISE}


def recipe_setting(spec: RunSpec) -> dict[str, Any]:
    """`RecipeFile.setting` for values that were chosen in this run's setting."""
    return {name: value for name, value in tied_setting(spec).items() if value is not None}


def setting_differences(file: RecipeFile, spec: RunSpec, fields: frozenset[str] | None = None) -> list[str]:
    """Sentences on each of `fields` (None: all) in which a run differs from the setting of a file's values."""
    theirs, ours = file.tied_setting, tied_setting(spec)
    return [
        f"{name.replace('_', ' ')} {_shorten(theirs.get(name))} there and {_shorten(ours.get(name))} here"
        for name in dict.fromkeys([*ours, *theirs])
        if (fields is None or name in fields) and theirs.get(name) != ours.get(name)
    ]


def _shorten(value: Any) -> str:
    """A value as messages show it, hashes cut short."""
    text = "unset" if value is None else str(value)
    return f"{text[:12]}..." if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def read_recipe_file(path: Path) -> RecipeFile:
    """The recipes of a file. Raises UsageError with the file, the key and the rule of each mistake."""
    try:
        text = read_regular_file(path).decode()
    except OSError as error:
        raise UsageError(
            f"{path} can't be read: {error.strerror}. `python -m bench tune` writes recipe files"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} isn't UTF-8 text, so no recipe file") from None
    return parse_recipe_file(text, str(path))


def parse_recipe_file(text: str, name: str) -> RecipeFile:
    """The recipes in a text; `name` stands for the text in messages. Raises UsageError."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a TOMLDecodeError, or a number of too many digits
        raise UsageError(f"{name}: this is no TOML: {str(error)[:200]}") from None
    version = data.get("format")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UsageError(f"{name}: a recipe file says its format, such as format = {FORMAT}, in its first lines")
    if version > FORMAT:
        raise UsageError(f"{name}: format {version} is newer than this release's {FORMAT}; update lnl-bench to read it")
    try:
        return RecipeFile.model_validate(data)
    except ValidationError as error:
        # a value of no allowed type gives an error for each type, all with one explanation
        mistakes = dict.fromkeys(explain_file_error(item, data) for item in error.errors())
        raise UsageError("\n".join(f"{name}: {mistake}" for mistake in list(mistakes)[:5])) from None


def explain_file_error(error: Any, data: Any, table: str = "") -> str:
    """One pydantic error as "recipe.0.runs: is missing": the path of the key in `data`, and the rule.

    Tables of an array are counted from 0. `table` is the path of `data` itself in the file.
    """
    rule = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if not error["loc"]:
        return rule  # of `RecipeFile._consistent`, with the path of the key
    path = [table] if table else []
    for key in error["loc"]:
        inside = key in data if isinstance(data, dict) else isinstance(data, list) and isinstance(key, int)
        if not inside and error["type"] != "missing":  # pydantic names a type of a union here, no key of the file
            return f"{'.'.join(path)}: must be a number, text, true or false"
        path.append(str(key)[:60])
        data = data[key] if inside else None
    if error["type"] == "missing":
        rule = "is missing"
    elif error["type"] == "extra_forbidden":
        rule = NO_SUCH_KEY
    else:
        rule = f"{rule}, not {str(error['input'])[:60]!r}"
    return f"{'.'.join(path)}: {rule}"


def check_recipe_file(file: RecipeFile, methods: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Raise UsageError, with file and key, for an unknown method or parameter, or a value out of bounds.

    Of the parameters of an older version of a method no run takes any but a penalty.
    """
    for number, recipe in enumerate(file.recipe):
        key = "method"
        try:
            name = canonical_name("method", recipe.method, methods, "methods")
            if name != recipe.method:
                raise UsageError(f"{recipe.method!r} is an alias: write {name!r}")
            key, declared = "parameters", methods[name]
            taken = {parameter: str(value) for parameter, value in recipe.parameters.items()}
            if recipe.method_version < declared["version"]:
                taken = {parameter: taken[parameter] for parameter in taken if parameter == declared["own_penalty"]}
            check_parameters(declared, taken)
        except UsageError as error:
            raise UsageError(f"{path}: recipe.{number}.{key}: {error}") from None


def shared_recipe_file(data_set: str, model: str, features: str | None = None) -> tuple[Path, RecipeFile] | None:
    """The project's own recipes for a data set, as records name it: those of `model`, or else of another one.

    What was chosen on images says nothing of `features` of theirs, nor the other way round.
    """
    paths = [path for path in sorted(SHARED_FOLDER.glob("*.toml")) if path.stem.startswith(safe_file_stem(data_set))]
    candidates, about = [(path, read_recipe_file(path)) for path in paths], (data_set, features)
    files = [item for item in candidates if about == tuple(map(item[1].setting.get, ("data_set", "features")))]
    return next((item for item in files if item[1].setting.get("model") == model), files[0] if files else None)


def write_recipe_file(file: RecipeFile, path: Path) -> None:
    """Write a file atomically. Raises UsageError where it can't be written."""
    try:
        write_atomically(path, format_recipe_file(file).encode())
    except OSError as error:
        raise UsageError(f"can't write the recipes to {path}: {error.strerror}. Give another --boards") from None


def format_recipe_file(file: RecipeFile) -> str:
    """The file's text, without empty tables; `parse_recipe_file` gives the same recipes back."""
    tables = file.model_dump(exclude_none=True)
    tables["recipe"] = [_without_empty(recipe) for recipe in tables["recipe"]]
    tables["choice"] = {name: _without_empty(choice) for name, choice in tables["choice"].items()}
    return f"{HEADER}\n{tomli_w.dumps(tables)}"


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if value != {}}
