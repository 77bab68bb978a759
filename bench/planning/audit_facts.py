"""Whether a data set's test labels were audited, and the audit is of these test images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.planning.request import Request
from bench.system import cache
from bench.system.errors import UsageError

if TYPE_CHECKING:
    from datasets.interface import DataSet

AUDITED = "mnist, cifar10 and cifar100"


def check_audit(request: Request, data_set: DataSet, sha256: str) -> None:
    """Raise an error where audited test labels are asked for and can't be had: UsageError, or DataError of the data.

    The test labels are compared with the audit's once for each state of the data.
    """
    if request.test_labels != "audited":
        return
    audit = data_set.audit
    if audit is None:
        raise UsageError(
            f"--test-labels audited: nobody has audited the test labels of {request.dataset}. Those of {AUDITED} have "
            "been; leave the option out"
        )

    def compare() -> int:
        from datasets.audited import audited_labels

        return audited_labels(audit, data_set.load(0).test.labels, request.dataset).corrected

    cache.cached_json("audits", [audit, sha256], compare)
