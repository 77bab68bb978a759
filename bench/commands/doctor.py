"""`doctor`: what this machine and installation have."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench import __version__, machine, placement, registry, room, show
from bench.commands.output import write_json, write_page
from bench.errors import UsageError
from bench.memory import bytes_in_words

MANY_RUNS = 1_000
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scipy", "scikit-learn", "pydantic", "cyclopts", "rich")


def doctor_command(form: str) -> int:
    """Print device, precision, threads, folders and versions; exit code 1 where something is missing."""
    found = examine()
    if form == "json":
        write_json(found)
    else:
        write_page(show.pairs(in_words(found)))
    return 1 if found["problems"] else 0


def in_words(found: dict[str, Any]) -> dict[str, str]:
    """What was found as a person reads it: bytes as GiB, a fast path a line."""
    words: dict[str, str] = {}
    for name, value in found.items():
        label = name.replace("_", " ")
        if name == "fast_paths":
            words |= dict(value)
        elif name.endswith("_bytes"):
            words[label.removesuffix(" bytes")] = "unknown" if value is None else bytes_in_words(value)
        elif name == "cards":
            words |= {
                card["device"]: f"{card['name']}, {bytes_in_words(card['free_bytes'])} of "
                f"{bytes_in_words(card['total_bytes'])} free"
                for card in value
            }
        else:
            words[label] = show.text(value)
    return words


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
    precision = machine.resolve_precision("auto", device, "auto")
    jobs, threads = machine.share(machine.cores(), MANY_RUNS, device, None)
    memory = machine.memory()
    return {
        "device": device,
        "processor": machine.processor(),
        "precision": precision,
        "cores": machine.cores(),
        "jobs": jobs,
        "threads_per_job": threads,
        "memory_available_bytes": None if memory is None else memory[0],
        "memory_total_bytes": None if memory is None else memory[1],
        "digits_runs_that_fit_at_least": room.at_least("digits", device),
        "cards": machine.cards() if device.startswith("cuda") else [],
        "images": placement.in_words(device),
        "fast_paths": machine.fast_paths(device, precision),
        "cache": str(registry.cache_folder()),
        "found": counts,
        "versions": versions,
        "problems": problems,
    }
