"""What was typed -> runs: parameters, privileges, what is left out, and that planning is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bench.planning.facts import Facts, PlannedNoise
from bench.planning.plan import Plan, make_plan
from bench.planning.request import OPTIONS, TYPED_FIELDS, Option, Request
from bench.planning.validate import resolve_methods
from bench.spec import RunSpec
from bench.spec.privileges import given_noise_rate
from bench.system.errors import UsageError
from bench.tuning.request import TuneRequest
from datasets.interface import Protocol

PROTOCOL = Protocol("mnist", "cnn-small", epochs=30, batch_size=64, learning_rate=0.05, weight_decay=1e-4)


def parameter(name: str, default: float | int | str, low: float | None = None, high: float | None = None) -> Any:
    return {
        "name": name,
        "default": default,
        "low": low,
        "high": high,
        "open_low": low == 0,
        "open_high": False,
        "choices": [],
        "bounds": f"in ({low}, {high}]",
    }


def recipe(values: Mapping[str, Any], noise: str | None = None, rate: float | None = None, **more: Any) -> Any:
    blank = {"data_set": "mnist", "model": None, "noise": noise, "rate": rate, "values": values, "training": {}}
    return blank | more


def method(name: str, **more: Any) -> dict[str, Any]:
    blank = {"name": name, "aliases": [], "version": 1, "needs": [], "weight_decay": None, "may_be_unsuitable": False}
    return blank | {"parameters": [], "recipes": [], "own_penalty": None} | more


METHODS = {
    item["name"]: item
    for item in [
        method("ce"),
        method(
            "gce",
            parameters=[parameter("q", 0.7, 0, 1)],
            recipes=[recipe({"q": 0.6}), recipe({"q": 0.9}, "sym", 0.8), recipe({"q": 1}, "asym")],
        ),
        method(
            "nce+rce",
            aliases=["apl"],
            parameters=[parameter("alpha", 1.0, 0), parameter("beta", 1.0, 0)],
            recipes=[recipe({"beta": 10}, training={"epochs": 50, "model": "cnn4", "weight_decay": 1e-3})],
        ),
        method("anl-ce", aliases=["anl"], weight_decay=0.0),
        method("forward", needs=["transition_matrix"]),
        method("picky", may_be_unsuitable=True),
        method("co-teaching", needs=["noise_rate"]),
    ]
}


def unsuitable(name: str, parameters: Mapping[str, Any], setting: Mapping[str, Any]) -> str | None:
    return "it wants 20 epochs" if setting["epochs"] < 20 else None


def noise(name: str, rate: bool = True, matrix: bool = True) -> PlannedNoise:
    return PlannedNoise(name, name, rate, matrix)


def facts(*noises: PlannedNoise) -> Facts:
    return Facts(
        methods=METHODS,
        requested=(),
        data_set="digits",
        data_sha256="0" * 64,
        protocol=PROTOCOL,
        classes=10,
        samples=1400,
        image_shape=(8, 8, 1),
        noises=noises or (noise("sym"),),
        precision="fp32",
        device="cpu",
        cores=2,
        smallest={"cnn8": 16, "cnn4": 4},
        unsuitable=unsuitable,
    )


def plan(request: Request, base: Facts) -> Plan:
    """The plan of a request whose methods are among those of `base`."""
    return make_plan(request, replace(base, requested=resolve_methods(request, base.methods)))


def runs(*noises: PlannedNoise, **typed: Any) -> list[RunSpec]:
    return list(plan(Request.typed(**typed), facts(*noises)).specs)


@pytest.mark.parametrize("request_type", [Request, TuneRequest])
def test_every_field_of_a_request_has_a_part_to_play(request_type: type[BaseModel]) -> None:
    for name, field in request_type.model_fields.items():
        assert sum(isinstance(item, Option) for item in field.metadata) == 1, name


def test_an_option_that_overrides_the_protocol_sets_a_field_of_the_spec_and_can_change_a_result() -> None:
    assert {option.role for option in OPTIONS.values() if option.overrides or option.set_by_grid} == {"identity"}
    assert set(TYPED_FIELDS.values()) <= set(RunSpec.model_fields)
    assert len(set(TYPED_FIELDS.values())) == len(TYPED_FIELDS)


def test_the_defaults_are_five_replicates_of_all_methods() -> None:
    planned = plan(Request.typed(), facts())
    assert len(planned.specs) == 5 * len(METHODS)
    assert [spec.seed for spec in planned.specs] == sorted(spec.seed for spec in planned.specs)
    first = planned.specs[0]
    assert (first.noise, first.rate, first.hold_out, first.epochs, first.model) == ("sym", 0.4, 0.1, 30, "cnn-small")
    assert all(spec.seed == spec.noise_seed == spec.split_seed for spec in planned.specs)
    assert len({spec.run_id for spec in planned.specs}) == len(planned.specs)


def test_an_alias_and_its_name_are_one_run() -> None:
    names = runs(methods=["apl,nce+rce", "nce+rce[alpha=1.0]", "nce+rce[beta=10]", "nce*"], seeds="1")
    assert [(spec.method, spec.parameters) for spec in names] == [("nce+rce", {"alpha": 1.0, "beta": 10.0})]


def test_typed_parameters_replace_the_recipe() -> None:
    (spec,) = runs(methods=["gce[q=0.5]"], seeds="1")
    assert spec.parameters == {"q": 0.5}


def test_plain_parameters_are_equal_for_every_noise_and_rate() -> None:
    specs = runs(noise("sym"), noise("asym"), methods=["gce"], rate=["0.2,0.8"], seeds="1")
    assert len(specs) == 4
    assert {spec.parameters["q"] for spec in specs} == {0.6}
    assert {spec.privileges for spec in specs} == {()}


def test_published_recipes_are_marked_by_what_keys_them() -> None:
    specs = runs(noise("sym"), noise("asym"), methods=["gce"], rate=["0.4,0.8"], seeds="1", recipes="published")
    values = {(spec.noise, spec.rate): (spec.parameters["q"], spec.privileges) for spec in specs}
    assert values == {
        ("sym", 0.4): (0.6, ()),
        ("sym", 0.8): (0.9, ("noise_kind", "noise_rate")),
        ("asym", 0.4): (1.0, ("noise_kind",)),
        ("asym", 0.8): (1.0, ("noise_kind",)),
    }


def test_a_penalty_of_its_own_replaces_weight_decay_under_every_protocol() -> None:
    assert [spec.weight_decay for spec in runs(methods=["ce,anl"], seeds="1")] == [1e-4, 0]
    assert [spec.weight_decay for spec in runs(methods=["ce,anl"], seeds="1", weight_decay="0.01")] == [0.01, 0]


def test_a_noise_without_a_rate_takes_part_once() -> None:
    specs = runs(noise("none", rate=False), noise("sym"), methods=["ce"], rate=["0.2,0.4"], seeds="1")
    assert [(spec.noise, spec.rate) for spec in specs] == [("none", None), ("sym", 0.2), ("sym", 0.4)]


def test_what_the_noise_cannot_give_is_left_out_or_refused() -> None:
    column = noise("column:worse", rate=False, matrix=False)
    planned = plan(Request.typed(methods=["all"], seeds="1"), facts(column))
    assert {item.method: item.noise for item in planned.left_out} == dict.fromkeys(
        ["co-teaching", "forward"], "column:worse"
    )
    reasons = {item.method: item.reason for item in planned.left_out}
    assert "transition_matrix" in reasons["forward"]
    assert "noise_rate, which the noise column:worse can't give" in reasons["co-teaching"]
    assert "--noise-rate 0.2" in reasons["co-teaching"]
    with pytest.raises(UsageError, match=r"forward can't run here.*transition_matrix"):
        runs(column, methods=["ce,forward"])


@pytest.mark.parametrize("name", ["column:worse", "human-worst", "labels"])
def test_labels_of_people_state_no_rate_but_the_user_may(name: str) -> None:
    people = noise(name, rate=False, matrix=False)
    with pytest.raises(UsageError, match=r"co-teaching can't run here: it needs noise_rate.*--noise-rate 0\.2"):
        runs(people, methods=["ce,co-teaching"])
    specs = runs(people, methods=["ce,co-teaching"], seeds="1", noise_rate="0.25")
    assert {spec.method: spec.privileges for spec in specs} == {"ce": (), "co-teaching": ("noise_rate=0.25",)}


def test_a_given_noise_rate_is_part_of_the_runs_that_get_it_and_of_no_other() -> None:
    realised = {spec.method: spec for spec in runs(methods=["ce,co-teaching"], seeds="1")}
    assert realised["co-teaching"].privileges == ("noise_rate",)
    typed = {spec.method: spec for spec in runs(methods=["ce,co-teaching"], seeds="1", noise_rate=".2")}
    assert typed["ce"].run_id == realised["ce"].run_id
    assert typed["co-teaching"].run_id != realised["co-teaching"].run_id
    assert typed["co-teaching"].setting_id == realised["co-teaching"].setting_id
    assert (given_noise_rate(typed["co-teaching"].privileges), given_noise_rate(("noise_rate",))) == (0.2, None)


@given(st.floats(0, 1, exclude_max=True))
def test_a_given_noise_rate_reaches_the_method_as_it_was_typed(rate: float) -> None:
    (spec,) = runs(methods=["co-teaching"], seeds="1", noise_rate=str(rate))
    assert given_noise_rate(spec.privileges) == rate


def test_noise_that_says_its_rate_or_matrix_gives_it() -> None:
    for stating in (noise("none", rate=False), noise("instance", matrix=False), noise("matrix:t.csv", rate=False)):
        (spec,) = runs(stating, methods=["co-teaching"], seeds="1")
        assert spec.privileges == ("noise_rate",)


def test_a_method_may_say_that_it_is_unsuitable() -> None:
    planned = plan(Request.typed(seeds="1", epochs="10"), facts())
    assert [(item.method, item.reason) for item in planned.left_out] == [("picky", "it wants 20 epochs")]
    with pytest.raises(UsageError, match="20 epochs"):
        runs(methods=["picky"], epochs="10")


def test_the_paper_protocol_takes_the_recipe_in_full() -> None:
    planned = plan(Request.typed(protocol="paper", seeds="1"), facts())
    (spec,) = planned.specs
    assert (spec.method, spec.epochs, spec.model, spec.weight_decay) == ("nce+rce", 50, "cnn4", 1e-3)
    assert spec.hold_out == 0
    assert spec.protocol == "paper"
    assert len(planned.left_out) == len(METHODS) - 1
    with pytest.raises(UsageError, match="no training settings are published"):
        runs(methods=["gce"], protocol="paper")


def test_a_recipe_sets_training_fields_and_no_others() -> None:
    training = {"epochs": 50, "optimizer": "adam", "members": 3, "hold_out": 0.5, "folds": 2, "precision": "bf16"}
    methods = METHODS | {"ce": method("ce", recipes=[recipe({}, training=training)])}
    request = Request.typed(protocol="paper", methods=["ce"], seeds="1", batch_size="8")
    (spec,) = plan(request, replace(facts(), methods=methods)).specs
    assert (spec.epochs, spec.optimizer, spec.batch_size) == (50, "adam", 8)
    assert (spec.members, spec.hold_out, spec.precision, spec.learning_rate) == (1, 0, "fp32", 0.05)


@pytest.mark.parametrize(
    ("published", "epochs", "expected"),
    [
        ("step:40,80@0.01", 12, "step:4,8@0.01"),
        ("step:40,80@0.01", 2, "step:1,1@0.01"),
        ("step:40,80@0.01", 120, "step:40,80@0.01"),
        ("cosine-restarts:10", 60, "cosine-restarts:5"),
        ("exponential:0.97", 60, "exponential:0.9409"),
        ("cosine", 3, "cosine"),
    ],
)
def test_the_schedule_of_a_paper_moves_with_its_epochs(published: str, epochs: int, expected: str) -> None:
    training = {"epochs": 120, "model": "cnn4", "schedule": published}
    drops = METHODS | {"ce": method("ce", recipes=[recipe({}, training=training)])}
    request = Request.typed(protocol="paper", methods=["ce"], seeds="1", epochs=str(epochs))
    (spec,) = plan(request, replace(facts(), methods=drops)).specs
    assert (spec.epochs, spec.schedule) == (epochs, expected)
    typed = request.model_copy(update={"schedule": "step: 80,40"})
    (spec,) = plan(typed, replace(facts(), methods=drops)).specs
    assert spec.schedule == "step:40,80@0.1"


def test_augmentations_have_one_name() -> None:
    names = ("Flip+crop04", "crop4+flip", "crop4 + flip")
    specs = [runs(methods=["ce"], seeds="1", augment=name)[0] for name in names]
    assert {spec.augmentation for spec in specs} == {"crop4+flip"}
    assert len({spec.run_id for spec in specs}) == 1


def test_options_replace_what_the_protocol_says() -> None:
    (spec,) = runs(
        methods=["ce"], seeds="5:6", noise_seed="9", epochs="3", lr="0.2", model="cnn4", augment="none", hold_out="0.2"
    )
    assert (spec.seed, spec.noise_seed, spec.split_seed) == (5, 9, 5)
    assert (spec.epochs, spec.learning_rate, spec.model) == (3, 0.2, "cnn4")
    assert (spec.augmentation, spec.hold_out) == ("none", 0.2)


def test_images_too_small_for_the_model_are_a_wrong_request() -> None:
    with pytest.raises(UsageError, match="cnn8 needs images of 16 x 16 pixels, these have 8; --image-size 16"):
        runs(model="cnn8")


def test_given_labels_belong_to_one_split() -> None:
    people = noise("labels", rate=False, matrix=False)
    specs = runs(people, methods=["ce"], seeds="3", labels="labels.json", noise_seed="2")
    assert [(spec.seed, spec.split_seed, spec.noise_seed) for spec in specs] == [(0, 2, 2), (1, 2, 2), (2, 2, 2)]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"methods": ["gec"]}, "unknown method 'gec'. Did you mean gce"),
        ({"methods": ["gce[p=1]"]}, "has no parameter 'p'"),
        ({"methods": ["gce[q=1.5]"]}, r"q must be in \(0, 1\]"),
        ({"methods": ["gce[q=0]"]}, r"q must be in \(0, 1\]"),
        ({"methods": ["gce[q=nan]"]}, "q must be a number"),
        ({"methods": ["gce[q=high]"]}, "q must be a number"),
        ({"methods": ["gce[q]"]}, "can't be read"),
        ({"methods": ["gce[q=1"]}, "can't be read"),
        ({"methods": ["xyz*"]}, "no method matches"),
        ({"methods": [""]}, "--methods is empty"),
        ({"noise": [","]}, "--noise is empty"),
        ({"rate": ["1.5"]}, "--rate 1.5"),
        ({"noise_rate": "1"}, "--noise-rate 1: must be less than 1"),
        ({"noise_rate": "-0.1"}, "--noise-rate -0.1"),
        ({"noise_rate": "nan"}, "--noise-rate nan"),
        ({"rate": ["nan"]}, "--rate nan: must be a finite number"),
        ({"rate": ["much"]}, "--rate much: must be a finite number"),
        ({"epochs": "0"}, "--epochs 0"),
        ({"epochs": "inf"}, "--epochs inf: must be a whole number"),
        ({"seeds": "0"}, "--seeds 0"),
        ({"seeds": "3:3"}, "--seeds 3:3"),
        ({"jobs": "-1"}, "--jobs -1"),
        ({"lr": "inf"}, "--lr inf"),
        ({"imbalance": "0"}, "--imbalance 0"),
        ({"hold_out": "1"}, "--hold-out 1"),
        ({"device": "tpu"}, "--device tpu: must be auto, cpu"),
        ({"labels": "x.json", "noise": ["sym"]}, "leave --noise and --rate out"),
    ],
)
def test_every_mistake_says_what_and_why(typed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        runs(**typed)
    assert len(str(caught.value).splitlines()) <= 2


def test_ten_thousand_runs_are_ten_thousand_specs() -> None:
    specs = runs(noise("sym"), noise("asym"), methods=["ce,gce,apl,anl,forward"], rate=["0.2,0.4"], seeds="500")
    assert len({spec.run_id for spec in specs}) == len(specs) == 10_000


def test_a_copied_run_has_an_id_of_its_own() -> None:
    spec = runs(methods=["gce"], seeds="1")[0]
    before = spec.run_id
    copied = spec.model_copy(update={"seed": 7})
    assert copied.run_id == RunSpec(**copied.model_dump()).run_id != before
    assert spec.model_copy().run_id == spec.model_copy(deep=True).run_id == spec.run_id == before
    assert spec == RunSpec(**spec.model_dump()) and "run_id" not in spec.model_dump()
