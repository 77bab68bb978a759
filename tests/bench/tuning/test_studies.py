"""Studies see every trial through, whatever happens to their processes, and try none twice."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from bench.execution.worker import load_file
from bench.records.store import Store
from bench.system.errors import UsageError

HELPER = Path(__file__).parents[1] / "fake_tuning.py"
fake: Any = load_file(HELPER)

POSTGRESQL = "LNL_BENCH_POSTGRESQL"
"""Names a PostgreSQL database that tests may write to."""


def begin(root: Path, trials: int, storage: str = "", jobs: int = 1, **parameters: Any) -> subprocess.Popen[str]:
    """A study in a process group of its own."""
    command = [sys.executable, str(HELPER), str(root), storage, str(trials), str(jobs), json.dumps(parameters)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def end(process: subprocess.Popen[str], seconds: float = 120) -> dict[str, Any]:
    """The document that a study printed at its end."""
    text = process.communicate(timeout=seconds)[0]
    assert process.returncode == 0, text
    document: dict[str, Any] = json.loads(text)
    return document


def starts(root: Path) -> Counter[str]:
    """How often each run was begun or taken up."""
    path = root / "starts.log"
    return Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()


def test_a_study_tries_its_own_values_first_and_finds_better_ones(tmp_path: Path) -> None:
    notes: list[str] = []
    stages, outcome = fake.tune(fake.definition_for(), tmp_path, trials=8, notes=notes)
    assert outcome.exit_code == 0
    slots = stages.study.slots()
    assert slots[0].trial.params == {"q": 0.7} and slots[0].trial.state == TrialState.COMPLETE
    assert len(slots) == 8 and {slot.trial.state.name for slot in slots.values()} <= {"COMPLETE", "PRUNED"}
    result = stages.result
    assert result is not None and result.decision is not None and not result.decision.kept
    chosen = result.finalists[result.decision.chosen]
    best = max((slot for slot in slots.values() if slot.trial.value is not None), key=lambda slot: slot.trial.value)
    assert abs(chosen.values["q"] - 0.3) <= abs(0.7 - 0.3) and chosen.slot == best.number
    assert {run["seed"] for run in stages.definition.final_seeds}.isdisjoint(
        run["seed"] for run in stages.definition.search_seeds
    )
    assert sum("trial" in note for note in notes) == 8 and sum("fresh seeds" in note for note in notes) == 3
    records = Store(tmp_path).finished()
    complete = sum(slot.trial.state == TrialState.COMPLETE for slot in slots.values())
    assert len(records) == 2 * (complete + len(result.finalists))


def test_own_values_are_kept_where_they_are_as_good(tmp_path: Path) -> None:
    stages, _ = fake.tune(fake.definition_for(q=0.3), tmp_path, trials=4)
    result = stages.result
    assert result is not None and result.decision is not None
    assert result.decision.kept and result.finalists[result.decision.chosen].slot == 0


def test_doing_it_again_costs_nothing_and_more_trials_go_on(tmp_path: Path) -> None:
    first, _ = fake.tune(fake.definition_for(), tmp_path, trials=4)
    before = starts(tmp_path)
    again, outcome = fake.tune(fake.definition_for(), tmp_path, trials=4)
    assert starts(tmp_path) == before and outcome.finished == () and again.result is not None
    more, _ = fake.tune(fake.definition_for(), tmp_path, trials=6)
    assert {k: v for k, v in fake.suggested(more.study).items() if k < 4} == fake.suggested(first.study)
    assert len(fake.suggested(more.study)) == 6


def test_a_pruned_trial_keeps_its_curve_without_a_record(tmp_path: Path) -> None:
    stages, _ = fake.tune(fake.definition_for(), tmp_path, trials=14)
    pruned = [slot for slot in stages.study.slots().values() if slot.trial.state == TrialState.PRUNED]
    assert pruned and all(slot.number for slot in pruned)
    store = Store(tmp_path)
    for slot in pruned:
        epochs = max(slot.trial.intermediate_values)
        assert epochs in (2, 4)  # a quarter and a half of 8
        for spec in stages.definition.search_runs(stages.study.values_of(slot)):
            partial = store.read_partial(spec.run_id)
            assert partial is not None and len(partial["curves"]["epoch"]) == epochs and not store.has(spec.run_id)


def test_a_failing_trial_is_tried_again_once_and_the_study_goes_on(tmp_path: Path) -> None:
    notes: list[str] = []
    stages, _ = fake.tune(fake.definition_for(fail_above=0.5), tmp_path, trials=5, notes=notes)
    slots = stages.study.slots()
    bad = [slot for slot in slots.values() if slot.attempts[0].params["q"] > 0.5]
    assert bad and slots[0] in bad and len(slots) == 5
    for slot in bad:
        assert [trial.state for trial in slot.attempts] == [TrialState.FAIL, TrialState.FAIL]
        assert slot.attempts[0].params == slot.attempts[1].params
        assert "as told" in slot.trial.user_attrs["reason"]
    assert any("tried again" in note for note in notes)
    result = stages.result
    assert result is not None and result.decision is not None and not result.decision.kept
    assert result.states["fail"] == len(bad) and result.finalists[result.decision.chosen].values["q"] <= 0.5


def test_where_everything_fails_nothing_is_chosen(tmp_path: Path) -> None:
    stages, _ = fake.tune(fake.definition_for(do="diverge"), tmp_path, trials=2)
    assert stages.result is not None and stages.result.decision is None and stages.result.states["fail"] == 2


def test_trials_at_once_are_as_many_as_keep_the_workers_busy(tmp_path: Path) -> None:
    stages, _ = fake.tune(fake.definition_for(splits=1, seconds=0.01), tmp_path, trials=6, jobs=3)
    assert len(stages.study.slots()) == 6 and max(starts(tmp_path).values()) <= 3


def test_a_study_that_was_made_for_something_else_is_refused(tmp_path: Path) -> None:
    fake.study_for(fake.definition_for(), tmp_path)
    with pytest.raises(UsageError, match=r"runs epochs: 8 there, 4 here.*--study-name second"):
        fake.study_for(fake.definition_for(epochs=4), tmp_path)
    with pytest.raises(UsageError, match="objective: noisy-val there, clean-val here"):
        fake.study_for(fake.definition_for(objective="clean-val"), tmp_path)


@pytest.mark.parametrize("storage", ["", "sqlite"])
@pytest.mark.slow
def test_killed_and_continued_it_suggests_what_it_would_have(storage: str, tmp_path: Path) -> None:
    def address(name: str) -> str:
        return f"sqlite:///{tmp_path}/{name}.db" if storage else ""

    parameters = {"seconds": 0.03}
    uninterrupted = end(begin(tmp_path / "whole", 13, address("whole"), **parameters))
    for _ in range(3):
        study = begin(tmp_path / "killed", 13, address("killed"), **parameters)
        before = sum(starts(tmp_path / "killed").values())
        deadline = time.monotonic() + 30
        while sum(starts(tmp_path / "killed").values()) < before + 7 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(study.pid, signal.SIGKILL)
        study.communicate()
    killed = end(begin(tmp_path / "killed", 13, address("killed"), **parameters))
    assert killed["suggested"] == uninterrupted["suggested"] and len(uninterrupted["suggested"]) == 13
    search = fake.study_for(fake.definition_for(**parameters), tmp_path / "killed", address("killed") or None, 13)
    attempts = [len(slot.attempts) for slot in search.slots().values()]
    assert max(attempts) == 2  # what was under way was failed, and tried again


@pytest.mark.slow
def test_interrupted_it_ends_in_time_and_goes_on_without_a_mark(tmp_path: Path) -> None:
    parameters = {"seconds": 0.05}
    for number in range(3):
        study = begin(tmp_path, 4, **parameters)
        before, deadline = sum(starts(tmp_path).values()), time.monotonic() + 30
        while sum(starts(tmp_path).values()) <= before and time.monotonic() < deadline:
            time.sleep(0.02)
        began = time.monotonic()
        study.send_signal(signal.SIGINT)
        study.communicate(timeout=20)
        assert study.returncode == 130 and time.monotonic() - began < 5, number
    search = fake.study_for(fake.definition_for(**parameters), tmp_path, None, 4)
    assert all(slot.trial.state != TrialState.RUNNING for slot in search.slots().values())
    document = end(begin(tmp_path, 4, **parameters))  # no trial was given up for having been interrupted so often
    assert document["tuned"] and {slot["state"] for slot in document["suggested"].values()} <= {"COMPLETE", "PRUNED"}


def test_a_trial_that_another_process_took_over_is_left_to_it(tmp_path: Path) -> None:
    definition, notes = fake.definition_for(), []
    mine, other = fake.study_for(definition, tmp_path), fake.study_for(definition, tmp_path)
    stages = fake.StudyStages(mine, fake.TrialScores(Store(tmp_path), "noisy-val"), 2, notes.append, print)
    wanted = stages.wanted_runs(1)
    assert len(wanted) == len(definition.search_seeds) and other.ask() is not None  # a trial of its own, not the same
    other.study.tell(0, state=TrialState.FAIL)  # as if this process had stood still for longer than the lease
    for spec, _ in wanted:
        Store(tmp_path).write_record(fake.fake.record_of(spec))
    stages.wanted_runs(0)
    assert not stages.trials and any("took over" in note for note in notes)
    other.recover()
    again = mine.ask()
    assert again is not None and again.slot == 0 and again.trial.number == 2


@pytest.mark.slow
def test_processes_without_a_folder_in_common_share_a_database(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/shared.db"
    mine, other = (
        fake.study_for(fake.definition_for(), tmp_path / name, address, 4, 1.0) for name in ("mine", "other")
    )
    running = mine.ask()
    assert running is not None and running.slot == 0
    time.sleep(4)  # longer than the lease, and its heart beats
    taken = other.ask()
    assert taken is not None and taken.slot == 1
    mine.close()
    deadline = time.monotonic() + 20
    while (again := other.ask()) is not None and again.slot != 0:
        assert time.monotonic() < deadline
    assert again is None or again.slot == 0
    while other.slots()[0].trial.number == running.trial.number:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        other.ask()
    assert len(other.slots()[0].attempts) == 2 and other.slots()[0].trial.state == TrialState.RUNNING


def storages(tmp_path: Path) -> dict[str, str]:
    return {"journal": "", "sqlite": f"sqlite:///{tmp_path}/s.db", "postgresql": os.environ.get(POSTGRESQL, "")}


@pytest.mark.parametrize(
    "kind",
    [
        "journal",
        "sqlite",
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(
                POSTGRESQL not in os.environ or importlib.util.find_spec("psycopg") is None,
                reason=f"needs a PostgreSQL server: {POSTGRESQL}=postgresql://USER@HOST/DATABASE, and psycopg",
            ),
        ),
    ],
)
@pytest.mark.slow
def test_processes_that_share_a_study_try_nothing_twice(kind: str, tmp_path: Path) -> None:
    address, root = storages(tmp_path)[kind], tmp_path / "runs"
    root.mkdir()
    if kind == "postgresql":
        empty(address)
    parameters = {"seconds": 0.02, "epochs": 4}
    studies = [begin(root, 12, address, **parameters) for _ in range(3)]
    time.sleep(4)
    studies[0].kill()  # its trial is another's to go on with
    documents = [end(study) for study in studies[1:]]
    assert documents[0]["suggested"] == documents[1]["suggested"] and len(documents[0]["suggested"]) == 12
    assert all(document["tuned"] for document in documents)
    search = fake.study_for(fake.definition_for(**parameters), root, address or None, 12, 6.0)
    for slot in search.slots().values():
        states = [trial.state for trial in slot.attempts]
        assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 1
        assert len(states) - 1 == states.count(TrialState.FAIL) <= 1
    owners = {trial.user_attrs.get("owner") for trial in search.study.get_trials()}
    assert len(owners - {None}) >= 2
    # once a rung at most, and once more where its process died in the middle
    assert max(starts(root).values()) <= 4


def empty(address: str) -> None:
    """Remove what an earlier test left in a database."""
    import optuna

    storage = fake.open_storage(address, Path(), 60.0)
    for name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
