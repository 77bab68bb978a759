"""The storage of studies: a journal file in the output folder, or a database that several machines share.

`check_storage_address` refuses what can't work before anything runs; `open_storage` opens it, and makes what is
missing.
"""

from __future__ import annotations

import importlib.util
import re
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bench.system.errors import UsageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy.engine import URL

FOLDER = "tuning"
"""Folder of the journal and the claims, in the output folder."""
JOURNAL = "studies.journal"
SCHEMES = ("sqlite", "postgresql")
SECONDS_TO_CONNECT = 10
SECONDS_FOR_A_LOCK = 60
ATTEMPTS = 10
"""How often a database is opened while another process creates its tables."""
SECRET = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)
"""Names of an address's options whose values nobody else should read."""
DRIVER = "psycopg"
"""PostgreSQL's driver where the address names none."""


def describe_storage(address: str | None, out: Path) -> str:
    """The name of a storage in messages: its address without the password, or the journal's path."""
    if address is None:
        return str(out / FOLDER / JOURNAL)
    url = _read_address(address)
    if url is None or _has_bare_at(address):
        return address.rpartition("@")[2].partition("?")[0]
    secret = {name: "***" for name in url.query if SECRET.search(name)}
    return url.update_query_dict(secret).render_as_string(hide_password=True)


def _has_bare_at(address: str) -> bool:
    """Whether there is more than one @ before the database's name, so that nobody knows where a password ends."""
    return address.partition("://")[2].partition("?")[0].rpartition("/")[0].count("@") > 1


def _read_address(address: str) -> URL | None:
    """The parts of an address; None where it can't be read."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(address)
    except (ArgumentError, ValueError):
        return None


def check_storage_address(address: str | None) -> None:
    """Raise UsageError for an unknown kind of storage, an unreadable address or a missing driver. Connects nowhere."""
    if address is None:
        return
    scheme = address.partition(":")[0].partition("+")[0]
    name = f"--storage {describe_storage(address, Path())}"
    if scheme not in SCHEMES or "://" not in address:
        raise UsageError(
            f"{name}: type sqlite:///FILE or postgresql://USER@HOST/DATABASE, "
            "or leave it out: studies are then kept in a file in the output folder"
        )
    if _has_bare_at(address):
        raise UsageError(f"{name}: there is more than one @ in it. Type a @ of a password as %40, a / as %2F")
    if _read_address(address) is None:
        raise UsageError(f"{name} can't be read. Type sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    if address.partition(":")[0] == "postgresql" and importlib.util.find_spec(DRIVER) is None:
        raise UsageError("--storage postgresql://... needs a driver. Type: pip install 'lnl-bench[postgresql]'")


def open_storage(address: str | None, out: Path, lease: float) -> BaseStorage:
    """The storage at an address, or the journal in the output folder `out`; created where it is missing.

    In a database a trial without a heartbeat for `lease` seconds belongs to no process. Raises UsageError where the
    storage can't be reached or read.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # The warning is for ask and tell without heartbeats; `OptunaStudy` records them itself.
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used")
    return _open_journal(out) if address is None else _open_database(address, lease)


def _open_journal(out: Path) -> BaseStorage:
    from bench.tuning.study.journal import open_journal

    path = out / FOLDER / JOURNAL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open_journal(path, out)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}. Give another --out") from None


def _open_database(address: str, lease: float) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import IntegrityError, SQLAlchemyError

    url = make_url(address)
    postgresql = url.drivername.startswith("postgresql")
    if url.drivername == "postgresql":
        url = url.set(drivername=f"postgresql+{DRIVER}")
    timeouts = {"connect_timeout": SECONDS_TO_CONNECT} if postgresql else {"timeout": SECONDS_FOR_A_LOCK}
    interval = max(1, int(lease / 3))
    reason: Exception
    for attempt in range(ATTEMPTS):
        try:
            return RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": timeouts, "pool_pre_ping": postgresql},
                heartbeat_interval=interval,
                grace_period=max(interval + 1, int(lease)),
            )
        except (SQLAlchemyError, ImportError, RuntimeError) as error:
            reason = error
            if not (isinstance(error, IntegrityError) or "already exists" in str(error)):
                break
            # Another process is creating the tables at the same time: they exist at the next attempt.
            time.sleep(0.2 * (attempt + 1))
    text = " ".join(str(getattr(reason, "orig", None) or reason).split()) or type(reason).__name__
    for secret in (url.password, *(value for key, value in url.query.items() if SECRET.search(key))):
        text = text.replace(str(secret), "***") if secret else text
    raise UsageError(
        f"--storage {describe_storage(address, Path())} can't be used: {text[:300]}. "
        "Start or mend it, or leave --storage out: studies are then kept in a file in the output folder"
    )
