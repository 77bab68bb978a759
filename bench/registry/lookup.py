"""Finds methods, data sets, noises and models by name, without importing torch.

Nothing has to be registered: a method is a file of `methods/`, a data set a file of `datasets/`, a noise a file of
`datasets/noise/`. Other packages add theirs by the entry points `lnl_bench.methods` and `lnl_bench.datasets`, a user by
`--plugin file.py`. Another process reads the declarations once (`bench.registry.catalogue`), and the cache stores them.

Read `find_declaration` first, then `load_method`, `open_data_set` and `open_noise`, which import what they find.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.registry import catalogue
from bench.registry.names import canonical_name, parse_call, parse_number, unknown_parameter
from bench.system.cache import cache_folder, cached_json
from bench.system.code_version import HOME
from bench.system.errors import UsageError

if TYPE_CHECKING:
    from datasets.interface import DataSet, Options
    from datasets.noise import Noise, NoiseFacts
    from methods.interface import Method


Declaration = dict[str, Any]
Declarations = dict[str, Declaration]
LISTINGS = {"method": "methods", "data set": "datasets", "noise": "noises", "model": "models"}
KINDS = {"method": "methods", "data set": "data_sets", "noise": "noises", "model": "models"}
CATALOGUES_STORED = 16
"""Catalogues that stay in the cache folder, the newest."""

_plugins: tuple[str, ...] = ()


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Add files whose declarations are found from now on. Raises UsageError if a file doesn't exist."""
    global _plugins
    files = []
    for path in paths:
        file = Path(path).expanduser().resolve()
        if not file.is_file():
            raise UsageError(f"--plugin {path}: there is no such file")
        files.append(str(file))
    _plugins = tuple(dict.fromkeys([*_plugins, *files]))


def plugins() -> tuple[str, ...]:
    """The plugin files in use, absolute."""
    return _plugins


def methods() -> Declarations:
    """Every method's declaration (`Method.declaration()` and its module), by name, sorted."""
    return _declarations("method")


def data_sets() -> Declarations:
    """Every data set's declaration, by name, sorted. `description` is None if it depends on an argument."""
    return _declarations("data set")


def noises() -> Declarations:
    """Every noise's declaration, by name, sorted."""
    return _declarations("noise")


def models() -> Declarations:
    """Every backbone's declaration, by name, sorted."""
    return _declarations("model")


def find_declaration(kind: str, name: str) -> Declaration:
    """The declaration of a "method", "data set", "noise" or "model" by name or alias.

    Raises UsageError with the nearest names if nothing has the name.
    """
    entries = _declarations(kind)
    return entries[canonical_name(kind, name, entries, LISTINGS[kind])]


def load_method(name: str) -> type[Method]:
    """A method's class (imports torch)."""
    return _load_class(find_declaration("method", name))  # type: ignore[no-any-return]


def open_data_set(text: str, options: Options) -> DataSet:
    """The data set that `text` names: "digits", "synthetic[classes=20]", "table:index.csv".

    Raises UsageError for an unknown name or parameter, a missing argument or one too many.
    """
    name, argument, values = parse_data_set(text)
    data_set: type[DataSet] = _load_class(find_declaration("data set", name))
    return data_set.opened(options, argument, values)


def parse_data_set(text: str) -> tuple[str, str | None, dict[str, float | int | str]]:
    """The name, argument and parameters (in their types) of a data set as typed, checked against its declaration."""
    return _parse("data set", text)


def open_noise(text: str) -> Noise:
    """The noise that `text` names: "asym", "matrix:confusions.csv", "column:worse". Raises UsageError if none."""
    name, argument, values = parse_noise(text)
    cls = _load_class(find_declaration("noise", name))
    given = [argument, values] if values else [argument] if argument is not None else []
    return cls(*given)  # type: ignore[no-any-return]


def open_donor(noise: Noise, options: Options) -> DataSet | None:
    """The data set whose images take the place of some, at the size of the others; None for other noise."""
    if not noise.donor:
        return None
    return open_data_set(noise.donor, replace(options, skip_unreadable=False))


def noise_hash(noise: Noise, facts: NoiseFacts, options: Options) -> str | None:
    """SHA-256 (hex) of what a noise reads besides the data set: its file, or the data set of other images."""
    donor = open_donor(noise, options)
    return noise.source_hash(facts) if donor is None else donor.content_hash()


def parse_noise(text: str) -> tuple[str, str | None, dict[str, float | int | str]]:
    """The name, argument and parameters (in their types) of a noise as typed, checked against its declaration."""
    return _parse("noise", text.strip())


def _parse(kind: str, text: str) -> tuple[str, str | None, dict[str, float | int | str]]:
    # a bracket may hold a folder's name, and that a colon
    before, bracket, after = text.partition("]:") if "[" in text.partition(":")[0] else (text, "", "")
    head, colon, rest = (f"{before}]", ":", after) if bracket else _split_at_colon(text)
    argument: str | None = rest if colon else None
    entry = find_declaration(kind, head.partition("[")[0].strip())
    name, defaults = entry["name"], {parameter["name"]: parameter["default"] for parameter in entry["parameters"]}
    _, typed = parse_call(head, [key for key, default in defaults.items() if isinstance(default, bool)])
    if entry["argument"] is None and argument is not None:
        raise UsageError(f"the {kind} {name} takes nothing after a colon: type {name}")
    optional = entry.get("argument_optional", False)
    if optional and argument == "":
        raise UsageError(f"the {kind} {name} has nothing after its colon: type {name} or {name}:{entry['argument']}")
    if entry["argument"] is not None and not argument and not optional:
        raise UsageError(f"the {kind} {name} needs a {entry['argument']}: type {name}:{entry['argument']}")
    values: dict[str, float | int | str] = {}
    for key, value in typed.items():
        if key not in defaults:
            raise unknown_parameter(f"the {kind} {name}", key, defaults)
        if isinstance(defaults[key], bool):
            if value.casefold() not in ("true", "false"):
                raise UsageError(f"{name}[{key}={value}]: {key} is there or not: type {name}[{key}], or {name}")
            values[key] = value.casefold() == "true"
        elif isinstance(defaults[key], str):
            values[key] = value
        else:
            values[key] = parse_number(name, key, value, whole=isinstance(defaults[key], int))
    return name, argument, values


def _split_at_colon(text: str) -> tuple[str, str, str]:
    """At the first colon that isn't in a bracket of the head: `name[path=c:data]` has none."""
    return (text, "", "") if "[" in text.partition(":")[0] else text.partition(":")


def _load_class(entry: Mapping[str, Any]) -> Any:
    module = catalogue.load_module(entry["module"], entry["file"], entry["label"])
    return getattr(module, entry["class"])


def _declarations(kind: str) -> Declarations:
    return _catalogue(_plugins, cache_folder())[KINDS[kind]]


@lru_cache(maxsize=4)
def _catalogue(files: tuple[str, ...], cache: Path) -> dict[str, Declarations]:
    try:
        key = catalogue.catalogue_key(files)
    except OSError as error:
        raise UsageError(f"{error.filename} can't be read: {error.strerror}") from error
    return dict(cached_json("catalogue", key, lambda: _build(files), CATALOGUES_STORED, cache))


def _build(files: Sequence[str]) -> dict[str, Declarations]:
    """All declarations, read by another process: it imports torch, which this one must do without."""
    sys.stderr.write("Reading the declarations of all methods (once for each change of them) ...\n")
    program = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
        "from bench.registry.catalogue import main; main(sys.argv[2:])"
    )
    with tempfile.TemporaryDirectory(prefix="lnl-bench-") as folder:
        target = Path(folder) / "catalogue.json"
        command = [sys.executable, "-c", program, json.dumps([str(HOME), *sys.path])]
        finished = subprocess.run([*command, str(target), *files], capture_output=True, text=True, check=False)
        try:
            answer = json.loads(target.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            last = (finished.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UsageError(f"the declarations of the methods can't be read: {last}") from None
    if "error" in answer:
        raise UsageError(answer["error"])
    return dict(answer["catalogue"])
