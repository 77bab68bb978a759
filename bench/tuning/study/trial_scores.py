"""What trials are judged by: the criterion of their runs, from records, or from the curves of runs put aside."""

from __future__ import annotations

from bench.records.store import Store
from bench.stats.holdout_choice import CURVES, Objective, count_last_epochs, curve_criterion
from bench.tuning.study.search_strategy import rung_epoch


class TrialScores:
    """The criteria of runs in a store, each read once."""

    def __init__(self, store: Store, objective: Objective) -> None:
        self.store = store
        self.curve = CURVES[objective]
        self._known: dict[tuple[str, float], tuple[int, float | None]] = {}

    def after(self, run_id: str, share: float) -> tuple[int, float | None] | None:
        """(epoch, criterion) of a run after a share of its epochs; None where it hasn't come so far.

        The criterion is the mean of the last epochs up to there (`last_epochs` of the whole run's), None where the run
        has no such accuracy.
        """
        key = (run_id, share)
        if key not in self._known:
            found = self._read(run_id, share)
            if found is None:
                return None
            self._known[key] = found
        return self._known[key]

    def _read(self, run_id: str, share: float) -> tuple[int, float | None] | None:
        kept = self.store.read(run_id)
        if kept is not None:
            total = len(kept["curves"]["epoch"])
        elif share < 1 and (kept := self.store.read_partial(run_id)) is not None:
            total = kept["total_epochs"]
        else:
            return None
        epoch = rung_epoch(share, total)
        curve = kept["curves"].get(self.curve) or []
        if len(kept["curves"]["epoch"]) < epoch:
            return None
        return epoch, curve_criterion(curve[:epoch], count_last_epochs(total))
