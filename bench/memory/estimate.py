"""The estimated memory of a run, from the cache or from a rehearsal on shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from bench import registry
from bench.memory.footprint import DataSizes, Footprint
from bench.registry.catalogue import catalogue_key
from bench.spec import RunSpec
from bench.system.cache import cached_json

ESTIMATE_VERSION = 2
"""Raised whenever the same rehearsal would give other numbers."""
FOOTPRINTS_STORED = 1024
METHOD_FIELDS = ("method", "parameters", "members", "model", "batch_size", "optimizer", "momentum", "precision")
IMAGE_FIELDS = ("augmentation", "strong_augmentation", "hold_out", "train_size", "image_size")
MEMORY_FIELDS = frozenset((*METHOD_FIELDS, *IMAGE_FIELDS))
"""Fields of a spec that memory depends on, beside the sizes of the data."""


def memory_kind(spec: RunSpec) -> Mapping[str, Any]:
    """The part of a spec that its memory depends on: runs of equal kind and data take equal memory."""
    return spec.model_dump(mode="json", include=set(MEMORY_FIELDS))


def estimate_footprint(spec: RunSpec, sizes: DataSizes, device: str) -> Footprint:
    """The memory that a run is going to take on `device`."""

    def rehearse() -> dict[str, int]:
        # Here, since it imports torch, which a cached answer doesn't need.
        from bench.memory.rehearsal import measure_footprint

        return asdict(measure_footprint(spec, sizes, device))

    code = {"version": ESTIMATE_VERSION, "code": catalogue_key(registry.plugins()), "torch": version("torch")}
    question = {**code, **memory_kind(spec), **asdict(sizes), "device": device.partition(":")[0]}
    return Footprint(**cached_json("footprints", question, rehearse, FOOTPRINTS_STORED))
