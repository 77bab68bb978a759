"""What a recipe file makes of a plan: values, marks, the protocol's name, and where it doesn't hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.worker import load_file
from bench.planning.facts import Facts
from bench.planning.plan import Plan
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.recipe_files import FileChoice, MethodRecipe, RecipeFile, recipe_setting
from bench.planning.request import Request
from bench.spec import RESERVED_SEEDS, SHARED_GRID, SHARED_LR
from bench.system.errors import UsageError

records: Any = load_file(Path(__file__).parents[1] / "fake_records.py")
planning: ModuleType = load_file(Path(__file__).with_name("test_plan.py"))

BARE: Facts = planning.facts(planning.noise("sym"), planning.noise("asym"))
SPEC = planning.plan(Request.typed(methods="ce", seeds="1"), BARE).specs[0]


def sourced(*recipes: dict[str, Any], kind: str = "grid", named: bool = True, **fields: Any) -> SourcedRecipes:
    blank = {"choice": "one", "learning_rate": 0.15, "weight_decay": 1e-3, "criterion": 0.5, "standard_error": 0.01}
    recipe_tables = [MethodRecipe(**(blank | {"kept": False, "runs": 9} | recipe)) for recipe in recipes]
    choice_fields = {name: fields.pop(name) for name in list(fields) if name in FileChoice.model_fields}
    setting = recipe_setting(SPEC) | fields
    file = RecipeFile(
        setting=setting, choice={"one": records.choice(kind=kind, **choice_fields)}, recipe=tuple(recipe_tables)
    )
    return SourcedRecipes("mine.toml", file, named)


def planned(grid: SourcedRecipes | None = None, study: SourcedRecipes | None = None, **options: Any) -> Plan:
    named = next((source for source in (grid, study) if source is not None and source.named), None)
    options = {"seeds": "1"} | ({} if named is None else {"recipes": named.path}) | options
    return planning.plan(Request.typed(**options), replace(BARE, grid=grid, study=study))


CE, GCE = {"method": "ce"}, {"method": "gce", "parameters": {"q": 0.6}, "learning_rate": 0.02}


@pytest.mark.parametrize("named", [True, False])
def test_the_grids_values_are_in_force_for_every_noise_under_a_protocol_of_their_own(named: bool) -> None:
    plan = planned(sourced(CE, GCE, named=named), methods="ce,gce", rate="0.2,0.8")
    assert {(spec.method, spec.learning_rate, spec.weight_decay) for spec in plan.specs} == {
        ("ce", 0.15, 1e-3),
        ("gce", 0.02, 1e-3),
    }
    assert len(plan.specs) == 8 and plan.notes == ()
    assert {(spec.protocol, spec.privileges) for spec in plan.specs} == {(SHARED_GRID, ())}


def test_parameters_come_from_the_file_unless_typed_or_published_for_the_noise() -> None:
    grid = sourced(CE, {"method": "gce", "parameters": {"q": 0.3}}, named=False)
    assert planned(grid, methods="gce").specs[0].parameters == {"q": 0.3}
    assert planned(grid, methods="gce[q=0.5]").specs[0].parameters == {"q": 0.5}
    specs = planned(grid, methods="gce", recipes="published", rate="0.8").specs
    assert {(spec.noise, spec.parameters["q"], spec.learning_rate, spec.privileges) for spec in specs} == {
        ("sym", 0.9, 0.15, ("noise_kind", "noise_rate")),
        ("asym", 1, 0.15, ("noise_kind",)),
    }


def test_a_penalty_of_the_methods_own_keeps_weight_decay_at_its_place() -> None:
    (spec, _) = planned(sourced({"method": "anl-ce", "weight_decay": 0.5}), methods="anl-ce").specs
    assert (spec.weight_decay, spec.learning_rate) == (0.0, 0.15)


@pytest.mark.parametrize(
    ("options", "file", "why"),
    [
        ({"epochs": "3"}, {}, "mine.toml was chosen in another setting (epochs 30 there and 3 here)"),
        ({"batch_size": "8"}, {}, "batch size 64 there and 8 here"),
        ({"train_size": "100"}, {}, "train size unset there and 100 here"),
        ({"optimizer": "adam"}, {}, "optimizer sgd there and adam here"),
        ({}, {"data_set": "mnist"}, "data set mnist there and digits here"),
        ({}, {"data_sha256": "f" * 64}, "data sha256 ffffffffffff... there"),
        ({}, {"model": "cnn8"}, "model cnn8 there and cnn-small here"),
        ({}, {"held_out_labels": 140}, "rests on 140 held-out labels, and the shared protocol wants 2,000"),
        ({"methods": "ce,forward"}, {}, "forward: mine.toml holds no values for it"),
    ],
)
def test_a_grid_that_does_not_hold_is_an_error_when_named_and_left_alone_otherwise(
    options: dict[str, str], file: dict[str, Any], why: str
) -> None:
    options = {"methods": "ce"} | options
    with pytest.raises(UsageError) as error:
        planned(sourced(CE, **file), **options)
    assert str(error.value).startswith("--recipes mine.toml: ") and why in str(error.value)
    plan = planned(sourced(CE, named=False, **file), **options)
    assert plan.specs == planned(**options).specs
    assert {spec.protocol for spec in plan.specs} == {SHARED_LR}
    assert len(plan.notes) == 1 and why in plan.notes[0] and "shared-lr" in plan.notes[0]


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"hold_out": "0.2"}, {"draw": "multinomial"}])
def test_noise_hold_out_and_precision_leave_it_in_force(options: dict[str, str]) -> None:
    plan = planned(sourced(CE, named=False), methods="ce", **options)
    assert {spec.protocol for spec in plan.specs} == {SHARED_GRID} and plan.notes == ()


def test_a_method_that_a_glob_brought_in_is_left_out_where_the_file_lacks_it() -> None:
    plan = planned(sourced(CE, {"method": "gce", "method_version": 2}, named=False), methods="ce,g*")
    assert {spec.method for spec in plan.specs} == {"ce"} and {spec.protocol for spec in plan.specs} == {SHARED_GRID}
    (left, *_) = plan.left_out
    assert left.method == "gce" and "are for version 2 of it, and this is version 1" in left.reason
    assert "tune --grid shared" in left.reason


def newer(grid: SourcedRecipes, name: str, changes: dict[str, Any], **options: Any) -> Plan:
    """The plan where the method `name` has become version 3, with `changes` of its declaration."""
    methods = BARE.methods | {name: {**BARE.methods[name], "version": 3, **changes}}
    request = Request.typed(seeds="2", **options)
    facts = replace(planning.facts(planning.noise("sym")), methods=methods, grid=grid)
    return planning.plan(request, facts)


@pytest.mark.parametrize("version", [1, 2])
def test_a_newer_version_keeps_the_grids_learning_rate_and_has_its_own_parameters(version: int) -> None:
    sigma = planning.parameter("sigma", 4.0, 0)
    grid = sourced(CE, GCE | {"method_version": version, "parameters": {"q": 0.3, "gone": 1.0}}, named=False)
    parameters = [*BARE.methods["gce"]["parameters"], sigma]
    plan = newer(grid, "gce", {"parameters": parameters}, methods="ce,gce")
    specs = [spec for spec in plan.specs if spec.method == "gce"]
    assert {(spec.learning_rate, spec.weight_decay, spec.method_version) for spec in specs} == {(0.02, 1e-3, 3)}
    assert {spec.protocol for spec in plan.specs} == {SHARED_GRID}
    # as published (0.6) and as declared, not as the file has them
    assert all(spec.parameters == {"q": 0.6, "sigma": 4.0} for spec in specs)
    assert plan.notes == (
        f"the grid chose learning rate and weight decay for an older version of 1 method: gce (for version {version}, "
        "now 3); python -m bench tune --grid shared chooses anew",
    )
    assert newer(grid, "gce", {}, methods="ce").notes == ()


def test_a_newer_version_keeps_the_penalty_that_the_grid_chose() -> None:
    grid = sourced({"method": "gce", "parameters": {"q": 0.3, "gone": 1.0}}, named=False)
    (spec, _) = newer(grid, "gce", {"own_penalty": "q", "weight_decay": 0.0}, methods="gce").specs
    assert spec.parameters == {"q": 0.3} and (spec.learning_rate, spec.weight_decay) == (0.15, 0.0)


def test_what_a_study_chose_for_another_version_is_refused() -> None:
    for version in (2, 4):
        study = sourced(GCE | {"method_version": version}, kind="study")
        methods = BARE.methods | {"gce": {**BARE.methods["gce"], "version": 3}}
        facts = replace(BARE, methods=methods, study=study)
        with pytest.raises(UsageError, match=f"are for version {version} of it, and this is version 3"):
            planning.plan(Request.typed(methods="gce", seeds="1", recipes="mine.toml"), facts)


@pytest.mark.parametrize("options", [{"lr": "0.3"}, {"weight_decay": "0"}])
def test_what_is_typed_for_all_is_for_all(options: dict[str, str]) -> None:
    plan = planned(sourced(CE, named=False), methods="ce", **options)
    assert plan.specs == planned(methods="ce", **options).specs and plan.notes == ()
    with pytest.raises(UsageError, match="both say what methods train with"):
        planned(sourced(CE), methods="ce", **options)


def test_files_and_other_protocols_exclude_one_another() -> None:
    with pytest.raises(UsageError, match="both say what methods train with"):
        planned(sourced(CE), methods="ce", protocol="paper")
    with pytest.raises(UsageError, match="leave --protocol shared-lr out"):
        planned(sourced(CE), methods="ce", protocol="shared-lr")
    paper = planned(sourced(CE, named=False), methods="nce+rce", protocol="paper")
    assert paper.specs == planned(methods="nce+rce", protocol="paper").specs


def test_what_a_study_chose_is_marked_with_its_trials_and_what_it_was_told() -> None:
    study = sourced(GCE | {"noise": "sym", "rate": 0.4}, kind="study", trials=30)
    plan = planned(None, study, methods="gce", rate="0.4", epochs="3")
    assert [(spec.noise, spec.privileges) for spec in plan.specs] == [
        ("sym", ("noise_kind", "noise_rate", "tuned=30")),
        ("asym", ("tuned=30",)),  # the values for sym 0.4 are the plain ones
    ]
    assert {(spec.protocol, spec.learning_rate, spec.epochs) for spec in plan.specs} == {(SHARED_LR, 0.02, 3)}
    clean = sourced(GCE, kind="study", trials=5, objective="clean-val")
    assert planned(None, clean, methods="gce").specs[0].privileges == ("clean_validation", "tuned=5")


def test_tuned_rows_stand_in_the_table_of_the_projects_grid() -> None:
    plan = planned(sourced(CE, named=False), sourced(GCE, kind="study"), methods="gce")
    assert {(spec.protocol, spec.learning_rate) for spec in plan.specs} == {(SHARED_GRID, 0.02)}


def test_a_study_holds_for_its_data_its_model_and_its_noise() -> None:
    with pytest.raises(UsageError, match=r"model cnn8 there and cnn-small here.*Tune here as well"):
        planned(None, sourced(GCE, kind="study", model="cnn8"), methods="gce")
    asym = sourced(GCE | {"noise": "asym", "rate": 0.4}, kind="study")
    with pytest.raises(UsageError, match=r"mine.toml holds no values of it for sym 0.4"):
        planned(None, asym, methods="gce", rate="0.4")
    with pytest.raises(UsageError, match="holds no values for it"):
        planned(None, asym, methods="ce")


def test_seeds_for_choosing_may_be_asked_for_and_are_told_of() -> None:
    plan = planned(methods="ce", seeds=f"{RESERVED_SEEDS}:{RESERVED_SEEDS + 1}")
    assert len(plan.specs) == 2 and "stand on no board" in plan.notes[0]
