"""When, and by which revisions of the code, the runs were trained that a choice rests on."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def revisions(records: Sequence[Record]) -> str:
    """The revisions of the code, such as "0123456789, with uncommitted changes"; "unknown" where no record says one."""
    own = [record.get("provenance") or {} for record in records]
    known = sorted({str(each["git_revision"])[:10] for each in own if each.get("git_revision")})
    changed = " with uncommitted changes" if any(each.get("git_dirty") for each in own) else ""
    return f"{', '.join(known)}{changed}" if known else "unknown"


def last_day(records: Sequence[Record]) -> datetime.date:
    """The day on which the last run ended: the same however often the command is repeated. Today where none says it."""
    days = [str((record.get("provenance") or {}).get("finished") or "")[:10] for record in records]
    return datetime.date.fromisoformat(max(days)) if any(days) else datetime.datetime.now(datetime.UTC).date()
