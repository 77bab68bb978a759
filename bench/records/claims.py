"""Claims: one process at a time carries out a run, also where several share a folder over a network."""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

LEASE_SECONDS = 60.0
"""A claim that wasn't touched for so long is no longer anybody's, wherever its owner is."""

_PROC = Path("/proc")


@cache
def host_identity() -> str:
    """What process ids are unique in: host name, boot and process-id namespace (containers share host names)."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str((_PROC / "self/ns/pid").readlink()))
    return "/".join(parts)


def process_start(pid: int) -> str | None:
    """When a process of this host started, in the kernel's own count; "" where that can't be told; None: dead.

    With the start, a claim isn't kept up by a stranger that was given the dead owner's id. A zombie is dead.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if (_PROC / "self/stat").exists() else ""
    except OSError:
        return ""
    return None if fields[0] in "ZX" else fields[19]


class Claim:
    """A claim that this process holds; as a context manager it is kept alive by a thread and given up at the end.

    `lost` becomes true if another process has taken it, which happens only when this one stood still for longer
    than the lease: then stop.
    """

    def __init__(self, path: Path, owner: dict[str, Any], lease: float) -> None:
        self.path = path
        self.owner = owner
        self.lease = lease
        self.lost = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claim:
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.release()

    def touch(self) -> None:
        """Say that the owner is alive."""
        if not self._is_ours():
            self.lost = True
            return
        with suppress(OSError):
            os.utime(self.path)

    def release(self) -> None:
        """Give the claim up, unless it is another's by now."""
        with suppress(OSError):
            if self._is_ours():
                self.path.unlink()

    def _is_ours(self) -> bool:
        # A file that can't be read for the moment (a network file system's hiccup) isn't another's.
        return self.path.exists() and _read_owner(self.path) in (self.owner, None)

    def _beat(self) -> None:
        while not self._ended.wait(self.lease / 6) and not self.lost:
            self.touch()


def take_claim(path: Path, lease: float = LEASE_SECONDS) -> Claim | None:
    """Claim by creating `path`, or None while it is somebody's. Raises OSError where it can't be written.

    A stale claim (`is_stale`) is taken over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    claim = _create(path, lease)
    if claim is not None or not is_stale_claim(path, lease):
        return claim
    from filelock import FileLock

    # Two processes that judge the same claim stale: without the lock, the slower one would remove the claim that
    # the faster one has just made.
    with FileLock(path.parent.parent / ".claims.lock"):
        # First, since it may have been given up meanwhile: removing what isn't there could hit the claim of a third.
        claim = _create(path, lease)
        if claim is not None:
            return claim
        if is_stale_claim(path, lease):
            path.unlink(missing_ok=True)
        return _create(path, lease)


def is_stale_claim(path: Path, lease: float = LEASE_SECONDS) -> bool:
    """Whether a claim is nobody's: its owner ran on this host and is dead, or its lease is over. No claim: True."""
    owner = _read_owner(path)
    if owner is not None and owner.get("host") == host_identity() and isinstance(owner.get("pid"), int):
        started = process_start(owner["pid"])
        if started is None or (started and owner.get("started") not in ("", started)):
            return True
    try:
        touched = path.stat().st_mtime
    except FileNotFoundError:
        return True
    if 0 <= time.time() - touched <= lease:
        return False
    # Only now the dearer question: this host's clock may differ from that of the machine that keeps the files.
    return _now(path.parent) - touched > lease


def _create(path: Path, lease: float) -> Claim | None:
    owner = {
        "host": host_identity(),
        "pid": os.getpid(),
        "started": process_start(os.getpid()) or "",
        "time": time.time(),
        "token": secrets.token_hex(8),
    }
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    try:
        os.write(handle, json.dumps(owner).encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return Claim(path, owner, lease)


def _read_owner(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def _now(folder: Path) -> float:
    """The time by the clock that stamps files in `folder`."""
    probe = folder / f".now.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
