"""What code runs here: versions of what a result may depend on, and a digest of our own sources. Needs no torch."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("lnl-bench", "torch", "numpy", "timm", "torchvision", "scikit-learn")
HOME = Path(__file__).resolve().parents[2]
"""The folder that holds the three packages: a checkout, or where they are installed."""


@functools.cache
def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def source_hash() -> str:
    """A hash of our three packages' Python files: equal where the code is, wherever it is installed."""
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
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HOME, capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=HOME,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head.stdout.strip(), bool(status.stdout.strip())
