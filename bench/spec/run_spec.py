"""RunSpec: everything that changes the answer, and nothing else; Runtime: everything else a run is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictStr,
    model_serializer,
)

from bench.system.text import digest

IDENTITY_VERSION = 1
"""Raised whenever the same spec would train differently; old records then stand for themselves."""

ImagePlace = Literal["device", "host", "disk"]
"""Where a run keeps its images, see `bench.planning.image_placement`."""
Value = StrictBool | int | float | StrictStr
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0)]

SEEDS = frozenset({"noise_seed", "split_seed", "seed"})
"""What a replicate is: fields that differ between the runs whose mean a board shows."""

SHARED_LR = "shared"
"""`RunSpec.protocol` where every method trains with the data set's learning rate and weight decay."""
SHARED_GRID = "shared-grid"
"""`RunSpec.protocol` where these were chosen per method, from one grid for all."""

HOLD_OUT = 0.1
"""Share of a training set that is held out where nobody says another."""

RESERVED_SEEDS = 1_000_000
"""Seeds from here up are for choosing (`tune`); no board shows their runs, which were picked for doing well."""

CHOSEN_BY_METHOD = frozenset(
    {"method", "method_version", "parameters", "privileges", "learning_rate", "weight_decay", "members"}
)
"""The method, how many copies of it, and what the protocol lets it choose: what differs between rows of one table."""


ADDED_LATER: dict[str, Value | None] = {"members": 1, "sync_batch_norm": False}
"""Fields of RunSpec that came after the first records, each with the value under which a run is what it was before.

A spec is written without them while they hold that value, so that a new field changes no older run's id, nor the table
that it stands in. The value is the field's default, for ever.
"""


class RunSpec(BaseModel):
    """One run, with resolved values only. Frozen; extra fields, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    identity: int = IDENTITY_VERSION
    protocol: str = "shared"

    method: str
    method_version: int = 1
    parameters: dict[str, Value] = Field(default_factory=dict)
    privileges: tuple[str, ...] = ()
    """What the run is told beyond noisy labels: the method's needs, and what keys an informed recipe. Sorted.

    "noise_rate" stands for the realised share of wrong labels, "noise_rate=0.2" for what the user says it is.
    """
    members: int = Field(default=1, ge=1)
    """Independent copies of the method, trained on the same data; the prediction is the mean of theirs."""

    data_set: str
    data_sha256: str
    train_size: int | None = Field(default=None, ge=1)
    imbalance: float | None = Field(default=None, gt=0, le=1)
    image_size: int | None = Field(default=None, ge=1)

    noise: str
    rate: Fraction | None = None
    draw: str = "exact"
    noise_seed: Seed = 0
    noise_sha256: str | None = None
    """Hash of a matrix or label file; None for noise that a name and a rate say in full."""

    model: str
    weights_sha256: str | None = None
    augmentation: str = "none"
    strong_augmentation: str = "none"

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimizer: str = "sgd"
    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: str = "cosine"
    gradient_clip: float | None = Field(default=5.0, gt=0)
    hold_out: float = Field(default=HOLD_OUT, ge=0, lt=1)
    split_seed: Seed = 0
    seed: Seed = 0
    precision: str = "fp32"
    world_size: int = Field(default=1, ge=1)
    sync_batch_norm: bool = False
    """Batch statistics of the whole batch, where several processes each hold a share of it."""

    @model_serializer(mode="wrap")
    def _without_what_came_later(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        unused = {name for name, value in ADDED_LATER.items() if getattr(self, name) == value}
        return {name: value for name, value in written.items() if name not in unused}

    def canonical(self) -> str:
        """The one JSON text of this spec: sorted keys, no spaces, shortest floats."""
        return canonical_json(self.model_dump(mode="json"))

    @cached_property
    def run_id(self) -> str:
        """16 hex digits that name this spec; equal specs have equal ids on every machine."""
        return digest(self.canonical())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without the id, which a copied cache would keep."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("run_id", None)
        return copied

    def setting(self) -> dict[str, Any]:
        """Every field but the method, what the protocol lets it choose, and the seeds: what one table holds."""
        return self.model_dump(mode="json", exclude=set(CHOSEN_BY_METHOD | SEEDS))

    @property
    def setting_id(self) -> str:
        """16 hex digits that name the setting."""
        return digest(canonical_json(self.setting()))


class Runtime(BaseModel):
    """How and where a run is carried out. Nothing here changes the answer, and none of it is in the run's id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_source: str
    """The data set as typed, paths included, such as "table:photos/labels.csv"."""
    noise_source: str
    """The noise as typed, paths included, such as "matrix:confusions.csv"."""
    labels_source: str | None = None
    """The file of `--labels`."""
    weights_source: str | None = None
    data_root: str | None = None
    download: bool = False
    cache: str | None = None
    device: str = "cpu"
    threads: int = Field(default=1, ge=1)
    images: ImagePlace = "device"
    steps: Literal["auto", "eager", "graph", "compiled"] = "auto"
    """How steps are carried out; see `bench.training.step_modes`."""
    gpu_bytes: int | None = Field(default=None, ge=1)
    """What this process's tensors may take of a card that it shares; None: all that is free."""
    plugins: tuple[str, ...] = ()
    checkpoint_seconds: Finite = 5.0
    pause_at: float | None = Field(default=None, gt=0, lt=1)
    """Share of the run's epochs (rounded up) after which it is put aside: its checkpoint and curves stand, and a later
    call goes on."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
