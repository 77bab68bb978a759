"""`--protocol paper`: every method with its recipe or a reason, the choice of a source, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import registry
from bench.cli.main import main
from bench.planning.facts import Facts, PlannedNoise
from bench.planning.paper_protocol import deviations, paper_notes, recipes_of_source, source_of, usual_precision
from bench.planning.plan import Plan, make_plan
from bench.planning.request import Request
from bench.planning.validate import resolve_methods
from bench.system.errors import UsageError

DATA_SETS = ("digits", "fashion-mnist", "cifar10", "cifar100")


@cache
def facts_of(data_set: str) -> Facts:
    """The facts of a data set as declared, without its images."""
    from datasets.interface import Options

    described = registry.open_data_set(data_set, Options()).describe()
    assert described.image_shape is not None
    return Facts(
        methods=registry.methods(),
        requested=(),
        data_set=data_set,
        data_sha256="0" * 64,
        protocol=described.protocol,
        classes=len(described.classes),
        samples=described.train_size or 1,
        image_shape=described.image_shape,
        noises=(PlannedNoise("sym", "sym", True, gives_matrix=True),),
        precision="fp32",
        device="cpu",
        cores=1,
        smallest={name: entry["smallest"] for name, entry in registry.models().items()},
        unsuitable=lambda *_: None,
    )


def planned(data_set: str, **typed: Any) -> Plan:
    request = Request.typed(**{"methods": ["all"], "protocol": "paper", "seeds": "1", **typed})
    facts = facts_of(data_set)
    return make_plan(request, replace(facts, requested=resolve_methods(request, facts.methods)))


@pytest.mark.parametrize("data_set", DATA_SETS)
def test_every_method_has_a_recipe_or_a_reason(data_set: str) -> None:
    plan = planned(data_set)
    names = {spec.method for spec in plan.specs} | {left.method for left in plan.left_out}
    assert names == set(registry.methods())
    assert all(left.reason for left in plan.left_out)
    said = "\n".join(plan.notes)
    for spec in plan.specs:
        assert spec.recipe_source is not None and spec.hold_out == 0 and spec.precision == "fp32"
        assert f"{spec.recipe_source} for " in said
        recipes = registry.methods()[spec.method]["recipes"]
        (recipe, *_) = [recipe for recipe in recipes if spec.recipe_source in recipe["source_names"]]
        assert recipe["training"] or len(recipes) > 1


def test_only_these_lack_a_recipe_on_cifar() -> None:
    """What stays refused has no training in the sheets; on CIFAR-100 these, on CIFAR-10 nothing."""
    left = {data_set: {left.method for left in planned(data_set).left_out} for data_set in ("cifar10", "cifar100")}
    assert left["cifar10"] == set()
    assert left["cifar100"] == {"confident-learning", "label-smoothing", "mixup", "mixup-ensemble"}


def test_a_refusal_says_which_network_is_missing() -> None:
    left = {left.method: left.reason for left in planned("fashion-mnist").left_out}
    refused = "no training settings are published for it on mnist"
    assert left["co-teaching+"] == f"{refused} that fit: its MLP isn't among our models"
    assert left["volminnet"] == f"{refused} that fit: its LeNet isn't among our models"
    assert left["elr"] == refused
    on_digits = {left.method: left.reason for left in planned("digits").left_out}
    assert "cnn9 needs images of 28 x 28 pixels" in on_digits["co-teaching"]


def test_the_source_whose_tables_are_compared_is_the_default() -> None:
    def recipe_of(method: str, data_set: str, protocol: str = "paper") -> tuple[Any, ...]:
        (spec,) = planned(data_set, methods=[method], protocol=protocol).specs
        return spec.recipe_source, spec.weight_decay, spec.nesterov, spec.parameters["beta"]

    assert recipe_of("nce+rce", "fashion-mnist") == ("anl", 1e-3, False, 10)
    assert recipe_of("nce+rce", "fashion-mnist", "paper:apl") == ("apl", 1e-2, True, 10)
    assert recipe_of("nce+rce", "fashion-mnist", " Paper:ALF") == ("alf", 1e-3, False, 100)
    assert recipe_of("nce+mae", "cifar100") == ("anl", 1e-5, False, 0.1)
    assert recipe_of("nce+mae", "cifar100", "paper:apl") == ("apl", 1e-5, False, 1)
    assert recipe_of("nfl+mae", "fashion-mnist") == ("apl", 1e-2, True, 10)
    default, typed = planned("cifar10"), planned("cifar10", methods=["nce+agce"], protocol="paper:anl")
    assert {spec.run_id for spec in typed.specs} <= {spec.run_id for spec in default.specs}


def test_the_shared_protocol_knows_no_source() -> None:
    for protocol in ("shared", "shared-lr"):
        plan = planned("cifar10", protocol=protocol)
        assert {spec.recipe_source for spec in plan.specs} == {None}
        assert all("recipe_source" not in spec.model_dump(mode="json") for spec in plan.specs)
        assert plan.notes == ()


def test_a_source_that_a_method_lacks_is_refused_with_those_that_it_has() -> None:
    left = {left.method: left.reason for left in planned("cifar10", protocol="paper:apl").left_out}
    assert left["gjs"] == "it has no recipe of apl on cifar10, but paper:gjs"
    assert left["anl-ce"] == "it has no recipe of apl on cifar10, but paper:anl"
    with pytest.raises(UsageError, match="it has no recipe of sop on cifar10, but paper:anl, paper:apl"):
        planned("cifar10", methods=["ce"], protocol="paper:sop")


def test_published_recipes_of_another_source_than_the_compared_one_are_found() -> None:
    """gce by rate comes from eps-softmax's paper, its plain setting from ANL's code."""
    (plain,) = planned("cifar100", methods=["gce"]).specs
    (keyed,) = planned("cifar100", methods=["gce"], recipes="published", rate="0.8").specs
    assert (plain.recipe_source, plain.parameters["q"]) == ("anl", 0.7)
    assert (keyed.recipe_source, keyed.parameters["q"]) == ("eps", 0.9)


def test_what_can_not_be_followed_to_the_letter_is_said() -> None:
    notes = planned("cifar10", methods=["co-teaching", "jocor", "taylor-ce"]).notes
    assert notes[0] == "recipes by source: co-teaching for co-teaching; jocor for jocor; ogc for taylor-ce"
    assert notes[1].startswith("not to the letter, co-teaching, jocor: images are normalised")
    assert notes[2].startswith("not to the letter, co-teaching, jocor: all 200 epochs train")
    assert notes[3].startswith("not to the letter, taylor-ce: ASSUMPTION: order 2")
    assert len(notes) == 4
    assert planned("cifar10", methods=["ce"]).notes == ("recipes by source: anl for ce",)


def test_a_training_that_is_not_said_is_the_data_sets_own() -> None:
    recipe = {"training": {"model": "timm:resnet50"}, "deviation": "fresh weights"}
    assert deviations(recipe)[0] == "fresh weights"
    assert "epochs" in deviations(recipe)[1] and "model" not in deviations(recipe)[1]
    notes = paper_notes({"one": recipe, "two": recipe}, {"one": "a", "two": None})
    assert notes[0] == "recipes by source: a for one; no named source for two"
    assert notes[1] == "not to the letter, one, two: fresh weights"


names = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True)


@given(st.lists(names, max_size=5), st.none() | st.sampled_from("abc"), st.none() | st.sampled_from("abc"))
def test_a_typed_source_wins_over_the_compared_one_and_that_over_the_order(
    sources: list[list[str]], typed: str | None, compared: str | None
) -> None:
    recipes = [{"number": number, "source_names": own} for number, own in enumerate(sources)]
    chosen = recipes_of_source(recipes, typed, compared)
    if typed is not None:
        assert chosen == [recipe for recipe in recipes if typed in recipe["source_names"]]
        assert {source_of(recipe, typed, compared) for recipe in chosen} <= {typed}
        return
    assert sorted(chosen, key=lambda recipe: recipe["number"]) == recipes
    first = [compared in recipe["source_names"] for recipe in chosen]
    assert first == sorted(first, reverse=True)
    for recipe in chosen:
        own = sources[int(str(recipe["number"]))]
        assert source_of(recipe, None, compared) == (compared if compared in own else own[0] if own else None)


def test_the_paper_protocol_computes_in_fp32_unless_asked() -> None:
    assert [usual_precision(True, "auto"), usual_precision(False, "auto"), usual_precision(False, "bf16")] == [
        "fp32",
        "auto",
        "bf16",
    ]


@pytest.mark.parametrize(
    ("precision", "expected"), [((), "fp32"), (("--precision", "auto"), "fp32"), (("--precision", "bf16"), "bf16")]
)
def test_the_typed_precision_wins(
    precision: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine where bf16 is fast, which a data set's own protocol would take."""
    monkeypatch.setattr("bench.planning.gather_facts.resolve_precision", resolve_where_bf16_is_fast)
    data = ["--dataset", "synthetic[classes=4,size=8,train=40,test=20]"]
    line = ["run", *data, "--protocol", "paper", "--methods", "ce", "--seeds", "1", "--dry-run", "--format", "json"]
    assert main([*line, *precision]) == 0
    captured = capsys.readouterr()
    (run,) = json.loads(captured.out)["runs"]
    assert run["spec"]["precision"] == expected and run["spec"]["recipe_source"] == "anl"
    assert "note: recipes by source: anl for ce" in captured.err
    assert main([*(word for word in line if word not in ("--protocol", "paper")), *precision]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["spec"]["precision"] == "bf16" and "recipe_source" not in run["spec"]


def resolve_where_bf16_is_fast(name: str, device: str, declared: str, fast: bool | None = None) -> str:
    wanted = declared if name == "auto" else name
    return "bf16" if wanted == "auto" else wanted


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--protocol", "papers"], "must be shared, shared-lr, paper, or paper:SOURCE such as paper:anl"),
        (["--protocol", "paper:"], "must be shared, shared-lr, paper, or paper:SOURCE such as paper:anl"),
        (["--protocol", "shared:anl"], "must be shared, shared-lr, paper, or paper:SOURCE such as paper:anl"),
        (["--protocol", "paper:anls"], "unknown recipe source 'anls'. Did you mean nls or anl"),
        (["--protocol", "paper:anl", "--budget", "equal-compute"], "--protocol paper takes the published epochs"),
        (["--protocol", "paper:apl", "--methods", "elr"], "elr can't run here: no training settings are published"),
        (
            ["--protocol", "paper:anl", "--methods", "co-teaching"],
            "co-teaching can't run here: it has no recipe of anl",
        ),
    ],
)
def test_wrong_sources_are_refused(typed: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", *typed]) == 2
    assert words in capsys.readouterr().err


def test_a_methods_page_lists_the_sources_that_can_be_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["show", "method", "nce+rce"]) == 0
    page = capsys.readouterr().out
    places = [page.index(f"mnist       paper:{source}") for source in ("anl", "apl", "alf")]
    assert places == sorted(places)
    assert "--protocol paper takes paper:anl where there is one, else the first" in page
    assert "its code trains a ResNet-50" in page
    assert main(["show", "method", "nce+rce", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["compared_source"] == "anl"
    assert {name for recipe in shown["recipes"] for name in recipe["source_names"]} == {"anl", "apl", "alf", "eps"}
