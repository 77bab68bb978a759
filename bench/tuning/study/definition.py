"""What is tuned: one method under one noise on one data set, its space, and the seeds of either stage. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import __version__
from bench.planning import plan
from bench.planning.facts import Facts
from bench.planning.plan import LeftOut
from bench.planning.request import Request
from bench.planning.resolve_run import Refused, replicate_seeds, resolve_run
from bench.spec import HOLD_OUT, RESERVED_SEEDS, SEEDS, RunSpec
from bench.stats.holdout_choice import Objective, count_last_epochs, count_needed_splits
from bench.system.errors import UsageError
from bench.tuning.study.search_space import NothingToSearch, SearchSpace, Values, apply_values, build_search_space
from bench.tuning.study.search_strategy import BRACKETS, FACTOR, TURNS

SEARCH_SEEDS = RESERVED_SEEDS + 100_000
"""Where the seeds of the first stage begin, and those of the second; neither is ever reported on."""
FINAL_SEEDS = RESERVED_SEEDS + 200_000
MOST_SPLITS = 1000
ADVICE = f"Type --hold-out {HOLD_OUT:g}"


@dataclass(frozen=True)
class StudyCase:
    """One study: `base` holds the method's own values, with the first search seed."""

    name: str
    method: str
    base: RunSpec
    space: SearchSpace
    search_seeds: tuple[Mapping[str, int], ...]
    final_seeds: tuple[Mapping[str, int], ...]
    held_out: int
    objective: Objective
    study_seed: int

    @property
    def labels(self) -> int:
        """Held-out labels that a criterion rests on, all splits together."""
        return self.held_out * len(self.search_seeds)

    @property
    def last_epochs(self) -> int:
        """Over how many of the last epochs a criterion is the mean."""
        return count_last_epochs(self.base.epochs)

    @property
    def own(self) -> Values:
        """The values that the method has without tuning."""
        return self.space.own(self.base)

    def search_runs(self, values: Values) -> tuple[RunSpec, ...]:
        """The runs of a trial, one a split."""
        return self._runs(values, self.search_seeds)

    def final_runs(self, values: Values) -> tuple[RunSpec, ...]:
        """The runs of a finalist, on fresh seeds."""
        return self._runs(values, self.final_seeds)

    def _runs(self, values: Values, seeds: tuple[Mapping[str, int], ...]) -> tuple[RunSpec, ...]:
        spec = apply_values(self.base, values)
        return tuple(spec.model_copy(update=dict(each)) for each in seeds)

    def definition(self) -> dict[str, Any]:
        """All that makes values of two trials comparable: what a study may not change on the way."""
        return {
            "lnl-bench": __version__,
            "objective": self.objective,
            "space": self.space.declaration(),
            "splits": [each["seed"] for each in self.search_seeds],
            "study seed": self.study_seed,
            "pruning": {"factor": FACTOR, "brackets": [list(each) for each in BRACKETS], "turns": list(TURNS)},
            "runs": self.base.model_dump(mode="json", exclude=set(SEEDS)),
        }


def plan_studies(
    request: Request, facts: Facts, also: tuple[str, ...], objective: Objective, study_seed: int, prefix: str | None
) -> tuple[list[StudyCase], list[LeftOut]]:
    """The studies that a request asks for, and what is left out. Raises UsageError where nothing can be tuned."""
    found: dict[str, StudyCase] = {}
    left_out: dict[LeftOut, None] = {}
    facts, _ = plan.recipes_in_force(request, facts)
    held_out = count_held_out_labels(request, facts.samples)
    splits = count_needed_splits(held_out)
    if splits > MOST_SPLITS:
        raise UsageError(
            f"a hold-out of {held_out} labels is too small to choose by: {splits} splits would be needed. "
            "Type a larger --hold-out or --train-size"
        )
    for noise, rate in plan.noise_settings(request, facts):
        for asked in facts.requested:
            method, outright = asked.selected.name, asked.selected.outright
            try:
                base = resolve_run(request, facts, asked, noise, rate)
                space = build_search_space(asked.declaration, asked.values, base, also)
            except (Refused, NothingToSearch) as refused:
                if outright:
                    raise UsageError(f"{method} can't be tuned here: {refused}. Or leave it out of --methods") from None
                left_out[LeftOut(method, str(refused), noise.name, rate)] = None
                continue
            name = study_name(base, prefix)
            if name in found:
                raise UsageError(f"--methods names {method} twice: each is tuned once. Leave one, or type two commands")
            found[name] = StudyCase(
                name=name,
                method=method,
                base=base,
                space=space,
                search_seeds=_replicates(request, SEARCH_SEEDS, splits),
                final_seeds=_replicates(request, FINAL_SEEDS, splits),
                held_out=held_out,
                objective=objective,
                study_seed=study_seed,
            )
    if not found:
        raise UsageError("none of the methods can be tuned here. Add --with lr,weight_decay, or name others")
    return list(found.values()), list(left_out)


def study_name(base: RunSpec, prefix: str | None) -> str:
    """The name of a method's study, such as "gce/digits/sym-0.4"."""
    noise = base.noise if base.rate is None else f"{base.noise}-{base.rate:g}"
    return "/".join(([prefix] if prefix else []) + [base.method, base.data_set, noise])


def count_held_out_labels(request: Request, samples: int) -> int:
    """Held-out labels of one split of a training set of `samples`. Raises UsageError where there are none."""
    if request.protocol == "paper" and request.hold_out is None:
        raise UsageError(f"--protocol paper holds nothing out, and tune chooses by a hold-out. {ADVICE}")
    share = HOLD_OUT if request.hold_out is None else request.hold_out
    held_out = math.floor(share * samples + 0.5)
    if held_out < 1:
        raise UsageError(f"--hold-out {share:g} holds nothing out, and tune chooses by a hold-out. {ADVICE}")
    return held_out


def _replicates(request: Request, first: int, count: int) -> tuple[Mapping[str, int], ...]:
    return tuple(replicate_seeds(request, seed) for seed in range(first, first + count))
