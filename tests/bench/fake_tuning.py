"""Studies whose runs only pretend: one dimension, q in [0.1, 1], best at 0.3. Run as a script it tunes to the end.

python fake_tuning.py ROOT STORAGE TRIALS JOBS PARAMETERS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.execution.display import Display
from bench.execution.local import LocalExecutor
from bench.execution.study import StudyOutcome, run_job_source
from bench.execution.worker import load_file
from bench.records.store import Store
from bench.spec import RunSpec
from bench.stats.holdout_choice import Objective
from bench.tuning.study.definition import StudyDefinition
from bench.tuning.study.optuna_study import OptunaStudy
from bench.tuning.study.run_studies import TuningJobs
from bench.tuning.study.search_space import Dimension, SearchSpace
from bench.tuning.study.stages import StudyStages, TrialScores
from bench.tuning.study.storage import open_storage

HELPER = Path(__file__).with_name("fake_runners.py")
RUNNER = f"{HELPER}:pretend"
fake: Any = load_file(HELPER)


def definition_for(
    splits: int = 2, epochs: int = 8, q: float = 0.7, objective: Objective = "noisy-val", **parameters: Any
) -> StudyDefinition:
    """A study over q; `parameters` tell `fake_runners.pretend` what to do."""
    base: RunSpec = fake.spec_for(100, "gce", epochs, q=q, **parameters)
    seeds = [
        tuple({"seed": seed, "split_seed": seed, "noise_seed": seed} for seed in range(first, first + splits))
        for first in (100, 200)
    ]
    return StudyDefinition(
        name="gce/digits/sym-0.4",
        base=base,
        space=SearchSpace((Dimension("q", "uniform", 0.1, 1.0),)),
        search_seeds=seeds[0],
        final_seeds=seeds[1],
        held_out=1000,
        objective=objective,
        study_seed=0,
    )


def study_for(
    definition: StudyDefinition, root: Path, storage: str | None = None, trials: int = 6, lease: float = 60.0
) -> OptunaStudy:
    """The study in its storage."""
    return OptunaStudy(definition, open_storage(storage, root, lease), str(storage), root, trials, lease)


def tune(
    definition: StudyDefinition,
    root: Path,
    storage: str | None = None,
    trials: int = 6,
    jobs: int = 1,
    finalists: int = 2,
    lease: float = 60.0,
    notes: list[str] | None = None,
) -> tuple[StudyStages, StudyOutcome]:
    """Tune to the end."""
    lines: list[str] = [] if notes is None else notes
    store = Store(root, lease=lease)
    study = study_for(definition, root, storage, trials, lease)
    stages = StudyStages(
        study,
        TrialScores(store, definition.objective),
        finalists,
        lines.append,
        lambda key, text, _: lines.append(text),
    )
    source = TuningJobs([stages], jobs, lambda spec: fake.runtime_for())
    try:
        outcome = run_job_source(source, store, Display(), LocalExecutor(root, jobs, 1, RUNNER, lease))
    finally:
        source.release()
    return stages, outcome


def suggested(study: OptunaStudy) -> dict[int, dict[str, Any]]:
    """What every slot tried, how it ended and with what."""
    return {
        number: {"q": slot.trial.params.get("q"), "state": slot.trial.state.name, "value": slot.trial.value}
        for number, slot in study.slots().items()
    }


if __name__ == "__main__":
    root, storage, trials, jobs, parameters = sys.argv[1:]
    stages, outcome = tune(
        definition_for(**json.loads(parameters)), Path(root), storage or None, int(trials), int(jobs), lease=6.0
    )
    sys.stdout.write(json.dumps({"suggested": suggested(stages.study), "tuned": stages.result is not None}))
    sys.exit(outcome.exit_code)
