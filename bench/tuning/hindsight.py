"""What a choice came to, seen afterwards: on the test set, and beside the choice that clean labels would have made.

Nothing is chosen by any of it. It answers what people ask of tuning under noise: what did it buy, and how much is lost
by looking at noisy labels? Only settings that were run again on fresh seeds can be compared; one that the noisy labels
never let that far isn't seen here.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.leaderboard.choose import RULES, accuracy
from bench.leaderboard.stats import Summary, summarise
from bench.store import Store
from bench.tuning.choice import Score, choose_among, of_record, score
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


def hindsight(tuned: Tuned, store: Store) -> Hindsight | None:
    """What is known afterwards; None where nothing was chosen, or where clean labels aren't known."""
    if tuned.decision is None:
        return None
    case = tuned.case
    clean: list[Score | None] = []
    tests: list[list[float] | None] = []
    for each in tuned.finalists:
        records = [record for spec in each.specs if (record := store.read(spec.run_id)) is not None]
        held_out = [of_record(record, case.last_epochs, "clean-val") for record in records]
        tested = [accuracy(record, RULES["last"]) for record in records]
        known = [value for value in held_out if value is not None]
        whole = each.score is not None and len(known) == len(each.specs)
        clean.append(score(known, case.labels) if whole else None)
        right = [value for value in tested if value is not None]
        tests.append(right if whole and len(right) == len(each.specs) else None)
    own = next((number for number, each in enumerate(tuned.finalists) if each.slot == 0), None)
    decision = choose_among(clean, own)
    chosen = tests[tuned.decision.chosen]
    if decision is None or chosen is None or (best := tests[decision.chosen]) is None:
        return None
    mine = None if own is None else tests[own]
    return Hindsight(
        clean=tuple(clean),
        clean_choice=decision.chosen,
        bought=None if mine is None else _over(chosen, mine),
        regret=_over(best, chosen),
    )


def _over(these: list[float], those: list[float]) -> Summary:
    return summarise([round(this - that, 12) for this, that in zip(these, those, strict=True)])
