"""Where files lie, what they hash to, and errors that name them: shared by the data sets that are read from disk."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import stat
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Options, Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

NOWHERE = Options(root=Path(os.devnull))
"""Options of a machine that has no data, for what is declared without any."""

LEFT_OVER_SECONDS = 86400.0
"""A temporary file that hasn't changed for so long belongs to nobody."""
HASHED_AT_ONCE = 256
"""Files that one thread reads between two reports of progress."""


def listed(items: Sequence[str], most: int = 10) -> str:
    """At most `most` items, one a line, and how many more there are."""
    lines = [f"  {item}" for item in items[:most]]
    if len(items) > most:
        lines.append(f"  ... and {len(items) - most} more")
    return "\n".join(lines)


def path_bytes(text: str) -> bytes:
    """Text that may hold paths, as bytes for a hash, whatever bytes the paths have."""
    return text.encode(errors="surrogateescape")


def known_as(path: str) -> str:
    """A path as text that can be written: bytes that aren't UTF-8 are spelled out, such as \\xe4."""
    return path_bytes(path).decode(errors="backslashreplace")


def workers() -> int:
    """How many threads reading and decoding may use: the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of `function` on each item, in order, by several threads that run a bounded way ahead."""
    threads = workers()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cache_folder(options: Options) -> Path:
    """Where decoded images and hashes are kept: `options.cache`, LNL_BENCH_CACHE, or the user's cache folder.

    For a user without a home, a folder in the temporary one.
    """
    if options.cache is not None:
        return options.cache
    named = os.environ.get("LNL_BENCH_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    try:
        return user_cache_path("lnl-bench", appauthor=False)
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"lnl-bench-{os.getuid()}"


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when the block ends well; writers at the same time don't meet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _remove_left_over(target: Path) -> None:
    """Remove what writers of `target` left that were killed, once nobody can be writing it any more."""
    for old in target.parent.glob(f".{glob.escape(target.name)}.*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > LEFT_OVER_SECONDS:
                old.unlink()


def states(paths: Sequence[str]) -> tuple[NDArray[np.int64], list[int]]:
    """Size and time of change in ns of each file (N, 2), and the positions of those that aren't regular files.

    Whoever reads files that a user lists asks here first: a pipe or a device may never end.
    """
    found = [_state(path) for path in paths]
    missing = [number for number, state in enumerate(found) if state is None]
    return np.array([state or (-1, -1) for state in found], dtype=np.int64).reshape(-1, 2), missing


def _state(path: str) -> tuple[int, int] | None:
    try:
        state = os.stat(path)  # noqa: PTH116 -- tens of thousands of files: a Path for each costs more than the call
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    return (state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def read_regular_file(path: Path) -> bytes:
    """The whole file. Raises OSError where it can't be read, or is a pipe or a device, which may never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "it isn't a regular file", str(path))
    except ValueError as error:
        raise OSError(errno.ENOENT, f"{error} in its path", str(path)) from None
    return path.read_bytes()


def remembered(options: Options, what: str, known: str, compute: Callable[[], str]) -> str:
    """`compute()`, or what it gave last time for `what` if the fingerprint `known` is still the same.

    What can't be kept (a read-only cache folder, a full disk) is computed again next time.
    """
    name = hashlib.sha256(path_bytes(what)).hexdigest()[:32]
    sidecar = cache_folder(options) / "known" / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(sidecar.read_text(encoding="utf-8"))
        if kept["fingerprint"] == known:
            return str(kept["value"])
    value = compute()
    with suppress(OSError), replacing(sidecar) as stream:
        stream.write(json.dumps({"fingerprint": known, "value": value}).encode())
    return value


def digests(paths: Sequence[str], progress: Progress) -> bytes:
    """SHA-256 of each file's bytes, one after the other (32 N bytes), read by several threads.

    Raises DataError naming every file that can't be read.
    """
    blocks = [paths[start : start + HASHED_AT_ONCE] for start in range(0, len(paths), HASHED_AT_ONCE)]
    found, failed, done = bytearray(), [], 0
    for block, (value, wrong) in zip(blocks, in_order(_digests, blocks), strict=True):
        found += value
        failed += wrong
        done += len(block)
        progress("hashing files", done, len(paths))
    if failed:
        raise DataError(
            f"{len(failed)} of {len(paths)} files can't be read. Check their permissions:\n{listed(failed)}"
        )
    return bytes(found)


def _digests(paths: Sequence[str]) -> tuple[bytes, list[str]]:
    found, failed = bytearray(), []
    for path in paths:
        try:
            with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 -- tens of thousands of files
                found += hashlib.sha256(stream.read()).digest()
        except OSError as error:
            failed.append(f"{path}: {error.strerror}")
    return bytes(found), failed
