"""The request of `run` and of `tune`: options in their types and within bounds, before anything is looked up.

`Request` lists the options; `Option` says of each what part it plays, and the lists below it are derived from that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from bench.planning.compute_budget import parse_budget
from bench.planning.feature_options import check_feature_options
from bench.planning.paper_protocol import PAPER
from bench.registry.names import split_list, split_values
from bench.spec import Finite, Fraction, Seed
from bench.system.errors import UsageError

MOST_SEEDS = 100_000

Value = TypeVar("Value")


@dataclass(frozen=True)
class Option:
    """The part that an option plays; every field of a request holds one.

    `role` is "identity" for what can change what a run computes, "source" for where data and code come from, "runtime"
    for where and how runs are carried out, "board" for what is shown of them. `overrides` is the field of
    `RunSpec` that the option sets in place of the protocol, `set_by_grid` marks what `tune --grid` sets itself.
    """

    role: Literal["identity", "source", "runtime", "board"]
    overrides: str | None = None
    set_by_grid: bool = False


Identity = Annotated[Value, Option("identity")]
Source = Annotated[Value, Option("source")]
Runtime = Annotated[Value, Option("runtime")]
ByGrid = Annotated[Value, Option("identity", set_by_grid=True)]


def parse_seeds(value: Any) -> Any:
    """`5` -> 0..4, `5:8` -> 5..7."""
    if not isinstance(value, str):
        return value
    first, colon, last = value.strip().partition(":")
    try:
        start, stop = (int(first), int(last)) if colon else (0, int(first))
    except ValueError:
        raise ValueError("must be a count such as 5, or a range such as 5:8 (seeds 5, 6, 7)") from None
    if start < 0 or not 0 < stop - start <= MOST_SEEDS:
        raise ValueError(f"must say at least one seed, none below 0 and at most {MOST_SEEDS}")
    return tuple(range(start, stop))


def _paths(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _names(value: Any) -> Any:
    """Comma-separated items of every occurrence of an option."""
    if isinstance(value, str):
        return tuple(split_list(value))
    return tuple(split_values(value)) if isinstance(value, Sequence) else value


def _protocol(value: Any) -> Any:
    """The protocol in lower case; raises ValueError for another one."""
    text = value.strip().lower() if isinstance(value, str) else value
    if text in ("shared", "shared-lr", PAPER) or (isinstance(text, str) and re.fullmatch(rf"{PAPER}:[^\s:]+", text)):
        return text
    raise ValueError("must be shared, shared-lr, paper, or paper:SOURCE such as paper:anl")


def _gpu_share(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError("must be over 0 and at most 1: a run trains on one GPU, and with 0.25 four runs share it")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Request(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """One `run` as typed. None stands for what data set or protocol say. Frozen; extra fields are refused."""

    methods: Identity[Names] = ("all",)
    dataset: Identity[Text] = "digits"
    data_root: Source[Text | None] = None
    download: Source[bool] = False
    image_size: Identity[Count | None] = None
    skip_unreadable: Identity[bool] = False
    features: Identity[Text | None] = None
    """"auto", or "timm:NAME"; see `bench.planning.feature_options`."""
    feature_size: Identity[Count | None] = None
    feature_views: Identity[Count | None] = None
    feature_components: Identity[Count | None] = None
    weights: Identity[Text | None] = None
    pretrained: Identity[bool] = False
    noise: ByGrid[Names] = ("sym",)
    rate: ByGrid[Annotated[tuple[Fraction, ...], BeforeValidator(_names), Field(min_length=1)]] = (0.4,)
    seeds: Identity[Annotated[tuple[Seed, ...], BeforeValidator(parse_seeds), Field(min_length=1)]] = (0, 1, 2, 3, 4)
    noise_seed: Identity[Seed | None] = None
    draw: ByGrid[Literal["exact", "multinomial"]] = "exact"
    labels: Identity[Text | None] = None
    noise_rate: ByGrid[Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None] = None
    transition_matrix: ByGrid[Text | None] = None
    labels_are_clean: Identity[bool] = False
    imbalance: Identity[Annotated[float, Field(gt=0, le=1)] | None] = None
    train_size: Identity[Count | None] = None
    hold_out: Annotated[Annotated[float, Field(ge=0, lt=1)] | None, Option("identity", overrides="hold_out")] = None
    members: Annotated[Count, Option("identity", overrides="members")] = 1
    budget: Identity[Text | None] = None
    """"equal-compute", or "equal-compute:UNITS"; see `bench.planning.compute_budget.parse_budget`."""
    epochs: Annotated[Count | None, Option("identity", overrides="epochs")] = None
    batch_size: Annotated[Count | None, Option("identity", overrides="batch_size")] = None
    lr: Annotated[Positive | None, Option("identity", overrides="learning_rate", set_by_grid=True)] = None
    weight_decay: Annotated[
        Annotated[Finite, Field(ge=0)] | None, Option("identity", overrides="weight_decay", set_by_grid=True)
    ] = None
    optimizer: Annotated[Text | None, Option("identity", overrides="optimizer")] = None
    schedule: Annotated[Text | None, Option("identity", overrides="schedule")] = None
    augment: Annotated[Text | None, Option("identity", overrides="augmentation")] = None
    model: Annotated[Text | None, Option("identity", overrides="model")] = None
    precision: Identity[Literal["auto", "fp32", "bf16", "fp16"]] = "auto"
    """`device` decides what "auto" means; the spec holds the result."""
    sync_batch_norm: Identity[bool] = False
    protocol: Identity[Annotated[str, BeforeValidator(_protocol)]] = "shared"
    """"shared", "shared-lr", "paper", or "paper:SOURCE"; see `is_paper` and `recipe_source`."""
    recipes: Identity[Text] = "plain"
    """"plain", "published", or a recipe file's path."""
    jobs: Runtime[Count | None] = None
    device: Runtime[Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]] = "auto"
    images: Runtime[Literal["auto", "device", "host", "disk"]] = "auto"
    steps: Runtime[Literal["auto", "eager", "graph", "compiled"]] = "auto"
    out: Runtime[Text] = "runs"
    boards: Runtime[Text] = "leaderboards"
    test_labels: Annotated[Literal["given", "audited"], Option("board")] = "given"
    when: Runtime[Literal["missing", "always", "never", "failed"]] = "missing"
    plugin: Source[Annotated[tuple[Text, ...], BeforeValidator(_paths)]] = ()
    format: Runtime[Literal["md", "csv", "json"]] = "md"
    dry_run: Runtime[bool] = False
    shard: Runtime[Text | None] = None
    executor: Runtime[str] = "local"
    """A name in `bench.execution.backends.BACKENDS`, which checks it."""
    ray_address: Runtime[Text | None] = None
    gpus_per_run: Runtime[Annotated[float, AfterValidator(_gpu_share)] | None] = None

    @model_validator(mode="after")
    def _ray_is_asked_for(self) -> Self:
        typed = {"ray_address", "gpus_per_run"} & self.model_fields_set
        if self.executor != "ray" and typed:
            options = " and ".join(f"--{name.replace('_', '-')}" for name in sorted(typed))
            raise ValueError(f"{options} {'is' if len(typed) == 1 else 'are'} for --executor ray: add it, or leave out")
        return self

    @model_validator(mode="after")
    def _one_source_of_labels_and_of_values(self) -> Self:
        if self.labels is not None and {"noise", "rate"} & self.model_fields_set:
            raise ValueError("--labels brings noisy labels of its own: leave --noise and --rate out")
        rivals = {"--protocol paper": self.is_paper, "--lr": self.lr is not None}
        rivals["--weight-decay"] = self.weight_decay is not None
        for rival, typed in rivals.items():
            if typed and self.recipe_file is not None:
                raise ValueError(f"--recipes FILE and {rival} both say what methods train with: leave one out")
        return self

    @model_validator(mode="after")
    def _a_backbone_for_features_and_weights(self) -> Self:
        check_feature_options(self.features, self.weights, self.pretrained, self.model, self.model_fields_set)
        return self

    @model_validator(mode="after")
    def _one_word_on_clean_labels(self) -> Self:
        if self.labels_are_clean and "as-given" in self.noise:
            raise ValueError(
                "--labels-are-clean says that labels are known to be right, --noise as-given that nobody knows: leave "
                "one out (--noise none is for clean labels)"
            )
        return self

    @model_validator(mode="after")
    def _a_budget_with_room_to_choose(self) -> Self:
        if self.budget is None:
            return self
        parse_budget(self.budget)
        if self.is_paper:
            raise ValueError(
                "--budget chooses epochs and members on noisy held-out labels; --protocol paper takes the published "
                "epochs and holds nothing out: leave one out"
            )
        if self.hold_out == 0:
            raise ValueError(
                "--budget chooses epochs and members on noisy held-out labels, and --hold-out 0 leaves none: leave "
                "one out"
            )
        if self.members > 1:
            raise ValueError("--budget chooses how many members each method has: leave --members out")
        if self.shard is not None:
            raise ValueError(
                "--budget plans its later runs by what the first ones cost, so no machine knows its shard of them: "
                "leave --shard out; several machines may type the same command on one --out folder"
            )
        return self

    @property
    def is_paper(self) -> bool:
        """Whether every method trains by its own published recipe."""
        return self.protocol.partition(":")[0] == PAPER

    @property
    def recipe_source(self) -> str | None:
        """The source that `--protocol paper:SOURCE` names; None: the one that each method is compared by."""
        return self.protocol.partition(":")[2] or None

    @property
    def recipe_file(self) -> str | None:
        """The path that `--recipes` gives; None where it names a kind."""
        return None if self.recipes in ("plain", "published") else self.recipes

    @classmethod
    def typed(cls, **options: Any) -> Request:
        """A request of the options that were typed (None: not typed). Raises UsageError, a line for each mistake."""
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            raise UsageError("\n".join(explain_validation_error(item) for item in error.errors()[:3])) from None


OPTIONS = {
    name: part for name, field in Request.model_fields.items() for part in field.metadata if isinstance(part, Option)
}
"""The fields of a request with the parts that they play."""
TYPED_FIELDS = {name: option.overrides for name, option in OPTIONS.items() if option.overrides is not None}
"""Options that replace what the protocol says, and the spec's fields that they set."""
SOURCES = tuple(name for name, option in OPTIONS.items() if option.role == "source")
"""Options for where data and code come from: they change no result, but a command needs them."""


def explain_validation_error(error: Any) -> str:
    """One pydantic error as a user reads it: the option, what was typed, the rule."""
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    field, typed = str(error["loc"][0]), error["input"]
    option = f"--{field.replace('_', '-')}"
    rule = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if error["type"] in ("too_short", "string_too_short"):
        example = {"methods": "all", "noise": "sym", "rate": "0.4"}.get(field, "VALUE")
        return f"{option} is empty: type, for instance, {option} {example}"
    if error["type"] in ("int_parsing", "int_from_float"):
        rule = "must be a whole number"
    if error["type"] in ("float_parsing", "finite_number"):
        rule = "must be a finite number"
    if error["type"] == "string_unicode":
        rule = "isn't UTF-8, which records are written in: rename the file or folder"
    if error["type"] == "string_pattern_mismatch":
        rule = "must be auto, cpu, cuda or cuda:NUMBER"
    return f"{option} {typed}: {rule}"
