"""The cache folder and the JSON files in it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Where the harness keeps what it can always make again."""
    named = os.environ.get("LNL_BENCH_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("lnl-bench", appauthor=False)


def write_cached(path: Path, value: Mapping[str, Any], most: int) -> None:
    """Keep JSON in the cache, and the newest `most` files beside it: whole, or not at all in a read-only folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(value, file, allow_nan=False)
        Path(name).replace(path)
        ages = sorted(path.parent.glob("*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in ages[most:]:
            old.unlink(missing_ok=True)
    except OSError:
        pass  # looked up again next time
