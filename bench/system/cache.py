"""The cache folder, and answers that are stored in it as JSON files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.system.files import open_atomically


def cache_folder() -> Path:
    """The folder of files that can always be made again: LNL_BENCH_CACHE, or the user's cache folder."""
    named = os.environ.get("LNL_BENCH_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("lnl-bench", appauthor=False)


def cached_json(
    kind: str, question: Any, make: Callable[[], Any], newest: int = 256, folder: Path | None = None
) -> Any:
    """The JSON answer to `question`: read from `folder`/`kind` (None: the cache folder), or made and stored there.

    `question` holds as JSON all that the answer depends on, versions of code included. The `newest` files of a kind
    stay. A damaged file counts as missing; a folder that can't be written is no error. What `make` raises is raised.
    """
    text = json.dumps(question, sort_keys=True)
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    path = (cache_folder() if folder is None else folder) / kind / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["question"] == text:
            return stored["answer"]
    content = json.dumps({"question": text, "answer": make()}, allow_nan=False)
    with suppress(OSError):
        with open_atomically(path, fsync=False) as file:
            file.write(content.encode())
        by_age = sorted(path.parent.iterdir(), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for old in by_age[newest:]:
            old.unlink(missing_ok=True)
    # As it will be read the next time: tuples are lists, keys are text.
    return json.loads(content)["answer"]
