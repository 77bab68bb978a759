"""RunSpec, its identity, and the names that a spec may hold."""

from bench.spec.run_spec import (
    ADDED_LATER,
    CHOSEN_BY_METHOD,
    HOLD_OUT,
    IDENTITY_VERSION,
    RESERVED_SEEDS,
    SEEDS,
    SHARED_GRID,
    SHARED_LR,
    Finite,
    Fraction,
    ImagePlace,
    RunSpec,
    Runtime,
    Seed,
    Value,
    canonical_json,
)

__all__ = [
    "ADDED_LATER",
    "CHOSEN_BY_METHOD",
    "HOLD_OUT",
    "IDENTITY_VERSION",
    "RESERVED_SEEDS",
    "SEEDS",
    "SHARED_GRID",
    "SHARED_LR",
    "Finite",
    "Fraction",
    "ImagePlace",
    "RunSpec",
    "Runtime",
    "Seed",
    "Value",
    "canonical_json",
]
