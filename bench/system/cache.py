"""The cache folder, and answers that are stored in it as JSON files."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.system.console import print_note
from bench.system.errors import UsageError
from bench.system.files import nearest_existing, open_atomically

CACHE = "LNL_BENCH_CACHE"
"""The variable that names the cache folder."""


def cache_folder() -> Path:
    """The folder of files that can always be made again: LNL_BENCH_CACHE, or the user's cache folder.

    A user without a home, or with one that is read-only (as in containers), gets a folder in the temporary one. That
    is said once: LNL_BENCH_CACHE is set to it, for all processes that this one starts. Raises UsageError where that
    folder is another user's.
    """
    named = os.environ.get(CACHE)
    if named:
        with suppress(RuntimeError):  # "~" without a home stays as it is
            return Path(named).expanduser()
        return Path(named)
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("lnl-bench", appauthor=False)
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # neither HOME nor an entry in the system's list of users; older releases return "~"
        return _use_temporary_folder("this user has no home folder")
    existing = nearest_existing(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        return _use_temporary_folder(f"{existing} can't be written")
    return folder


def _use_temporary_folder(why: str) -> Path:
    """Make the user's folder in the temporary one the cache of this process and its children, and say so."""
    user = os.getuid() if hasattr(os, "getuid") else "cache"
    folder = Path(tempfile.gettempdir()) / f"lnl-bench-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        foreign = hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()
    except OSError:
        foreign = True
    if foreign:
        raise UsageError(f"there is no place for a cache: {why}, nor {folder}. Set {CACHE} to a folder of yours")
    os.environ[CACHE] = str(folder)
    print_note(f"note: {why}, so the cache is in {folder}; {CACHE} names another folder")
    return folder


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
