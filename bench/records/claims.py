"""Claims: files by which one process at a time carries out a run, also in a folder that machines share.

Read `take_claim` first, then `is_stale_claim`, which decides that an owner is dead, and `Claim`, whose thread renews
the claim. A claim is a file that an exclusive create makes; it holds its owner as JSON, and its modification time is
the time of the last renewal.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import stat
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.system.files import set_file_aside

LEASE_SECONDS = 60.0
"""A claim that wasn't renewed for so long is free for others, wherever its owner is."""

LOCK = ".claims.lock"

_PROC = Path("/proc")
_seen: dict[Path, tuple[int, float]] = {}
"""Claims that this process has looked at: the time stamp, and when it was first seen by this process's own clock."""


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
    with FileLock(path.parent.parent / LOCK):
        # The stale claim may be gone by now: then create a claim, since a removal could hit that of a third process.
        claim = _create(path, lease)
        if claim is not None:
            return claim
        if is_stale_claim(path, lease):
            if path.is_dir() and not path.is_symlink():
                set_file_aside(path)
            else:
                path.unlink(missing_ok=True)
        return _create(path, lease)


def is_stale_claim(path: Path, lease: float = LEASE_SECONDS) -> bool:
    """Whether a claim is free: no file, an owner on this host that is dead, or a lease that is over.

    A lease is over where the claim is older than it by the clock that stamps files, or where its stamp hasn't moved for
    so long by this process's own clock: a stamp may lie in the future, and no two clocks need to agree for that.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        _seen.pop(path, None)
        return True
    if not stat.S_ISREG(state.st_mode):
        return True  # nothing that a process claims by
    owner = _read_owner(path)
    if owner is not None and owner.get("host") == host_identity() and isinstance(owner.get("pid"), int):
        started = process_start(owner["pid"])
        if started is None or (started and owner.get("started") not in ("", started)):
            return True
    if _seconds_unmoved(path, state.st_mtime_ns) > lease:
        return True
    if 0 <= time.time() - state.st_mtime <= lease:
        return False
    # This host's clock may differ from that of the file server, which is asked only here since it costs a file.
    return _file_server_time(path.parent) - state.st_mtime > lease


def is_expired_claim(path: Path, lease: float = LEASE_SECONDS) -> bool:
    """`is_stale_claim`; a claim that only this process knows to be stale is dated back, so that all others know too."""
    if not is_stale_claim(path, lease):
        return False
    with suppress(OSError):
        if _seconds_unmoved(path, path.stat().st_mtime_ns) > lease:
            from filelock import FileLock

            with FileLock(path.parent.parent / LOCK):
                if is_stale_claim(path, lease):
                    os.utime(path, (0, 0))
    return True


def is_being_written(path: Path) -> bool:
    """Whether another process of this host has a temporary file open, in whose name its id is. False where unknown."""
    found = re.search(r"\.(\d+)(-\d+)?\.tmp$", path.name)
    if found is None or int(found[1]) == os.getpid():
        return False
    with suppress(OSError):
        for handle in (_PROC / found[1] / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if handle.samefile(path):
                    return True
    return False


def describe_holder(path: Path) -> str:
    """Who holds a claim and since when nothing was heard of it, in words; empty where there is no claim."""
    try:
        state = path.stat()
    except OSError:
        return ""
    owner = (_read_owner(path) if stat.S_ISREG(state.st_mode) else None) or {}
    host, pid = str(owner.get("host") or "an unknown host").partition("/")[0], owner.get("pid")
    age = time.time() - state.st_mtime
    seconds = age if age >= 0 else _seconds_unmoved(path, state.st_mtime_ns)
    return f"{host}{f', process {pid}' if pid else ''}, last seen {seconds:.0f} s ago"


def _seconds_unmoved(path: Path, stamp: int) -> float:
    """For how long this process has seen one time stamp on a claim, by its own clock."""
    now = time.monotonic()
    seen, since = _seen.get(path, (None, now))
    if seen != stamp:
        _seen[path] = stamp, now
        return 0.0
    return now - since


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
