"""The catalogue: what every method, data set, noise and model declares, as JSON.

Reading the declarations imports torch (methods and models do), so it is done by another process, once for each
state of the files, and `bench.registry.lookup` keeps what comes out. Nothing here is imported by a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.system.code_version import HOME
from bench.system.errors import UsageError

VERSION = 1
"""Raised whenever the catalogue's shape changes."""

NOT_METHODS = frozenset({"interface", "losses"})
GROUPS = {"methods": "lnl_bench.methods", "data_sets": "lnl_bench.datasets"}
NOUNS = {"methods": "method", "data_sets": "data set", "noises": "noise", "models": "model"}


@dataclass(frozen=True)
class ModuleSource:
    """One module that may declare something. `kind` None: anything (a plugin). `file` is set for plugins."""

    kind: str | None
    module: str
    file: str | None = None
    label: str = ""
    strict: bool = False
    """Whether it is a mistake that it declares nothing."""


def module_sources(plugins: Sequence[str]) -> list[ModuleSource]:
    """Every module that may declare something: files of the packages, entry points, plugins."""
    found = [
        ModuleSource("methods", f"methods.{path.stem}", label=f"methods/{path.name}", strict=True)
        for path in _files("methods")
        if path.stem not in NOT_METHODS
    ]
    found += [
        ModuleSource("data_sets", f"datasets.{path.stem}", label=f"datasets/{path.name}") for path in _files("datasets")
    ]
    found += [
        ModuleSource("noises", f"datasets.noise.{path.stem}", label=f"datasets/noise/{path.name}")
        for path in _files("datasets/noise")
    ]
    for kind, group in GROUPS.items():
        found += [ModuleSource(kind, module, label=label, strict=True) for module, _, label in _entry_points(group)]
    return found + [
        ModuleSource(None, plugin_module(Path(file)), file=file, label=file, strict=True) for file in plugins
    ]


def plugin_module(path: Path) -> str:
    """The module name of a plugin file, the same in every process."""
    return f"lnl_bench_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def catalogue_key(plugins: Sequence[str]) -> str:
    """A hash of all that the catalogue is read from; needs no import of any of it."""
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
    """Import everything and gather the declarations, by kind and name. Raises UsageError naming file and reason."""
    catalogue: dict[str, dict[str, Any]] = {kind: {} for kind in NOUNS}
    for source in module_sources(plugins):
        module = load_module(source.module, source.file, source.label)
        declared = list(_declared(module, source.kind))
        if source.strict and not declared:
            what = NOUNS[source.kind] if source.kind else "method, data set or noise"
            raise UsageError(f"{source.label} declares no {what}: give its class a `name`")
        for kind, cls in declared:
            entry = _declaration(kind, cls, source.label)
            entry |= {"module": source.module, "file": source.file, "class": cls.__name__}
            _add(catalogue[kind], kind, entry, source.label)
    models = importlib.import_module("bench.models").declarations()
    catalogue["models"] = models if isinstance(models, dict) else {entry["name"]: entry for entry in models}
    return {kind: dict(sorted(entries.items())) for kind, entries in catalogue.items()}


def load_module(module: str, file: str | None, label: str) -> ModuleType:
    """Import a module by name, or a plugin by file; whatever goes wrong in it becomes a UsageError."""
    if module in sys.modules:
        return sys.modules[module]
    try:
        if file is None:
            return importlib.import_module(module)
        spec = importlib.util.spec_from_file_location(module, file)
        if spec is None or spec.loader is None:
            raise ImportError("not a Python file")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[module] = loaded
        spec.loader.exec_module(loaded)
    except Exception as error:
        sys.modules.pop(module, None)
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UsageError(f"{label or module} can't be loaded: {line}") from error
    return loaded


def _files(package: str) -> list[Path]:
    return sorted(
        path for path in (HOME / package).glob("*.py") if not path.stem.startswith("_") and path.stem != "interface"
    )


def _entry_points(group: str) -> Iterator[tuple[str, str, str]]:
    """(module, version of its distribution, label) of each entry point of a group."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=group), key=lambda point: point.value):
        distribution = point.dist
        version = distribution.version if distribution is not None else ""
        yield point.module, version, f"entry point {point.name} = {point.value}"


def _origin(module: str) -> list[Path]:
    """The files of a module's top-level package, found without importing it."""
    top = importlib.util.find_spec(module.partition(".")[0])
    if top is None or not top.origin:
        return []
    origin = Path(top.origin)
    return list(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]


def _declared(module: ModuleType, kind: str | None) -> Iterator[tuple[str, type]]:
    """The classes with a name of their own that a module defines, with their kind."""
    from datasets.interface import DataSet
    from datasets.noise import Noise
    from methods.interface import Method

    bases: dict[str, type] = {"methods": Method, "data_sets": DataSet, "noises": Noise}
    for value in list(vars(module).values()):
        if not inspect.isclass(value) or value.__module__ != module.__name__ or "name" not in vars(value):
            continue
        for each, base in bases.items():
            if issubclass(value, base) and kind in (None, each):
                yield each, value


def _declaration(kind: str, cls: Any, label: str) -> dict[str, Any]:
    try:
        if kind == "methods":
            entry = cls.declaration()
        elif kind == "data_sets":
            entry = _data_set(cls)
        else:
            entry = _noise(cls)
        json.dumps(entry, allow_nan=False)
    except Exception as error:
        raise UsageError(f"{label}: {cls.__name__} is not declared in full: {error}") from error
    return dict(entry)


def _common(cls: Any) -> dict[str, Any]:
    return {
        "name": cls.name,
        "aliases": list(getattr(cls, "aliases", ())),
        "summary": cls.summary,
        "source": cls.source,
        "docstring": inspect.cleandoc(cls.__doc__ or ""),
    }


def _data_set(cls: Any) -> dict[str, Any]:
    from datasets.interface import DataError, Options

    entry = _common(cls) | {
        "argument": cls.argument,
        "parameters": [{"name": name, "default": default} for name, default in cls.parameters.items()],
        "description": None,
    }
    if cls.argument is None:
        with contextlib.suppress(DataError):
            entry["description"] = json.loads(json.dumps(asdict(cls(Options()).describe())))
    return entry


def _noise(cls: Any) -> dict[str, Any]:
    return _common(cls) | {"argument": cls.argument, "takes_rate": cls.takes_rate}


def _add(entries: dict[str, Any], kind: str, entry: dict[str, Any], label: str) -> None:
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
