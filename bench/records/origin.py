"""Says so where a store's records come from other states of the code than the one that will add to them."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.system.code_version import git_revision

REVISIONS_NAMED = 3


def note_other_revisions(records: Iterable[Mapping[str, Any]], out: str) -> str | None:
    """A note on the records that another revision of the code wrote; None where there are none.

    They count all the same: what changes an answer changes a run's identity (a method's version, the identity version),
    so equal ids stand for equal training. The note is for whom this rule may have been broken by, which is whoever
    changed the code.
    """
    head, dirty = git_revision()
    counts = Counter(record["provenance"].get("git_revision") for record in records)
    counts.pop(None, None)
    others = [(name, count) for name, count in counts.most_common() if name != head]
    if head is None or not others:
        return None
    named = ", ".join(f"{str(name)[:10]} ({count})" for name, count in others[:REVISIONS_NAMED])
    more = f" and {len(others) - REVISIONS_NAMED} more" if len(others) > REVISIONS_NAMED else ""
    here = f"{head[:10]}{' with changes' if dirty else ''}"
    total = sum(count for _, count in others)
    return (
        f"note: {total} of these runs are in {out} already by other revisions of the code: {named}{more}; this is "
        f"{here}. They are kept, since equal run ids mean equal training; --when always trains them anew, another "
        "--out keeps revisions apart"
    )


Record = Mapping[str, Any]


def training_revisions(records: Sequence[Record]) -> str:
    """The revisions of the code, such as "0123456789, with uncommitted changes"; "unknown" where no record says one."""
    own = [record.get("provenance") or {} for record in records]
    known = sorted({str(each["git_revision"])[:10] for each in own if each.get("git_revision")})
    changed = " with uncommitted changes" if any(each.get("git_dirty") for each in own) else ""
    return f"{', '.join(known)}{changed}" if known else "unknown"


def last_training_day(records: Sequence[Record]) -> datetime.date:
    """The day on which the last run ended: the same however often the command is repeated. Today where none says it."""
    days = [str((record.get("provenance") or {}).get("finished") or "")[:10] for record in records]
    return datetime.date.fromisoformat(max(days)) if any(days) else datetime.datetime.now(datetime.UTC).date()
