"""Says so where a store's records come from other states of the code than the one that will add to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from bench.revision import revision

REVISIONS_NAMED = 3


def other_revisions(records: Iterable[Mapping[str, Any]], out: str) -> str | None:
    """A note on the records that another revision of the code wrote; None where there are none.

    They count all the same: what changes an answer changes a run's identity (a method's version, the identity version),
    so equal ids stand for equal training. The note is for whom this rule may have been broken by, which is whoever
    changed the code.
    """
    head, dirty = revision()
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
