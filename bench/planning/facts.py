"""Facts: everything that planning knows of data, noise and hardware. `gather_facts` collects them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.planning.recipe_choice import SourcedRecipes
from bench.registry.names import SelectedMethod
from bench.spec import ImagePlace

if TYPE_CHECKING:
    from bench.planning.frozen_features import PlannedFeatures
    from bench.planning.starting_weights import StartingWeights
    from datasets.interface import Protocol
    from datasets.samples import VectorShape


Unsuitable = Callable[[str, Mapping[str, Any], Mapping[str, Any]], str | None]
"""Called as unsuitable(method, parameters, fields of methods.interface.Setting): None, or why it can't run."""


@dataclass(frozen=True)
class ResolvedMethod:
    """One requested method: how it was selected, its declaration, and the typed parameters in their types."""

    selected: SelectedMethod
    declaration: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedNoise:
    """One requested noise: its name as typed and as recorded, and what it can give to methods."""

    typed: str
    name: str
    takes_rate: bool
    gives_matrix: bool
    sha256: str | None = None
    is_known: bool = True
    """False where nobody knows which labels are wrong."""
    notes: tuple[str, ...] = ()
    rounded_in_total: frozenset[float | None] = frozenset()
    """The rates at which `RunSpec.rounding` is "total"."""


@dataclass(frozen=True)
class Facts:
    """Facts of one request."""

    methods: Mapping[str, Mapping[str, Any]]
    """Declarations of all methods."""
    requested: tuple[ResolvedMethod, ...]
    """The methods of the request."""
    data_set: str
    """The data set's name as recorded."""
    data_sha256: str
    protocol: Protocol
    classes: int
    samples: int
    """Training images after the draw."""
    image_shape: tuple[int, int, int]
    """Height, width, channels."""
    noises: tuple[PlannedNoise, ...]
    precision: str
    """The resolved precision, never "auto"; `device` as well."""
    device: str
    cores: int
    smallest: Mapping[str, int]
    """The least image side, in pixels, that each model takes."""
    unsuitable: Unsuitable
    processes: int = 1
    """Processes that train each run together."""
    grid: SourcedRecipes | None = None
    """The shared protocol's grid: the file that `--recipes` names, or the project's own for this data set."""
    study: SourcedRecipes | None = None
    """A file of studies that `--recipes` names."""
    images: ImagePlace = "device"
    """Where each run keeps its images; `images_why` is the reason."""
    images_why: str = ""
    unreadable_skipped: int = 0
    """Images of the user's own that can't be read and that the request goes on without."""
    data_notes: tuple[str, ...] = ()
    """Sentences on what was left out or guessed where a user's own data was listed."""
    given_labels: str | None = None
    """Which of the data set's labels nobody has said to be clean: `bench.records.origin.LABELS` has the values."""
    matrix_sha256: str | None = None
    """Hash of the file of `--transition-matrix`."""
    vectors: VectorShape | None = None
    """What the samples are where they aren't images."""
    for_vectors: frozenset[str] = frozenset()
    """The models that take samples that are vectors."""
    weights: StartingWeights | None = None
    """The weights that networks, or the backbone of frozen features, start from."""
    features: PlannedFeatures | None = None
    """Frozen features that are in the place of images."""
    start: Mapping[str, Any] = field(default_factory=dict)
    """The spec's fields that weights and features set."""
    stream: bool = False
    """Whether images are decoded when they are asked for, also where runs train on features of them."""
    stored: tuple[int, int] = (0, 0)
    """Training and test images of the data set before the draw."""
