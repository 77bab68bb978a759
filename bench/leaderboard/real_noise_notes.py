"""Sentences under a table on labels that nobody knows to be clean, and on a second test set."""

from __future__ import annotations

from collections.abc import Sequence

from bench.leaderboard.measurements import Record, finite_number
from bench.leaderboard.rows import method_call
from bench.leaderboard.settings import Setting, are_tests_as_given, is_noise_unknown
from bench.records.origin import has_clean_tests


def note_labels_as_given(setting: Setting, records: Sequence[Record]) -> str:
    """What it means that nobody has said which labels are right."""
    judged = ""
    if are_tests_as_given(setting, records):
        judged = "Test labels as given: nobody has said that they are right, so accuracy is agreement with them."
    if not is_noise_unknown(setting):
        beneath = any(map(has_clean_tests, records))
        return (
            "The noise was added to training labels as given, an unknown share of which was wrong before: right and "
            "wrong here mean before and after it."
            if beneath
            else judged
        )
    found = _note_verified_labels(records)
    finds = "" if found else "no table says who finds the wrong labels, and "
    unknown = "Labels as given, noise unknown: nobody knows which are wrong"
    return " ".join(filter(None, [f"{unknown}, so {finds}nothing says which were memorised.", found, judged]))


def _note_verified_labels(records: Sequence[Record]) -> str:
    """How many labels people looked at again, by which the table of who finds the wrong ones is made; may be empty."""
    found = [selector for record in records if (selector := record["measures"].get("selector")) is not None]
    found = [selector for selector in found if selector.get("verified")]
    if not found:
        return ""
    counts = [selector["verified"] for selector in found]
    wrong = sum(selector["verified_wrong"] for selector in found) / sum(counts)
    many = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return (
        f"Who finds the wrong labels is said of the {many} training labels that people looked at again ({wrong:.1%} "
        f"{found[0].get('verified_meaning', 'found wrong')})."
    )


def note_second_test(records: Sequence[Record]) -> str:
    """The mean accuracies on a second test set, at the last epoch, best first; empty where there is none."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in records:
        measured, spec = record["measures"].get("second_test") or {}, record["spec"]
        accuracy = finite_number(measured.get("test_accuracy"))
        if accuracy is not None:
            row = method_call(str(spec["method"]), spec.get("parameters", {}))
            about = f"{measured.get('images'):,} images of {measured.get('name')}"
            found.setdefault((about, row), []).append(accuracy)
    if not found:
        return ""
    (about, _), means = next(iter(found)), {row: sum(each) / len(each) for (_, row), each in found.items()}
    ordered = [f"{row} {100 * mean:.1f}" for row, mean in sorted(means.items(), key=lambda item: (-item[1], item[0]))]
    return f"Second test, on {about}, at the last epoch: {', '.join(ordered)}."
