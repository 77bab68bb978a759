"""RunSpec: everything that changes a run's result, and nothing else. Runtime: everything else that a run needs.

A run's id is a hash of its RunSpec (`RunSpec.run_id`), so a field is added by the rule of ADDED_LATER.
"""

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
"""The place of a run's images, see `bench.planning.image_placement`."""
Value = StrictBool | int | float | StrictStr
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0)]

SEEDS = frozenset({"noise_seed", "split_seed", "seed"})
"""The fields that make a replicate: those that differ between the runs whose mean a board shows."""

SHARED_LR = "shared"
"""`RunSpec.protocol` if every method trains with the data set's learning rate and weight decay."""
SHARED_GRID = "shared-grid"
"""`RunSpec.protocol` if these were chosen for each method from one grid for all."""

HOLD_OUT = 0.1
"""The default share of a training set that is held out."""

RESERVED_SEEDS = 1_000_000
"""Seeds from this one up are for `tune`; no board shows their runs, which were selected by their result."""

CHOSEN_BY_METHOD = frozenset(
    {"method", "method_version", "parameters", "privileges", "learning_rate", "weight_decay", "members"}
    | {"recipe_source"}
)
"""The fields that differ between rows of a table: the method, its number of copies, and the values it may choose."""


ADDED_LATER: dict[str, Value | None] = {
    "members": 1,
    "sync_batch_norm": False,
    "unreadable_skipped": 0,
    "recipe_source": None,
    "rounding": "class",
    "features": None,
    "feature_size": None,
    "feature_views": None,
    "feature_components": None,
    "feature_precision": None,
}
"""Fields of RunSpec that came after the first records, each with the value under which a run is the same as before.

A spec is written without them while they have that value, so that a new field changes neither the id of an older run
nor its table. The value is the field's default, for ever.
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
    """Information beyond noisy labels: what the method needs, and the keys of an informed recipe. Sorted.

    "noise_rate" stands for the realised share of wrong labels, "noise_rate=0.2" for a share that the user states, and
    "transition_matrix=HASH" for a matrix from the user's file.
    """
    recipe_source: str | None = None
    """The name of the source whose published recipe it trains by, such as "anl"; None outside the paper protocol."""
    members: int = Field(default=1, ge=1)
    """Independent copies of the method, trained on the same data; the prediction is the mean of theirs."""

    data_set: str
    data_sha256: str
    train_size: int | None = Field(default=None, ge=1)
    imbalance: float | None = Field(default=None, gt=0, le=1)
    image_size: int | None = Field(default=None, ge=1)
    unreadable_skipped: int = Field(default=0, ge=0)
    """Images of a user's own that can't be read, and that the run goes on without."""

    noise: str
    rate: Fraction | None = None
    draw: str = "exact"
    noise_seed: Seed = 0
    rounding: Literal["class", "total"] = "class"
    """Whether exact counts of wrong labels were rounded in each class alone, or so that all classes together have the
    nominal number: the latter where classes are small, see `datasets.noise.apportionment`."""
    noise_sha256: str | None = None
    """Hash of a matrix or label file; None for noise that a name and a rate define."""

    features: str | None = None
    """The frozen backbone whose features are the samples, such as "timm:resnet18"; None: images as they are, or a data
    set of vectors. `bench.spec.features` reads these five fields together."""
    feature_size: int | None = Field(default=None, ge=1)
    """Pixels a side of the images that the backbone takes."""
    feature_views: int | None = Field(default=None, ge=1)
    """Views of each training image, the plain one included."""
    feature_components: int | None = Field(default=None, ge=1)
    """Principal components that stand for the features; None: the features themselves."""
    feature_precision: str | None = None

    model: str
    weights_sha256: str | None = None
    """Hash of the file of weights that the backbone starts from: that of `features` if there is one, else `model`."""
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
    """Batch statistics of the whole batch, if several processes each have a share of it."""

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
        """A copy as pydantic makes it, without the cached id, which `update` may change."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("run_id", None)
        return copied

    def setting(self) -> dict[str, Any]:
        """The fields that the runs of one table share: all but the method, the values that it may choose, and seeds."""
        return self.model_dump(mode="json", exclude=set(CHOSEN_BY_METHOD | SEEDS))

    @property
    def setting_id(self) -> str:
        """16 hex digits that name the setting."""
        return digest(canonical_json(self.setting()))


class Runtime(BaseModel):
    """The way in which a run is carried out. No field changes the result, and none is in the run's id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_source: str
    """The data set as typed, paths included, such as "table:photos/labels.csv"."""
    noise_source: str
    """The noise as typed, paths included, such as "matrix:confusions.csv"."""
    labels_source: str | None = None
    """The file of `--labels`."""
    matrix_source: str | None = None
    """The file of `--transition-matrix`."""
    given_labels: Literal["as given", "training as given"] | None = None
    """Which of the data set's labels nobody has said to be clean (None: none of them); boards then say so."""
    weights_source: str | None = None
    data_root: str | None = None
    download: bool = False
    cache: str | None = None
    device: str = "cpu"
    threads: int = Field(default=1, ge=1)
    images: ImagePlace = "device"
    stream: bool = False
    """Whether image files are decoded when they are asked for, though `images` (of features) are elsewhere."""
    steps: Literal["auto", "eager", "graph", "compiled"] = "auto"
    """The step mode; see `bench.training.step_modes`."""
    gpu_bytes: int | None = Field(default=None, ge=1)
    """Bytes that this process's tensors may take of a GPU that it shares; None: all that are free."""
    plugins: tuple[str, ...] = ()
    plugin_hashes: tuple[str | None, ...] = ()
    """SHA-256 of each plugin's file."""
    checked: bool = False
    """Whether a run fails where a file that it reads isn't the one that it was planned for."""
    checkpoint_seconds: Finite = 5.0
    pause_at: float | None = Field(default=None, gt=0, lt=1)
    """Share of the run's epochs (rounded up) after which it is put aside with its checkpoint and curves. A later call
    continues it."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
