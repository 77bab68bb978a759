"""Claims: files by which one process at a time carries out a run, also in a folder that machines share.

Read `take_claim` first, then `is_stale_claim`, which decides that an owner is dead, and `Claim`, whose thread renews
the claim. A claim is a file that an exclusive create makes; it holds its owner as JSON, and its modification time is
the time of the last renewal.
"""

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
"""A claim that wasn't renewed for so long is free for others, wherever its owner is."""

_PROC = Path("/proc")


@cache
def host_identity() -> str:
    """The scope in which process ids are unique: host name, boot and process-id namespace.

    The namespace counts since containers share a host's name.
    """
    parts = [platform.node()]
    with suppress(OSError):
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(str((_PROC / "self/ns/pid").readlink()))
    return "/".join(parts)


def process_start(pid: int) -> str | None:
    """The start time of a process of this host in the kernel's ticks; "" if unknown; None if the process is dead.

    The start time tells an owner from a later process that got the same id. A zombie counts as dead.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it exists, and belongs to another user
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if (_PROC / "self/stat").exists() else ""
    except OSError:
        return ""
    return None if fields[0] in "ZX" else fields[19]


class Claim:
    """A claim that this process holds; as a context manager it is renewed by a thread and given up at the end.

    `lost` becomes true if another process has taken the claim, which happens only if this process was suspended for
    longer than the lease. Then the owner must stop: the other process carries out the run.
    """

    def __init__(self, path: Path, owner: dict[str, Any], lease: float) -> None:
        self.path = path
        self.owner = owner
        self.lease = lease
        self.lost = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claim:
        self._thread = threading.Thread(target=self._renew, name="claim", daemon=True)
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
        """Renew the claim, or set `lost` if it belongs to another process."""
        if not self._is_ours():
            self.lost = True
            return
        with suppress(OSError):
            os.utime(self.path)

    def release(self) -> None:
        """Give the claim up, unless it belongs to another process by now."""
        with suppress(OSError):
            if self._is_ours():
                self.path.unlink()

    def _is_ours(self) -> bool:
        # None: the file can't be read at the moment (a network file system's hiccup), so it still counts as this one's.
        return self.path.exists() and _read_owner(self.path) in (self.owner, None)

    def _renew(self) -> None:
        # Six times a lease: a few renewals may fail, or come late on a busy machine, before others take the claim.
        while not self._ended.wait(self.lease / 6) and not self.lost:
            self.touch()


def take_claim(path: Path, lease: float = LEASE_SECONDS) -> Claim | None:
    """A claim made by creating `path`, or None while another process holds it. A stale claim is taken over.

    Raises OSError if the file can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    claim = _create(path, lease)
    if claim is not None or not is_stale_claim(path, lease):
        return claim
    from filelock import FileLock

    # Two processes may find the same claim stale: without the lock, the slower one would remove the claim that the
    # faster one has just made.
    with FileLock(path.parent.parent / ".claims.lock"):
        # The stale claim may be gone by now: then create a claim, since a removal could hit that of a third process.
        claim = _create(path, lease)
        if claim is not None:
            return claim
        if is_stale_claim(path, lease):
            path.unlink(missing_ok=True)
        return _create(path, lease)


def is_stale_claim(path: Path, lease: float = LEASE_SECONDS) -> bool:
    """Whether a claim is free: no file, an owner on this host that is dead, or a lease that is over."""
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
    # This host's clock may differ from that of the file server, which is asked only here since it costs a file.
    return _file_server_time(path.parent) - touched > lease


def _create(path: Path, lease: float) -> Claim | None:
    """A new claim, or None if `path` exists: an exclusive create succeeds in one process only."""
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
    """The owner that a claim file names; None if the file can't be read, or isn't whole yet."""
    try:
        owner = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def _file_server_time(folder: Path) -> float:
    """The time in seconds by the clock that stamps files in `folder`."""
    probe = folder / f".now.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
