"""The scores of trials: the criterion of a run, read from its record or from the curves of a paused run."""

from __future__ import annotations

from bench.records.store import Store
from bench.stats.holdout_choice import CURVES, Objective, count_last_epochs, curve_criterion
from bench.tuning.study.pruning import rung_epoch


class TrialScores:
    """The criteria of runs in a store, each read from disk once."""

    def __init__(self, store: Store, objective: Objective) -> None:
        self.store = store
        self.curve = CURVES[objective]
        self._read_before: dict[tuple[str, float], tuple[int, float | None]] = {}

    def after(self, run_id: str, share: float) -> tuple[int, float | None] | None:
        """(epoch, criterion) of a run after a share of its epochs; None where it hasn't trained so far.

        The criterion is the mean over the last epochs up to there, as many as `count_last_epochs` says for the whole
        run; None where the run has no such accuracy.
        """
        key = (run_id, share)
        if key not in self._read_before and (result := self._read(run_id, share)) is not None:
            self._read_before[key] = result
        return self._read_before.get(key)

    def _read(self, run_id: str, share: float) -> tuple[int, float | None] | None:
        document = self.store.read(run_id)
        if document is not None:
            total = len(document["curves"]["epoch"])
        elif share < 1 and (document := self.store.read_partial(run_id)) is not None:
            total = document["total_epochs"]
        else:
            return None
        epoch = rung_epoch(share, total)
        if len(document["curves"]["epoch"]) < epoch:
            return None
        curve = document["curves"].get(self.curve) or []
        return epoch, curve_criterion(curve[:epoch], count_last_epochs(total))
