"""Connecting to a Ray cluster, or starting one on this machine; either ends within a time limit.

Read `connect_to_ray` first. Ray itself waits without limit where an address doesn't answer, so it is tried
beforehand: by a plain connection, then by Ray in a process of its own.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import sys
from importlib.util import find_spec
from subprocess import DEVNULL
from types import ModuleType
from typing import Any

from bench.system import hardware
from bench.system.code_version import MODULE
from bench.system.errors import UsageError

SECONDS_TO_ANSWER = 5.0
"""How long an address may take to accept a connection."""
SECONDS_TO_CONNECT = 60.0
"""How long a cluster may take to let a driver in."""
OBJECT_STORE_BYTES = 100_000_000
"""The object store of a cluster that is started here: only specs and events pass through it."""

_TRY = "import sys, ray, logging; ray.init(address=sys.argv[1], logging_level=logging.ERROR, log_to_driver=False)"
_ELSEWHERE = "Leave --ray-address out to use this machine alone"


def check_installed() -> None:
    """Raise UsageError where Ray isn't installed; doesn't import it."""
    if find_spec("ray") is None:
        raise UsageError("--executor ray: Ray isn't installed. Type: pip install 'lnl-bench[ray]'")


def import_ray() -> ModuleType:
    """The module of Ray, without its usage reports. Raises UsageError where Ray isn't installed."""
    check_installed()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without this variable Ray warns that it will stop hiding GPUs from runs that requested none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    module: ModuleType = ray
    return module


def starts_own_cluster(typed: str | None) -> bool:
    """Whether a cluster of this machine alone is started, since neither option nor environment names one."""
    return (typed or os.environ.get("RAY_ADDRESS") or "local") == "local"


def require_token() -> None:
    """Let nobody but its own processes, which inherit a random token, into the cluster that is started next.

    Ray's servers listen on every address of the machine, and whoever they let in may run any code. What the user has
    set of Ray's authentication stays.
    """
    if os.environ.keys() & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def connect_to_ray(typed: str | None, gpus: int = 0) -> None:
    """Connect this process to a cluster, or to one of this machine alone that is started for it and ends with it.

    `typed` is "auto" (the cluster that runs on this machine) or HOST:PORT; None takes the variable RAY_ADDRESS, and
    without it starts a cluster with so many GPUs. Raises UsageError where none can be reached.
    """
    if starts_own_cluster(typed):
        require_token()  # before Ray is imported, which reads these variables once
    ray = import_ray()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if MODULE != "bench":  # a node's processes find our packages as this one does
        quiet["runtime_env"] = {"worker_process_setup_hook": f"{MODULE}.add_to_path"}
    if starts_own_cluster(typed):
        quiet |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        ray.init(address="local", num_cpus=hardware.count_cores(), num_gpus=gpus, **quiet)
        return
    address = typed or os.environ["RAY_ADDRESS"]
    source = f"--ray-address {address}" if typed else f"RAY_ADDRESS={address}"
    _check_port(source, address)
    _try_connecting(source, address)
    ray.init(address=address, **quiet)


def _check_port(source: str, address: str) -> None:
    """Raise UsageError where the address is malformed, or no process listens there."""
    if address == "auto":
        return
    if "://" in address:
        raise UsageError(
            f"{source}: Ray's client protocol isn't supported. Type the command on a machine of the cluster, with "
            "--ray-address auto"
        )
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{source}: must be auto or HOST:PORT, such as 10.0.0.1:6379. {_ELSEWHERE}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise UsageError(
            f"{source}: no cluster answers there ({why}). `ray start --head` starts one and prints its address. "
            f"{_ELSEWHERE}"
        ) from None


def _try_connecting(source: str, address: str) -> None:
    """Raise UsageError where a driver can't connect.

    Another process tries it, which can be killed: at an address that answers but isn't a cluster's, Ray waits for ever
    in C++ code.
    """
    command = [sys.executable, "-c", _TRY, address]
    try:
        completed = subprocess.run(
            command, stdin=DEVNULL, capture_output=True, text=True, timeout=SECONDS_TO_CONNECT, check=False
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{source}: what answers there let nobody in for {SECONDS_TO_CONNECT:.0f} s; is it a Ray cluster's address?"
            " `ray status` says so on its machines"
        ) from None
    if completed.returncode == 0:
        return
    text = completed.stderr
    if "Could not find any running Ray instance" in text:
        raise UsageError(f"{source}: no cluster runs on this machine. `ray start --head` starts one. {_ELSEWHERE}")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "Version mismatch" in text:
        start = next(number for number, line in enumerate(lines) if "Version mismatch" in line)
        lines = [" ".join(lines[start:])]
    reason = lines[-1] if lines else f"exit code {completed.returncode}"
    raise UsageError(f"{source}: can't connect: {reason[:500]}")
