"""What a choice came to, seen afterwards: on the test set, and beside the choice that clean labels would have made.

Nothing is chosen by any of it. It answers what people ask of tuning under noise: what did it buy, and how much is lost
by looking at noisy labels? Regret compares settings that were run again on fresh seeds; whether noisy labels let the
right ones that far is told by which of all trials clean labels put first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.leaderboard.choose import RULES, accuracy
from bench.leaderboard.stats import Summary, summarise
from bench.spec import RunSpec
from bench.store import Store
from bench.tuning.case import Case
from bench.tuning.choice import Score, choose_among, of_record, score
from bench.tuning.space import Values
from bench.tuning.stages import Tuned


@dataclass(frozen=True)
class Hindsight:
    """Differences of test accuracy at the last epoch, shares of 1, paired over the fresh seeds."""

    clean: tuple[Score | None, ...]
    """Each finalist's accuracy on the hold-outs' clean labels."""
    clean_choice: int
    """The finalist that the same rule chooses by them."""
    bought: Summary | None
    """Chosen - own values; None where the own ones couldn't be trained."""
    regret: Summary
    """The clean labels' choice - chosen."""
    trials: int
    """Trials that completed on every search seed, with clean labels known."""
    clean_first: int | None
    """The slot of the one among them with the highest accuracy on the hold-outs' clean labels; None without any."""


def hindsight(tuned: Tuned, store: Store, completed: Mapping[int, Values]) -> Hindsight | None:
    """What is known afterwards; None where nothing was chosen, or where clean labels aren't known.

    `completed`: the values of the trials that completed, by slot.
    """
    if tuned.decision is None:
        return None
    case = tuned.case
    clean: list[Score | None] = []
    tests: list[list[float] | None] = []
    for each in tuned.finalists:
        records = _records(each.specs, store)
        held_out = None if each.score is None else _clean(records, case)
        clean.append(held_out)
        tested = _known([accuracy(record, RULES["last"]) for record in records])
        tests.append(None if held_out is None else tested)
    own = next((number for number, each in enumerate(tuned.finalists) if each.slot == 0), None)
    decision = choose_among(clean, own)
    chosen = tests[tuned.decision.chosen]
    if decision is None or chosen is None or (best := tests[decision.chosen]) is None:
        return None
    mine = None if own is None else tests[own]
    searched = {
        slot: _clean(_records(case.search_runs(values), store), case) for slot, values in sorted(completed.items())
    }
    right = {slot: found.mean for slot, found in searched.items() if found is not None}
    return Hindsight(
        clean=tuple(clean),
        clean_choice=decision.chosen,
        bought=None if mine is None else _over(chosen, mine),
        regret=_over(best, chosen),
        trials=len(right),
        clean_first=max(right, key=lambda slot: (right[slot], -slot), default=None),
    )


def _records(specs: Sequence[RunSpec], store: Store) -> Sequence[Mapping[str, Any]]:
    """The records of a setting's runs; none where one is missing."""
    found = [store.read(spec.run_id) for spec in specs]
    known = [record for record in found if record is not None]
    return known if len(known) == len(specs) else []


def _clean(records: Sequence[Mapping[str, Any]], case: Case) -> Score | None:
    """A setting's accuracy on the hold-outs' clean labels."""
    known = _known([of_record(record, case.last_epochs, "clean-val") for record in records])
    return None if known is None else score(known, case.labels)


def _known(values: Sequence[float | None]) -> list[float] | None:
    """The values, if there are any and none is missing."""
    known = [value for value in values if value is not None]
    return known if known and len(known) == len(values) else None


def _over(these: list[float], those: list[float]) -> Summary:
    return summarise([round(this - that, 12) for this, that in zip(these, those, strict=True)])
