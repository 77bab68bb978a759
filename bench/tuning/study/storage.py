"""Where studies are kept: a journal file in the output folder, or a database that several machines share."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bench.system.errors import UsageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


FOLDER = "tuning"
"""In the output folder: journal and claims."""
JOURNAL = "studies.journal"
SCHEMES = ("sqlite", "postgresql")
SECONDS_TO_CONNECT = 10
SECONDS_FOR_A_LOCK = 60
ATTEMPTS = 10
DRIVER = "psycopg"
"""PostgreSQL's driver where the address names none."""


def describe_storage(address: str | None, out: Path) -> str:
    """A storage as messages name it: without its password."""
    if address is None:
        return str(out / FOLDER / JOURNAL)
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(address).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return address.rpartition("@")[2]


def check_storage_address(address: str | None) -> None:
    """Raise UsageError for a storage of a kind that we don't know, or whose driver is missing. Connects nowhere."""
    if address is None:
        return
    scheme = address.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES or "://" not in address:
        raise UsageError(
            f"--storage {describe_storage(address, Path())}: type sqlite:///FILE or postgresql://USER@HOST/DATABASE, "
            "or leave it out: studies are then kept in a file in the output folder"
        )
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(address)
    except (ArgumentError, ValueError):
        raise UsageError(
            f"--storage {describe_storage(address, Path())} can't be read. Type sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        ) from None
    if scheme == "postgresql" and "+" not in address.partition(":")[0]:
        import importlib.util

        if importlib.util.find_spec(DRIVER) is None:
            raise UsageError("--storage postgresql://... needs a driver. Type: pip install 'lnl-bench[postgresql]'")


def open_storage(address: str | None, out: Path, lease: float) -> BaseStorage:
    """The storage at an address, or the journal in the output folder, made where it is missing.

    A database's trials have heartbeats: one that is silent for `lease` seconds is nobody's. Raises UsageError where it
    can't be reached or read.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # ask and tell keep up heartbeats as well as optimize() does, where the caller sees to it
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used")
    return _journal(out) if address is None else _database(address, lease)


def _journal(out: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = out / FOLDER / JOURNAL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}. Give another --out") from None
    except (json.JSONDecodeError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} is damaged: {error}. Move it aside: what was trained stays in {out}, and costs nothing again"
        ) from None


def _database(address: str, lease: float) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import IntegrityError, SQLAlchemyError

    url = make_url(address)
    postgresql = url.drivername.startswith("postgresql")
    if url.drivername == "postgresql":
        url = url.set(drivername=f"postgresql+{DRIVER}")
    patience = {"connect_timeout": SECONDS_TO_CONNECT} if postgresql else {"timeout": SECONDS_FOR_A_LOCK}
    beat = max(1, int(lease / 3))
    reason: Exception
    for attempt in range(ATTEMPTS):
        try:
            return RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs={"connect_args": patience, "pool_pre_ping": postgresql},
                heartbeat_interval=beat,
                grace_period=max(beat + 1, int(lease)),
            )
        except (SQLAlchemyError, ImportError, RuntimeError) as error:
            reason = error
            if not (isinstance(error, IntegrityError) or "already exists" in str(error)):
                break
            time.sleep(0.2 * (attempt + 1))  # another process is making the tables: they are there next time
    said = " ".join(str(getattr(reason, "orig", None) or reason).split()) or type(reason).__name__
    if url.password:
        said = said.replace(str(url.password), "***")
    raise UsageError(
        f"--storage {url.render_as_string(hide_password=True)} can't be used: {said[:300]}. "
        "Start or mend it, or leave --storage out: studies are then kept in a file in the output folder"
    )
