"""Find methods, data sets, noises and models by name."""

from bench.registry.lookup import (
    KINDS,
    LISTINGS,
    Declaration,
    Declarations,
    data_sets,
    find_declaration,
    load_method,
    load_plugins,
    methods,
    models,
    noises,
    open_data_set,
    open_noise,
    parse_data_set,
    parse_noise,
    plugins,
)

__all__ = [
    "KINDS",
    "LISTINGS",
    "Declaration",
    "Declarations",
    "data_sets",
    "find_declaration",
    "load_method",
    "load_plugins",
    "methods",
    "models",
    "noises",
    "open_data_set",
    "open_noise",
    "parse_data_set",
    "parse_noise",
    "plugins",
]
