"""What code runs here: versions of what a result may depend on, and a digest of our own sources. Needs no torch."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("lnl-bench", "torch", "numpy", "timm", "torchvision", "scikit-learn")
HOME = Path(__file__).resolve().parent.parent


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def sources() -> str:
    """A hash of our three packages' Python files: equal where the code is, wherever it is installed."""
    state = hashlib.sha256()
    for package in ("bench", "datasets", "methods"):
        for path in sorted((HOME / package).rglob("*.py")):
            state.update(f"{path.relative_to(HOME).as_posix()}\0".encode())
            state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()
