"""The origin of records: the code that wrote them, its revisions as people read them, and what their labels are."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.system.code_version import git_revision
from bench.system.text import list_first

Record = Mapping[str, Any]

REVISIONS_NAMED = 3
LABELS, AS_GIVEN, TRAINING_AS_GIVEN = "labels", "as given", "training as given"
"""The entry of a record's provenance that says that nobody has stated its data set's labels to be clean, and its
values: of all labels, or of the training labels alone, where people have looked at the test labels."""


def short_revision(revision: object, changed: object = False) -> str:
    """The first ten digits of a revision, followed by " with changes" where the checkout had uncommitted ones."""
    return f"{str(revision)[:10]}{' with changes' if changed else ''}"


def record_revisions(records: Iterable[Record]) -> list[str]:
    """The revisions of the code that wrote `records`, short and sorted; records that state none don't count."""
    revisions = {(record.get("provenance") or {}).get("git_revision") for record in records}
    return sorted({short_revision(revision) for revision in revisions if revision})


def training_revisions(records: Sequence[Record]) -> str:
    """The revisions in words, such as "0123456789 with uncommitted changes"; "unknown" where no record states one."""
    changed = any((record.get("provenance") or {}).get("git_dirty") for record in records)
    named = ", ".join(record_revisions(records))
    return f"{named}{' with uncommitted changes' if changed else ''}" if named else "unknown"


def has_labels_as_given(record: Record) -> bool:
    """Whether a run was judged by labels that nobody has stated to be clean. Older records say nothing of that."""
    return (record.get("provenance") or {}).get(LABELS) == AS_GIVEN


def has_clean_tests(record: Record) -> bool:
    """Whether a run on labels as given was judged by labels that people have looked at."""
    return (record.get("provenance") or {}).get(LABELS) == TRAINING_AS_GIVEN


def last_training_day(records: Sequence[Record]) -> datetime.date:
    """The day on which the last run ended: the same however often the command is repeated. Today if none states it."""
    days = [str((record.get("provenance") or {}).get("finished") or "")[:10] for record in records]
    return datetime.date.fromisoformat(max(days)) if any(days) else datetime.datetime.now(datetime.UTC).date()


def note_other_revisions(records: Iterable[Record], out: str) -> str | None:
    """A note on the records that another revision of the code wrote; None where there are none.

    These records count all the same: a change of the code that changes an answer must raise a version in the runs'
    identity, so equal ids stand for equal training. The note is for the people who change code and may have forgotten.
    """
    head, changed = git_revision()
    counts = Counter(record["provenance"].get("git_revision") for record in records)
    others = [(revision, count) for revision, count in counts.most_common() if revision not in (None, head)]
    if head is None or not others:
        return None
    named = list_first([f"{short_revision(revision)} ({count})" for revision, count in others], REVISIONS_NAMED)
    total = sum(count for _, count in others)
    return (
        f"note: {total} of these runs are in {out} already by other revisions of the code: {named}; this is "
        f"{short_revision(head, changed)}. They are kept, since equal run ids mean equal training; --when always "
        "trains them anew, another --out keeps revisions apart"
    )
