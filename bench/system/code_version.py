"""The code that runs: versions of the packages that a result may depend on, and a hash of our sources. No torch."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("lnl-bench", "torch", "numpy", "timm", "torchvision", "scikit-learn")
HOME = Path(__file__).resolve().parents[2]
"""The folder that holds the three packages: a checkout, or where they are installed."""
MODULE = "lnl_bench" if HOME.name == "_packages" else "bench"
"""What `python -m` takes: an installed wheel has no package `bench` of its own (see `lnl_bench`)."""


@functools.cache
def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result may depend on."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


@functools.cache
def source_hash() -> str:
    """A hash of our three packages' Python files: equal for equal code, wherever it is installed."""
    state = hashlib.sha256()
    for package in ("bench", "datasets", "methods"):
        for path in sorted((HOME / package).rglob("*.py")):
            state.update(f"{path.relative_to(HOME).as_posix()}\0".encode())
            state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


@functools.cache
def git_revision() -> tuple[str | None, bool | None]:
    """Git revision of the checkout that this code runs from, and whether it has uncommitted changes; None elsewhere."""
    if not (HOME / ".git").exists():
        return None, None
    try:
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=HOME, capture_output=True, text=True, check=True).stdout.strip()
