"""Footprints that were measured before, kept in the cache."""

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

SIDECAR_VERSION = 1


def estimate_footprint(spec: RunSpec, sizes: DataSizes, device: str) -> Footprint:
    """The memory that a run is going to take on `device`, from the cache or measured on shapes alone."""

    def rehearse() -> dict[str, int]:
        from bench.memory.rehearsal import measure_footprint

        return asdict(measure_footprint(spec, sizes, device))

    return Footprint(**cached_json("footprints", _question(spec, sizes, device), rehearse, newest=1024))


TAKING = frozenset(
    {
        "method",
        "parameters",
        "members",
        "model",
        "batch_size",
        "optimizer",
        "momentum",
        "precision",
        "augmentation",
        "strong_augmentation",
        "hold_out",
        "train_size",
        "image_size",
    }
)
"""Fields of a spec that memory depends on, beside the sizes of the data."""


def memory_kind(spec: RunSpec) -> Mapping[str, Any]:
    """What of a spec its memory depends on: equal kinds take equal memory."""
    return spec.model_dump(mode="json", include=set(TAKING))


def _question(spec: RunSpec, sizes: DataSizes, device: str) -> dict[str, Any]:
    about = {"version": SIDECAR_VERSION, "code": catalogue_key(registry.plugins()), "torch": version("torch")}
    return {**about, **memory_kind(spec), **asdict(sizes), "device": device.partition(":")[0]}
