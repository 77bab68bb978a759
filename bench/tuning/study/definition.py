"""The definition of a study: one method under one noise on one data set, its search space and its seeds. Pure.

Read first `plan_studies`, which makes the definitions that a request asks for. A study stores `as_stored()`, and goes
on only under an equal definition; `definition_differences` words what differs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import __version__
from bench.planning import plan
from bench.planning.facts import Facts
from bench.planning.plan import LeftOut
from bench.planning.request import Request
from bench.planning.resolve_run import Refused, replicate_seeds, resolve_run
from bench.spec import HOLD_OUT, RESERVED_SEEDS, SEEDS, RunSpec
from bench.stats.holdout_choice import ENOUGH_HELD_OUT, Objective, count_last_epochs, count_needed_splits
from bench.system.errors import UsageError
from bench.tuning.request import TuneRequest
from bench.tuning.study.pruning import BRACKETS, FACTOR, TURNS
from bench.tuning.study.search_space import NothingToSearch, SearchSpace, Values, apply_values, build_search_space

SEARCH_SEEDS = RESERVED_SEEDS + 100_000
"""First seed of the search's runs. Neither these nor the finalists' seeds are ever reported on."""
FINAL_SEEDS = RESERVED_SEEDS + 200_000
MOST_SPLITS = 1000
TIMES_HELD_OUT = 2
"""How often a study holds each training label out at most, on average: more splits would ask the same labels again."""
ADVICE = f"Type --hold-out {HOLD_OUT:g}"


@dataclass(frozen=True)
class StudyDefinition:
    """One study. `base` is a run with the method's default values and the first search seed."""

    name: str
    base: RunSpec
    space: SearchSpace
    search_seeds: tuple[Mapping[str, int], ...]
    final_seeds: tuple[Mapping[str, int], ...]
    held_out: int
    """Held-out labels of one split."""
    objective: Objective
    study_seed: int

    @property
    def labels(self) -> int:
        """Held-out labels of all splits together, which a criterion rests on."""
        return self.held_out * len(self.search_seeds)

    @property
    def last_epochs(self) -> int:
        """Last epochs that a criterion is the mean of."""
        return count_last_epochs(self.base.epochs)

    @property
    def default_values(self) -> Values:
        """The values that the method has without tuning."""
        return self.space.values_in(self.base)

    def search_runs(self, values: Values) -> tuple[RunSpec, ...]:
        """The runs of a trial, one for each split."""
        return self.runs_on(self.search_seeds, values)

    def runs_on(self, seeds: Sequence[Mapping[str, int]], values: Values) -> tuple[RunSpec, ...]:
        """The runs of some values on `search_seeds`, or on the fresh `final_seeds`, one for each split."""
        spec = apply_values(self.base, values)
        return tuple(spec.model_copy(update=dict(split)) for split in seeds)

    def as_stored(self) -> dict[str, Any]:
        """The definition as JSON gives it back: all that must be equal for the values of two trials to compare."""
        definition = {
            "lnl-bench": __version__,
            "objective": self.objective,
            "space": self.space.declaration(),
            "splits": [split["seed"] for split in self.search_seeds],
            "study seed": self.study_seed,
            "pruning": {"factor": FACTOR, "brackets": BRACKETS, "turns": TURNS},
            "runs": self.base.model_dump(mode="json", exclude=set(SEEDS)),
        }
        stored: dict[str, Any] = json.loads(json.dumps(definition))
        return stored


def plan_studies(request: Request, facts: Facts, tuning: TuneRequest) -> tuple[list[StudyDefinition], list[LeftOut]]:
    """The studies that a request asks for, and what is left out. Raises UsageError where nothing can be tuned."""
    definitions: dict[str, StudyDefinition] = {}
    left_out: dict[LeftOut, None] = {}
    unknown = [noise.name for noise in facts.noises if not noise.is_known]
    if unknown and tuning.objective == "clean-val":
        raise UsageError(
            f"--objective clean-val chooses by clean labels of the hold-out, and under the noise {unknown[0]} nobody "
            "knows which are clean. Leave it out: noisy-val needs none"
        )
    facts, _ = plan.recipes_in_force(request, facts)
    held_out = count_held_out_labels(request, facts.samples)
    splits = count_splits(held_out, facts.samples)
    if splits > MOST_SPLITS:
        raise UsageError(
            f"a hold-out of {held_out} labels is too small to choose by: {splits} splits would be needed. "
            "Type a larger --hold-out or --train-size"
        )
    search_seeds, final_seeds = (
        tuple(replicate_seeds(request, first + split) for split in range(splits))
        for first in (SEARCH_SEEDS, FINAL_SEEDS)
    )
    for noise, rate in plan.noise_settings(request, facts):
        for method in facts.requested:
            name = method.selected.name
            try:
                base = resolve_run(request, facts, method, noise, rate)
                space = build_search_space(method.declaration, method.values, base, tuning.also)
            except (Refused, NothingToSearch) as refused:
                if method.selected.outright:
                    raise UsageError(f"{name} can't be tuned here: {refused}. Or leave it out of --methods") from None
                left_out[LeftOut(name, str(refused), noise.name, rate)] = None
                continue
            study = study_name(base, tuning.study_name)
            if study in definitions:
                raise UsageError(f"--methods names {name} twice: each is tuned once. Leave one, or type two commands")
            definitions[study] = StudyDefinition(
                study, base, space, search_seeds, final_seeds, held_out, tuning.objective, tuning.study_seed
            )
    if not definitions:
        raise UsageError("none of the methods can be tuned here. Add --with lr,weight_decay, or name others")
    return list(definitions.values()), list(left_out)


def study_name(base: RunSpec, prefix: str | None) -> str:
    """The name of a method's study, such as "gce/digits/sym-0.4"."""
    noise = base.noise if base.rate is None else f"{base.noise}-{base.rate:g}"
    return "/".join(([prefix] if prefix else []) + [base.method, base.data_set, noise])


def new_study_prefix(name: str) -> str:
    """A prefix for a new study beside the one of this name: "second", or the prefix that it has with -2."""
    prefix = "/".join(name.split("/")[:-3])
    return f"{prefix}-2" if prefix else "second"


def count_splits(held_out: int, samples: int) -> int:
    """The splits of a study of `samples` training images that holds `held_out` of them out at a time.

    As many as hold enough labels out together or, where the training set is too small for that, as many as hold each
    label out TIMES_HELD_OUT times.
    """
    return min(count_needed_splits(held_out), math.ceil(TIMES_HELD_OUT * samples / held_out))


def note_few_labels(definition: StudyDefinition) -> str | None:
    """A note on the labels that a study of a small training set rests on, and how to have fewer runs; else None."""
    if definition.labels >= ENOUGH_HELD_OUT:
        return None
    splits, share = len(definition.search_seeds), definition.base.hold_out
    wider = f", or --hold-out {2 * share:g} for half the splits" if 0 < share <= 0.25 else ""
    return (
        f"note: the training set is small: {splits} splits of {definition.held_out} held-out labels are "
        f"{definition.labels:,} labels in all, fewer than the {ENOUGH_HELD_OUT:,} that a choice should rest on; more "
        f"splits would hold the same ones out again. Every trial is {splits} runs: type fewer --trials{wider}"
    )


def count_held_out_labels(request: Request, samples: int) -> int:
    """Held-out labels of one split of a training set of `samples`. Raises UsageError where there are none."""
    if request.is_paper and request.hold_out is None:
        raise UsageError(f"--protocol paper holds nothing out, and tune chooses by a hold-out. {ADVICE}")
    share = HOLD_OUT if request.hold_out is None else request.hold_out
    held_out = math.floor(share * samples + 0.5)
    if held_out < 1:
        raise UsageError(f"--hold-out {share:g} holds nothing out, and tune chooses by a hold-out. {ADVICE}")
    return held_out


def definition_differences(stored: Any, wanted: Any, name: str = "") -> list[str]:
    """The differences between two definitions, each in words."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        pairs = {key: (stored.get(key, "nothing"), wanted.get(key, "nothing")) for key in [*stored, *wanted]}
        return [text for key, pair in pairs.items() for text in definition_differences(*pair, f"{name} {key}".strip())]
    if stored == wanted:
        return []
    return [f"{name.replace('_', ' ')}: {_shorten(stored)} there, {_shorten(wanted)} here"]


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:37]}..." if len(text) > 40 else text
