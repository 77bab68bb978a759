"""Which state of the code this is. Needs no torch."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path


@functools.cache
def revision() -> tuple[str | None, bool | None]:
    """Git revision of the checkout that this code runs from, and whether it has uncommitted changes; None elsewhere."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None, None
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head.stdout.strip(), bool(status.stdout.strip())
