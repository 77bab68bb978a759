"""The catalogue: the declarations of all methods, data sets, noises and models, as JSON.

Read `build_catalogue` first, then `module_sources` (the modules that may declare something) and `catalogue_key`.
Methods and models import torch, so another process builds the catalogue (`main`), once for each state of the files, and
`bench.registry.lookup` caches it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.system.code_version import HOME
from bench.system.errors import UsageError
from bench.system.own_code import find_own_line
from bench.system.text import join_words

VERSION = 3
"""Raised whenever the catalogue's shape changes."""

FOLDERS = {"methods": "methods", "data_sets": "datasets", "noises": "datasets/noise"}
NOT_DECLARING = frozenset({"interface", "losses"})
GROUPS = {"methods": "lnl_bench.methods", "data_sets": "lnl_bench.datasets"}
NOUNS = {"methods": "method", "data_sets": "data set", "noises": "noise", "models": "model"}


@dataclass(frozen=True)
class ModuleSource:
    """A module that may declare something of a kind (None: of any, a plugin). `file` is set for plugins."""

    kind: str | None
    module: str
    file: str | None = None
    label: str = ""
    strict: bool = False
    """Whether a module without a declaration is a mistake."""


def module_sources(plugins: Sequence[str]) -> list[ModuleSource]:
    """Every module that may declare something: files of the packages, entry points, plugins."""
    sources = []
    for kind, folder in FOLDERS.items():
        for path in sorted((HOME / folder).glob("*.py")):
            if not path.stem.startswith("_") and path.stem not in NOT_DECLARING:
                module, label = f"{folder.replace('/', '.')}.{path.stem}", f"{folder}/{path.name}"
                sources.append(ModuleSource(kind, module, label=label, strict=kind == "methods"))
    for kind, group in GROUPS.items():
        sources += [ModuleSource(kind, module, label=label, strict=True) for module, _, label in _entry_points(group)]
    plugin_sources = [(plugin_module(Path(file)), file) for file in plugins]
    return sources + [ModuleSource(None, module, file, label=file, strict=True) for module, file in plugin_sources]


def plugin_module(path: Path) -> str:
    """The module name of a plugin file, the same in every process."""
    return f"lnl_bench_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def catalogue_key(plugins: Sequence[str]) -> str:
    """A hash of all files that the catalogue is read from, without importing any of them."""
    state = hashlib.sha256(f"{VERSION} {sys.version_info[:2]} {HOME}".encode())
    watched = [Path(__file__), *(HOME / "bench/models").rglob("*.py")]
    watched += [path for package in ("methods", "datasets") for path in (HOME / package).rglob("*.py")]
    watched += [Path(file) for file in plugins]
    for group in GROUPS.values():
        for module, version, label in _entry_points(group):
            state.update(f"{module} {version} {label}".encode())
            watched += _origin(module)
    for path in sorted(watched):
        state.update(str(path).encode() + b"\0")
        state.update(path.read_bytes() + b"\0")
    return state.hexdigest()[:32]


def build_catalogue(plugins: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The declarations by kind and name, from importing everything. Raises UsageError with file and reason."""
    catalogue: dict[str, dict[str, Any]] = {kind: {} for kind in NOUNS}
    for source in module_sources(plugins):
        module = load_module(source.module, source.file, source.label)
        declared = list(_declaring_classes(module, source.kind))
        if source.strict and not declared:
            what = NOUNS[source.kind] if source.kind else "method, data set or noise"
            raise UsageError(f"{source.label} declares no {what}: give its class a `name`")
        for kind, cls in declared:
            entry = _read_declaration(kind, cls, source.label)
            entry |= {"module": source.module, "file": source.file, "class": cls.__name__}
            _add_entry(catalogue[kind], kind, entry, source.label)
    models = importlib.import_module("bench.models").declarations()
    catalogue["models"] = models if isinstance(models, dict) else {entry["name"]: entry for entry in models}
    return {kind: dict(sorted(entries.items())) for kind, entries in catalogue.items()}


def load_module(module: str, file: str | None, label: str) -> ModuleType:
    """The module of this name, or of a plugin's file. Any error of the import becomes a UsageError."""
    if module in sys.modules:
        return sys.modules[module]
    try:
        if file is None:
            return importlib.import_module(module)
        spec = importlib.util.spec_from_file_location(module, file)
        if spec is None or spec.loader is None:
            raise ImportError("not a Python file")
        loaded = importlib.util.module_from_spec(spec)
        # Before it runs, as import does: dataclasses and pickle look their module up by its name.
        sys.modules[module] = loaded
        spec.loader.exec_module(loaded)
    except Exception as error:
        sys.modules.pop(module, None)
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        place = find_own_line(
            error, [] if file is None else [file], own_packages(), (HOME / "methods", HOME / "datasets")
        )
        where = "" if place is None or isinstance(error, SyntaxError) else f" ({place})"
        raise UsageError(f"{label or module} can't be loaded: {line}{where}") from error
    return loaded


def own_packages() -> list[Path]:
    """The files and folders of other packages that declare methods or data sets by entry points."""
    modules = {module for group in GROUPS.values() for module, _, _ in _entry_points(group)}
    origins = [_find_top(module) for module in sorted(modules)]
    return [origin.parent if origin.name == "__init__.py" else origin for origin in origins if origin is not None]


def _entry_points(group: str) -> Iterator[tuple[str, str, str]]:
    """(module, version of its distribution, label) of each entry point of a group."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=group), key=lambda point: point.value):
        distribution = point.dist
        version = distribution.version if distribution is not None else ""
        yield point.module, version, f"entry point {point.name} = {point.value}"


def _origin(module: str) -> list[Path]:
    """The files of a module's top-level package, found without importing it."""
    origin = _find_top(module)
    if origin is None:
        return []
    return list(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def _find_top(module: str) -> Path | None:
    """The file of a module's top-level package, found without importing it."""
    top = importlib.util.find_spec(module.partition(".")[0])
    return None if top is None or not top.origin else Path(top.origin)


def _declaring_classes(module: ModuleType, kind: str | None) -> Iterator[tuple[str, type]]:
    """(kind, class) of each class of a module that states a `name` itself, rather than inheriting one."""
    from datasets.interface import DataSet
    from datasets.noise import Noise
    from methods.interface import Method

    bases: dict[str, type] = {"methods": Method, "data_sets": DataSet, "noises": Noise}
    for value in list(vars(module).values()):
        if not inspect.isclass(value) or value.__module__ != module.__name__ or "name" not in vars(value):
            continue
        for base_kind, base in bases.items():
            if issubclass(value, base) and kind in (None, base_kind):
                yield base_kind, value


def _read_declaration(kind: str, cls: Any, label: str) -> dict[str, Any]:
    """A class's declaration as JSON-able values. Raises UsageError where it isn't complete."""
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise UsageError(f"{label}: {cls.__name__} is not declared in full: it lacks {join_words(missing)}")
    try:
        if kind == "methods":
            entry = cls.declaration()
        elif kind == "data_sets":
            entry = _data_set_declaration(cls)
        else:
            entry = _noise_declaration(cls)
        json.dumps(entry, allow_nan=False)
    except Exception as error:
        raise UsageError(f"{label}: {cls.__name__} is not declared in full: {error}") from error
    return dict(entry)


def _shared_fields(cls: Any) -> dict[str, Any]:
    return {
        "name": cls.name,
        "aliases": list(getattr(cls, "aliases", ())),
        "summary": cls.summary,
        "source": cls.source,
        "docstring": inspect.cleandoc(cls.__doc__ or ""),
    }


def _noise_declaration(cls: Any) -> dict[str, Any]:
    return _shared_fields(cls) | {
        "argument": cls.argument,
        "argument_optional": cls.argument_optional,
        "parameters": [
            {"name": name, "default": default, "choices": list(cls.choices.get(name, ()))}
            for name, default in cls.parameters.items()
        ],
        "takes_rate": cls.takes_rate,
        "is_adversary": cls.is_adversary,
    }


def _data_set_declaration(cls: Any) -> dict[str, Any]:
    from datasets.files import NOWHERE
    from datasets.interface import DataError

    entry = _shared_fields(cls) | {
        "argument": cls.argument,
        "parameters": [
            {"name": name, "default": default, "recorded": name not in cls.unrecorded}
            for name, default in cls.parameters.items()
        ],
        "homepage": cls.homepage,
        "access": cls.access,
        "truth": cls.truth,
        "layout": inspect.cleandoc(cls.layout),
        "description": None,
    }
    if cls.argument is None:
        with contextlib.suppress(DataError):
            described = replace(cls(NOWHERE).describe(), columns=(), unused_columns=(), column_files=())
            entry["description"] = json.loads(json.dumps(asdict(described)))
    return entry


def _add_entry(entries: dict[str, Any], kind: str, entry: dict[str, Any], label: str) -> None:
    """Add a declaration to `entries`. Raises UsageError if another one has its name or an alias of it."""
    for name in [entry["name"], *entry["aliases"]]:
        for other in entries.values():
            if name == other["name"] or name in other["aliases"]:
                raise UsageError(
                    f"the {NOUNS[kind]} name {name!r} is declared by {other['label']} and by {label}: rename one"
                )
    entries[entry["name"]] = entry | {"label": label}


def main(arguments: Sequence[str]) -> None:
    """Write the catalogue, or the reason why there is none, to the file named first; plugins follow."""
    target, *plugins = arguments
    try:
        answer: dict[str, Any] = {"catalogue": build_catalogue(plugins)}
    except UsageError as error:
        answer = {"error": str(error)}
    Path(target).write_text(json.dumps(answer, allow_nan=False), encoding="utf-8")
