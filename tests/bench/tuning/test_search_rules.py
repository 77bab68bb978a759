"""What is searched, where trials are pruned, how slots count, and what a request may say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from bench import registry
from bench.execution.worker import load_file
from bench.records.store import Store
from bench.system.errors import UsageError
from bench.tuning.request import TuneRequest
from bench.tuning.study.definition import definition_differences
from bench.tuning.study.pruning import BRACKETS, FACTOR, FEWEST, TURNS, rung_epoch, survives_rung, trial_rungs
from bench.tuning.study.search_space import (
    Dimension,
    NothingToSearch,
    apply_values,
    build_search_space,
    check_searched_names,
)
from bench.tuning.study.stages import TrialScores
from bench.tuning.study.storage import check_storage_address, describe_storage, open_storage
from bench.tuning.study.trial_slots import ABANDONED, ENDED, FAILED, MOST_ATTEMPTS, SLOT, VOID, group_slots, trial_slot

fake: Any = load_file(Path(__file__).parents[1] / "fake_runners.py")

numbers = st.floats(min_value=1e-6, max_value=1e6)


@given(numbers, numbers, st.floats(-1e9, 1e9, allow_nan=False), st.sampled_from(["uniform", "log-uniform", "integer"]))
def test_what_is_tried_lies_in_the_space(one: float, other: float, value: float, kind: Any) -> None:
    low, high = sorted((one, other)) if kind != "integer" else sorted((int(one), int(other)))
    dimension = Dimension("q", kind, low, high)
    near = dimension.nearest(value)
    assert low <= near <= high and (near == value or not low <= value <= high or kind == "integer")
    rounded = dimension.rounded(near)
    assert low <= rounded <= high and rounded == pytest.approx(near, rel=1e-3)
    assert dimension.rounded(rounded) == rounded


def test_choices_take_the_methods_own_value() -> None:
    numbers = Dimension("lambda_u", "choice", choices=(0.0, 25.0, 150.0))
    assert numbers.nearest(25.0) == 25.0 and numbers.nearest(30.0) == 25.0 and numbers.with_choice(30.0) is numbers
    words = Dimension("filter_by", "choice", choices=("both", "one"))
    assert words.with_choice("neither").choices == ("both", "one", "neither") and words.with_choice("one") is words


def test_every_registered_space_holds_values_that_the_method_takes() -> None:
    searched = 0
    for name, declared in registry.methods().items():
        defaults = {item["name"]: item["default"] for item in declared["parameters"]}
        spec = fake.spec_for(method=name, **defaults)
        try:
            space = build_search_space(declared, {}, spec, ())
        except NothingToSearch:
            continue
        cls = registry.load_method(name)
        for dimension in space.dimensions:
            parameter = next(parameter for parameter in cls.parameters if parameter.name == dimension.name)
            ends = dimension.choices or (dimension.low, dimension.high)
            for value in ends:
                parameter.check(dimension.rounded(value))
            searched += 1
        assert space.nearest(space.values_in(spec)).keys() == space.values_in(spec).keys()
    assert searched > 30


def test_what_is_typed_is_not_searched_and_with_adds_the_cores() -> None:
    gce, anl, ce = (registry.methods()[name] for name in ("gce", "anl-ce", "ce"))
    spec = fake.spec_for(method="gce", q=0.7)
    assert list(build_search_space(gce, {}, spec, ("lr", "weight_decay")).declaration()) == ["q", "lr", "weight_decay"]
    assert list(build_search_space(gce, {"q": 0.5}, spec, ("lr",)).declaration()) == ["lr"]
    with pytest.raises(NothingToSearch, match="is typed"):
        build_search_space(gce, {"q": 0.5}, spec, ())
    with pytest.raises(NothingToSearch, match="no parameter with a search space"):
        build_search_space(ce, {}, fake.spec_for(), ())
    defaults = {item["name"]: item["default"] for item in anl["parameters"]}
    # its penalty replaces weight decay, so there is none to search
    assert (
        "weight_decay"
        not in build_search_space(anl, {}, fake.spec_for(method="anl-ce", **defaults), ("weight_decay",)).declaration()
    )
    low, high = build_search_space(ce, {}, fake.spec_for(), ("lr",)).dimensions[0].low, 1.0
    assert (low, high) == (0.01, 1.0)
    changed = apply_values(spec, {"q": 0.25, "lr": 0.5, "weight_decay": 0.0})
    assert (changed.parameters, changed.learning_rate, changed.weight_decay) == ({"q": 0.25}, 0.5, 0.0)
    with pytest.raises(UsageError, match=r"--with momentum.*adds lr or weight_decay"):
        check_searched_names(["lr", "momentum"])
    with pytest.raises(UsageError, match="Did you mean weight_decay"):
        check_searched_names(["weight-decay"])


def test_no_rung_lies_below_a_quarter_and_the_first_trial_is_never_pruned() -> None:
    assert trial_rungs(0, 30) == ()
    assert min(share for bracket in BRACKETS for share in bracket) == 0.25
    kinds = len(BRACKETS)
    most = [-(-kinds * FACTOR**early // (early + 1)) for early in range(kinds)]  # Hyperband's budgets
    assert [Counter(TURNS)[kinds - 1 - early] for early in range(kinds)] == most
    assert {trial_rungs(slot, 30) for slot in range(1, 11)} == set(BRACKETS)
    assert [rung_epoch(0.25, total) for total in (1, 2, 3, 30, 120)] == [1, 1, 1, 8, 30]


@given(st.integers(1, 40), st.integers(0, 30))
def test_no_two_rungs_fall_on_one_epoch_nor_one_on_the_last(epochs: int, slot: int) -> None:
    """A study takes one value for each epoch of a trial, and warns of a second."""
    epochs_of_rungs = [rung_epoch(share, epochs) for share in trial_rungs(slot, epochs)]
    assert len(set(epochs_of_rungs)) == len(epochs_of_rungs)
    assert all(epoch < epochs for epoch in epochs_of_rungs)
    assert epochs < 3 or trial_rungs(slot, epochs) == trial_rungs(slot, 1000)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True))
def test_about_half_of_those_that_reach_a_rung_together_go_on(values: list[float]) -> None:
    going = [survives_rung(value, [other for other in values if other != value]) for value in values]
    if len(values) < FEWEST:
        assert all(going)
        return
    assert sum(going) == len(values) // FACTOR
    assert min(value for value, on in zip(values, going, strict=True) if on) > max(
        value for value, on in zip(values, going, strict=True) if not on
    )


def trial(number: int, state: TrialState, **attributes: Any) -> FrozenTrial:
    frozen = create_trial(state=state, value=0.5 if state == TrialState.COMPLETE else None, user_attrs=attributes)
    frozen.number = number
    return frozen


def test_a_trial_that_tries_again_shares_the_slot_of_the_first() -> None:
    done, fail, running = TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING
    trials = [
        trial(0, done),
        trial(1, fail, **{ENDED: ABANDONED}),
        trial(2, running, **{SLOT: 1}),
        trial(3, fail, **{VOID: True}),
        trial(4, fail, **{ENDED: FAILED}),
        trial(5, fail, **{SLOT: 2, ENDED: FAILED}),
    ]
    slots = group_slots(trials)
    assert [(slot.number, [attempt.number for attempt in slot.attempts]) for slot in slots.values()] == [
        (0, [0]),
        (1, [1, 2]),
        (2, [4, 5]),
    ]
    assert [slot.trial.number for slot in slots.values()] == [0, 2, 5]
    assert [slot.ended for slot in slots.values()] == [True, False, True]
    assert trial_slot(5, trials) == 2
    with pytest.raises(ValueError, match="no slot"):
        trial_slot(3, trials)


@given(st.integers(1, 12), st.sampled_from(list(MOST_ATTEMPTS)))
def test_a_slot_is_not_tried_for_ever(failures: int, how: str) -> None:
    again = {SLOT: 0}
    trials = [trial(0, TrialState.FAIL, **{ENDED: how})]
    trials += [trial(number, TrialState.FAIL, **again, **{ENDED: how}) for number in range(1, failures)]
    assert group_slots(trials)[0].needs_retry == (failures < MOST_ATTEMPTS[how])


def test_scores_come_from_records_and_the_curves_of_runs_put_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    spec = fake.spec_for(epochs=40, q=0.3)
    scores = TrialScores(store, "noisy-val")
    assert scores.after(spec.run_id, 0.25) is None
    curves = fake.record_of(spec)["curves"]
    store.write_partial(spec, {name: curve[:12] for name, curve in curves.items()}, 40)
    held_out = curves["noisy_holdout_accuracy"]
    assert scores.after(spec.run_id, 0.25) == (10, pytest.approx(sum(held_out[6:10]) / 4))  # the last tenth of 40
    assert scores.after(spec.run_id, 0.5) is None and scores.after(spec.run_id, 1.0) is None
    store.write_record(fake.record_of(spec))
    assert scores.after(spec.run_id, 1.0) == (40, pytest.approx(sum(held_out[36:]) / 4))
    clean = TrialScores(store, "clean-val").after(spec.run_id, 1.0)
    assert clean == (40, pytest.approx(sum(held_out[36:]) / 8))


@pytest.mark.parametrize("typed", ["test", "best-test", "accuracy"])
def test_no_objective_looks_at_the_test_set(typed: str) -> None:
    with pytest.raises(UsageError, match="noisy-val"):
        TuneRequest.typed(objective=typed)


def test_mistakes_in_a_request_name_the_option() -> None:
    with pytest.raises(UsageError, match=r"--trials 0: .*greater than or equal to 1"):
        TuneRequest.typed(trials="0")
    with pytest.raises(UsageError, match="--study-name a/b: must be letters"):
        TuneRequest.typed(study_name="a/b")
    assert TuneRequest.typed(also=["lr,weight_decay"]).also == ("lr", "weight_decay")


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    address = "postgresql://me:secret@127.0.0.1:1/none"
    check_storage_address(address)
    assert "secret" not in describe_storage(address, tmp_path) and "me" in describe_storage(address, tmp_path)
    with pytest.raises(UsageError, match=r"me:\*\*\*@127.0.0.1.* can't be used") as error:
        open_storage(address, tmp_path, 60)
    assert "secret" not in str(error.value)
    with pytest.raises(UsageError, match=r"--storage .*type sqlite:///FILE") as error:
        check_storage_address("mysql://me:secret@host/x")
    assert "secret" not in str(error.value)
    with pytest.raises(UsageError, match="can't be used: unable to open"):
        open_storage(f"sqlite:///{tmp_path}/none/here.db", tmp_path, 60)


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning/studies.journal").write_text("no journal\n{}\n")
    with pytest.raises(UsageError, match=r"studies.journal is damaged.*Move it aside"):
        open_storage(None, tmp_path, 60)


def test_every_way_of_writing_a_password_is_hidden(tmp_path: Path) -> None:
    for address in (
        "postgresql://me@127.0.0.1:1/none?password=hunter2",
        "postgresql://me:hunter2@127.0.0.1:1/none?sslpassword=hunter2&passfile=hunter2",
    ):
        assert "hunter2" not in describe_storage(address, tmp_path) and "127.0.0.1" in describe_storage(
            address, tmp_path
        )
        with pytest.raises(UsageError, match="can't be used") as error:
            open_storage(address, tmp_path, 60)
        assert "hunter2" not in str(error.value)
    with pytest.raises(UsageError, match="%40") as error:
        check_storage_address("postgresql://u:hun@ter2@h/db?password=hunter2")
    assert "ter2" not in str(error.value)


def test_differences_are_said_in_words() -> None:
    stored = {"space": {"q": "uniform [0, 1]"}, "runs": {"epochs": 30, "schedule": "cosine"}}
    wanted = {"space": {"q": "uniform [0, 1]", "lr": "log"}, "runs": {"epochs": 2, "schedule": "cosine"}}
    differences = definition_differences(json.loads(json.dumps(stored)), wanted)
    assert differences == ["space lr: nothing there, log here", "runs epochs: 30 there, 2 here"]
