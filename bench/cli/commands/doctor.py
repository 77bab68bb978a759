"""`doctor`: device, precision, memory, folders and versions of this machine and installation."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench import __version__, registry
from bench.memory import job_limits
from bench.planning import image_placement
from bench.system import cache, hardware, memory_limits
from bench.system.console import write_json, write_page
from bench.system.errors import UsageError
from bench.system.text import format_bytes

MANY_RUNS = 1_000
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scipy", "scikit-learn", "pydantic", "cyclopts", "rich")


def doctor_command(form: str) -> int:
    """Print device, precision, threads, folders and versions; exit code 1 where something is missing."""
    machine = examine_machine()
    if form == "json":
        write_json(machine)
    else:
        from bench.cli.pages import pairs_table

        write_page(pairs_table(describe_machine(machine)))
    return 1 if machine["problems"] else 0


def describe_machine(machine: Mapping[str, Any]) -> dict[str, str]:
    """The values of `examine_machine` as text: bytes as GiB, a line for each fast path and each GPU."""
    from bench.cli.pages import format_cell

    words: dict[str, str] = {}
    for name, value in machine.items():
        label = name.replace("_", " ")
        if name == "fast_paths":
            words |= dict(value)
        elif name.endswith("_bytes"):
            words[label.removesuffix(" bytes")] = "unknown" if value is None else format_bytes(value)
        elif name == "cards":
            for gpu in value:
                free, total = format_bytes(gpu["free_bytes"]), format_bytes(gpu["total_bytes"])
                words[gpu["device"]] = f"{gpu['name']}, {free} of {total} free"
        else:
            words[label] = format_cell(value)
    return words


def examine_machine() -> dict[str, Any]:
    """Device, precision, cores, memory, folders and versions by name; `problems` lists what would stop a run."""
    device = hardware.resolve_device("auto")
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
    precision = hardware.resolve_precision("auto", device, "auto")
    jobs, threads = hardware.share_cores(hardware.count_cores(), MANY_RUNS, device, None)
    memory = memory_limits.read_memory()
    return {
        "device": device,
        "processor": hardware.cpu_name(),
        "precision": precision,
        "cores": hardware.count_cores(),
        "jobs": jobs,
        "threads_per_job": threads,
        "memory_available_bytes": None if memory is None else memory[0],
        "memory_total_bytes": None if memory is None else memory[1],
        "digits_runs_that_fit_at_least": job_limits.least_jobs("digits", device),
        "cards": hardware.list_gpus() if device.startswith("cuda") else [],
        "images": image_placement.describe_placement(device),
        "fast_paths": hardware.describe_fast_paths(device, precision),
        "cache": str(cache.cache_folder()),
        "found": counts,
        "versions": versions,
        "problems": problems,
    }
