"""The shared grid: what is tried for a method, and the file that says what was chosen."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import registry
from bench.execution.worker import load_file
from bench.planning import recipe_files
from bench.planning.recipe_files import FileChoice
from bench.spec import RunSpec
from bench.system.errors import UsageError
from bench.tuning.grid import candidates, grid_file, grid_page, successive_halving
from bench.tuning.grid.candidates import grid_points

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
fake_grid: ModuleType = load_file(Path(__file__).parents[1] / "fake_grid.py")

CE, SPEC = fake_grid.CE, fake_grid.SPEC
DELTA = {"name": "delta", "low": 0, "high": 1e-3, "open_low": False, "open_high": False, "choices": []}
ANL = CE | {"name": "anl", "weight_decay": 0.0, "own_penalty": "delta", "parameters": [DELTA]}


def tried(spec: RunSpec, declaration: dict[str, Any]) -> list[tuple[float, float, Any]]:
    points = grid_points(spec, declaration)
    return [(point.learning_rate, point.weight_decay, dict(point.parameters).get("delta")) for point in points]


def test_nine_settings_of_learning_rate_and_weight_decay_the_methods_own_first() -> None:
    settings = tried(SPEC, CE)
    assert settings[0] == (0.05, 1e-4, None) and len(settings) == 9
    assert {rate for rate, _, _ in settings} == {0.0166667, 0.05, 0.15}
    assert {decay for _, decay, _ in settings} == {0.0, 1e-4, 1e-3}


def test_own_values_beside_the_grid_are_tried_as_well() -> None:
    settings = tried(SPEC.model_copy(update={"weight_decay": 5e-4}), CE)
    assert settings[0] == (0.05, 5e-4, None) and len(settings) == 10


def test_a_penalty_of_the_methods_own_stands_in_for_weight_decay_within_its_bounds() -> None:
    spec = SPEC.model_copy(update={"weight_decay": 0.0, "parameters": {"delta": 5e-5, "alpha": 1.0}})
    settings = tried(spec, ANL)
    assert settings[0] == (0.05, 0.0, 5e-5) and len(settings) == 9
    assert {(decay, delta) for _, decay, delta in settings} == {(0.0, 5e-6), (0.0, 5e-5), (0.0, 5e-4)}
    assert all(dict(point.parameters)["alpha"] == 1.0 for point in grid_points(spec, ANL))
    near_the_edge = spec.model_copy(update={"parameters": {"delta": 5e-4}})
    assert {delta for _, _, delta in tried(near_the_edge, ANL)} == {5e-5, 5e-4}
    off = spec.model_copy(update={"parameters": {"delta": 0.0}})
    assert [(rate, delta) for rate, _, delta in tried(off, ANL)] == [(0.05, 0.0), (0.0166667, 0.0), (0.15, 0.0)]


def test_without_either_there_are_learning_rates_alone() -> None:
    assert len(tried(SPEC.model_copy(update={"weight_decay": 0.0}), ANL | {"own_penalty": None})) == 3


@given(st.floats(1e-6, 10), st.floats(0, 1))
def test_own_values_come_first_and_exactly_once(learning_rate: float, weight_decay: float) -> None:
    spec = SPEC.model_copy(update={"learning_rate": learning_rate, "weight_decay": weight_decay})
    points = grid_points(spec, CE)
    assert points[0].apply(spec) == spec and 9 <= len(points) <= 10 and len(set(points)) == len(points)


def test_whatever_declares_a_penalty_has_such_a_parameter_and_no_weight_decay_beside_it() -> None:
    declared = {name: entry for name, entry in registry.methods().items() if entry["own_penalty"] is not None}
    assert {"anl-ce", "anl-fl", "anl-ce-er", "jal-ce"} <= set(declared)
    for entry in declared.values():
        assert entry["own_penalty"] in {parameter["name"] for parameter in entry["parameters"]}
        assert entry["weight_decay"] is not None


# The file ------------------------------------------------------------------------------------------------------------


def choice(labels: int = 2100, command: str = "tune") -> FileChoice:
    file_choice: FileChoice = fake.choice(seeds=(candidates.FIRST_SEED,), held_out_labels=labels, command=command)
    return file_choice


def entries(*methods: str) -> list[Any]:
    candidates_of_ce = fake_grid.method_candidates()
    entry = successive_halving.recipe_entry(
        successive_halving.choose_point(candidates_of_ce, (), fake_grid.recorded(candidates_of_ce, {})), "grid"
    )
    assert entry is not None
    return [entry.model_copy(update={"method": method}) for method in methods]


def test_a_new_choice_replaces_its_methods_and_leaves_the_others_with_how_they_were_chosen(tmp_path: Path) -> None:
    path = tmp_path / "shared-digits.toml"
    recipe_files.write_recipe_file(grid_file.merge_grid_files(None, SPEC, choice(), entries("ce", "gce")), path)
    before = grid_file.previous_grid_file(path, SPEC, 2100)
    after = grid_file.merge_grid_files(before, SPEC, choice(command="again"), entries("gce", "elr"))
    assert [(recipe.method, recipe.choice) for recipe in after.recipe] == [
        ("ce", "grid"),
        ("elr", "grid-2"),
        ("gce", "grid-2"),
    ]
    assert (after.choice["grid"].command, after.choice["grid-2"].command) == ("tune", "again")
    same = grid_file.merge_grid_files(before, SPEC, choice(), entries("elr"))
    assert list(same.choice) == ["grid"] and [recipe.method for recipe in same.recipe] == ["ce", "elr", "gce"]
    replaced = grid_file.merge_grid_files(before, SPEC, choice(command="again"), entries("ce", "gce"))
    assert {name: entry.command for name, entry in replaced.choice.items()} == {"grid": "again"}


def test_settings_are_not_mixed_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "shared-digits.toml"
    recipe_files.write_recipe_file(grid_file.merge_grid_files(None, SPEC, choice(), entries("ce")), path)
    with pytest.raises(UsageError, match=r"another setting \(epochs 30 there and 2 here\)"):
        grid_file.previous_grid_file(path, SPEC.model_copy(update={"epochs": 2}), 2100)
    assert grid_file.previous_grid_file(tmp_path / "none.toml", SPEC, 2100) is None


def test_a_few_labels_never_replace_many_and_many_replace_few(tmp_path: Path) -> None:
    path = tmp_path / "shared-digits.toml"
    recipe_files.write_recipe_file(grid_file.merge_grid_files(None, SPEC, choice(), entries("ce")), path)
    with pytest.raises(UsageError, match=r"rests on 2,100 held-out labels, and these seeds give 280"):
        grid_file.previous_grid_file(path, SPEC, 280)
    recipe_files.write_recipe_file(grid_file.merge_grid_files(None, SPEC, choice(280), entries("ce")), path)
    assert grid_file.previous_grid_file(path, SPEC, 2100) is None
    assert grid_file.previous_grid_file(path, SPEC, 280) is not None


def test_the_projects_own_file_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared_recipes"
    monkeypatch.setattr(recipe_files, "SHARED_FOLDER", shared)
    recipe_files.write_recipe_file(
        grid_file.merge_grid_files(None, SPEC, choice(), entries("ce")), shared / "digits.toml"
    )
    previous = grid_file.previous_grid_file(tmp_path / "none.toml", SPEC, 2100)
    assert previous is not None and previous.of("ce")
    assert grid_file.previous_grid_file(tmp_path / "none.toml", SPEC, 280) is None
    assert grid_file.previous_grid_file(tmp_path / "none.toml", SPEC.model_copy(update={"model": "cnn8"}), 2100) is None
    assert (
        grid_file.previous_grid_file(tmp_path / "none.toml", SPEC.model_copy(update={"data_set": "digits2"}), 2100)
        is None
    )


def test_the_page_says_what_each_method_trains_with_and_how_it_was_chosen(tmp_path: Path) -> None:
    path = tmp_path / "shared-digits.toml"
    recipe_files.write_recipe_file(grid_file.merge_grid_files(None, SPEC, choice(), entries("ce", "gce")), path)
    alone = grid_page.shared_grid_page(recipe_files.read_recipe_file(path), registry.methods(), path.name)
    assert alone.startswith("# The shared grid: digits\n") and "0 of 2 methods train with other values" in alone
    assert "Made by\n\n    tune\n" in alone and "2,100 held-out labels in all, in 36 runs" in alone
    (anl,) = entries("anl-ce")
    anl = anl.model_copy(update={"parameters": {"delta": 1e-5}, "kept": False, "own_criterion": None})
    after = grid_file.merge_grid_files(recipe_files.read_recipe_file(path), SPEC, choice(command="again"), [anl])
    both = grid_page.shared_grid_page(after, registry.methods(), path.name)
    assert "1 of 3 methods trains with other values" in both
    assert "Made (ce, gce) by" in both and "Made (anl-ce) by\n\n    again\n" in both
    row = next(line for line in both.splitlines() if line.startswith("| anl-ce"))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "anl-ce",
        "0.05",
        "delta 1e-05",
        "25.0 ± 2.6",
        "–",
        "25.0",
        "the best",
    ]
