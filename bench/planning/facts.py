"""Facts that planning is given: data, noise, machine. `gather_facts` finds them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.planning.recipe_choice import SourcedRecipes
from bench.spec import Where

if TYPE_CHECKING:
    from datasets.interface import Protocol


Unsuitable = Callable[[str, Mapping[str, Any], Mapping[str, Any]], str | None]
"""Asked as unsuitable(method, parameters, fields of methods.interface.Setting): None, or why it can't run."""


@dataclass(frozen=True)
class PlannedNoise:
    """One noise asked for: as typed, as recorded, and what it can hand over."""

    typed: str
    name: str
    takes_rate: bool
    gives_matrix: bool
    sha256: str | None = None


@dataclass(frozen=True)
class Facts:
    """What planning must know of data, noise and machine.

    `data_set` is the name as recorded, `samples` the training images after the draw, `precision` and `device` what
    "auto" means here. `methods` are the registry's declarations, `smallest` the least image side that a model takes,
    `processes` how many train each run together. `grid` is the file of the shared protocol's grid (the project's own
    for this data set, or the one that `--recipes` names), `study` a file of studies that `--recipes` names. `images`
    is where each run keeps its images, and `images_why` why there; `stored` are the (training, test) images of the
    whole data set.
    """

    methods: Mapping[str, Mapping[str, Any]]
    data_set: str
    data_sha256: str
    protocol: Protocol
    classes: int
    samples: int
    image_shape: tuple[int, int, int]
    noises: tuple[PlannedNoise, ...]
    precision: str
    device: str
    cores: int
    smallest: Mapping[str, int]
    unsuitable: Unsuitable
    processes: int = 1
    grid: SourcedRecipes | None = None
    study: SourcedRecipes | None = None
    images: Where = "device"
    images_why: str = ""
    stored: tuple[int, int] = (0, 0)
