"""The sampler of a study: Optuna's TPE, fresh for each slot and seeded by (study seed, slot)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from bench.spec import Value
from bench.tuning.study.trial_slots import trial_slot


class SlotSampler(BaseSampler):
    """A TPE sampler for each slot; slot 0 gets `first`, a point of the search space.

    One seeded TPE would repeat its first draws after every restart; with one for each slot, a study suggests what it
    would have suggested without the restart. `first` isn't enqueued: two processes that start a study at the same time
    would both enqueue it.
    """

    def __init__(self, seed: int, first: Mapping[str, Value]) -> None:
        self._seed, self._first, self._slot = seed, first, 0
        self._tpe = TPESampler(seed=0)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Create the slot's sampler."""
        self._slot = trial_slot(trial.number, study.get_trials(deepcopy=False))
        digest = hashlib.sha256(f"{self._seed}/slot/{self._slot}".encode()).digest()
        self._tpe = TPESampler(seed=int.from_bytes(digest[:4], "little"))
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """TPE's; empty for slot 0."""
        return self._tpe.infer_relative_search_space(study, trial) if self._slot else {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        """TPE's suggestion."""
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The first values in slot 0; else TPE's, which draws at random until it has trials to learn from."""
        if not self._slot:
            return self._first[param_name]
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Nothing: the sampler keeps no state between trials."""
