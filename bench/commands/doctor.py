"""`doctor`: what this machine and installation have."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench import __version__, machine, registry, show
from bench.commands.output import write_json, write_page
from bench.errors import UsageError

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scipy", "scikit-learn", "pydantic", "cyclopts", "rich")


def doctor_command(form: str) -> int:
    """Print device, precision, threads, folders and versions; exit code 1 where something is missing."""
    found = examine()
    if form == "json":
        write_json(found)
    else:
        write_page(show.pairs({name.replace("_", " "): show.text(value) for name, value in found.items()}))
    return 1 if found["problems"] else 0


def examine() -> dict[str, Any]:
    """What there is, by name; `problems` lists what would keep a run from working."""
    device = machine.resolve_device("auto")
    problems: list[str] = []
    counts: dict[str, int] = {}
    try:
        kinds = (registry.methods, registry.data_sets, registry.noises, registry.models)
        counts = {kind.__name__: len(kind()) for kind in kinds}
    except UsageError as error:
        problems.append(str(error))
    versions = {"lnl-bench": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            problems.append(f"{package} is not installed: pip install {package}")
    return {
        "device": device,
        "precision": machine.resolve_precision("auto", device, "auto"),
        "cores": machine.cores(),
        "cache": str(registry.cache_folder()),
        "found": counts,
        "versions": versions,
        "problems": problems,
    }
