"""The project's own choice for a data set: in force for every plain request, and in the commands under boards."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.execution.worker import load_file
from bench.planning import recipe_files
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.recipe_files import MethodRecipe, RecipeFile, recipe_setting
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.reporting.reproduce import shortest_command
from bench.spec import SHARED_GRID, SHARED_LR

records: Any = load_file(Path(__file__).parents[1] / "fake_records.py")
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file for digits among the project's own: ce with another learning rate, anl-ce with another penalty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe_files, "SHARED_FOLDER", tmp_path / "shared_recipes")
    request = Request.typed(methods="ce,anl-ce", seeds="1")
    ce, anl = make_plan(request, gather_facts(validate_request(request))).specs
    how: dict[str, Any] = {"choice": "grid", "criterion": 0.5, "standard_error": 0.01, "kept": False, "runs": 9}
    recipes = (
        MethodRecipe(method="ce", learning_rate=0.15, weight_decay=1e-3, **how),
        MethodRecipe(
            method="anl-ce", learning_rate=0.05, weight_decay=0, parameters=anl.parameters | {"delta": 1e-5}, **how
        ),
    )
    path = tmp_path / "shared_recipes" / "digits.toml"
    recipe_files.write_recipe_file(
        RecipeFile(setting=recipe_setting(ce), choice={"grid": records.choice()}, recipe=recipes), path
    )
    return path


def planned(line: str, capsys: Captured) -> tuple[list[dict[str, Any]], str]:
    capsys.readouterr()
    assert main([*shlex.split(line), "--dry-run", "--format", "json"]) == 0
    said = capsys.readouterr()
    return [run["spec"] for run in json.loads(said.out)["runs"]], said.err


def test_a_plain_request_trains_by_the_projects_own_file(own_file: Path, capsys: Captured) -> None:
    specs, said = planned("run --methods ce,anl-ce --noise sym,asym --seeds 1", capsys)
    values = {(each["method"], each["learning_rate"], each["weight_decay"]) for each in specs}
    assert values == {("ce", 0.15, 1e-3), ("anl-ce", 0.05, 0.0)} and "note" not in said
    assert {each["protocol"] for each in specs} == {SHARED_GRID}
    assert {each["parameters"]["delta"] for each in specs if each["method"] == "anl-ce"} == {1e-5}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--protocol shared-lr", ""),
        ("--lr 0.3", ""),
        ("--epochs 3", "digits.toml was chosen in another setting (epochs 30 there and 3 here)"),
        ("--model cnn4", "model cnn-small there and cnn4 here"),
        ("--methods gce", "gce: digits.toml holds no values for it"),
    ],
)
def test_elsewhere_all_methods_have_the_data_sets_learning_rate_and_a_note_says_why(
    own_file: Path, options: str, told: str, capsys: Captured
) -> None:
    specs, said = planned(f"run --methods ce --seeds 1 {options}", capsys)
    assert {each["protocol"] for each in specs} == {SHARED_LR}
    assert told in said and ("note: " in said) == bool(told)


def test_all_leaves_out_what_the_file_lacks(own_file: Path, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["run", "--seeds", "1", "--dry-run", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {run["spec"]["method"] for run in told["runs"]} == {"ce", "anl-ce"}
    assert any(each["method"] == "gce" and "tune --grid shared" in each["reason"] for each in told["left_out"])


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("run --methods ce,anl-ce --seeds 2", "--methods all --dataset digits --noise sym --rate 0.4 --seeds 2"),
        ("run --methods ce --seeds 2", "--methods ce --dataset digits --noise sym --rate 0.4 --seeds 2"),
        (
            "run --methods ce --seeds 2 --protocol shared-lr",
            "--methods ce --dataset digits --protocol shared-lr --noise sym --rate 0.4 --seeds 2",
        ),
    ],
)
def test_the_command_under_a_board_asks_for_the_same_runs(
    own_file: Path, line: str, command: str, capsys: Captured
) -> None:
    specs, _ = planned(line, capsys)
    found = shortest_command(specs)
    assert found is not None
    assert sorted(shlex.split(found.command)[4:]) == sorted(shlex.split(command))
    same, _ = planned(" ".join(shlex.split(found.command)[3:]), capsys)
    assert sorted(map(json.dumps, same)) == sorted(map(json.dumps, specs))
