"""Recipe files: written and read again, and every mistake named with its file and key."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.planning.recipe_files import (
    FileChoice,
    MethodRecipe,
    RecipeFile,
    check_recipe_file,
    format_recipe_file,
    parse_recipe_file,
    read_recipe_file,
    shared_recipe_file,
    write_recipe_file,
)
from bench.system.errors import UsageError

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
shares = st.floats(0, 1)
numbers = st.floats(0, 1e6)
values = st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | words
choices = st.builds(
    FileChoice,
    kind=st.just("grid"),
    objective=st.sampled_from(["noisy-val", "clean-val"]),
    noise=words,
    rate=st.none() | shares,
    seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=4),
    hold_out=st.floats(0.01, 0.99),
    held_out_labels=st.integers(1, 10**9),
    last_epochs=st.integers(1, 10),
    trials=st.integers(1, 99),
    tried=st.dictionaries(words, words, max_size=2),
    command=words,
    revision=words,
    date=st.dates(),
)
recipes = st.builds(
    MethodRecipe,
    method=words,
    method_version=st.integers(1, 9),
    choice=st.just("a choice"),
    noise=st.none() | words,
    rate=st.none() | shares,
    learning_rate=st.floats(1e-300, 1e6),
    weight_decay=numbers,
    parameters=st.dictionaries(words, values, max_size=3),
    criterion=shares,
    standard_error=numbers,
    own_criterion=st.none() | shares,
    best_criterion=st.none() | shares,
    kept=st.booleans(),
    runs=st.integers(1, 10**6),
)
SETTING: dict[str, Any] = {"data_set": "digits", "data_sha256": "d" * 64, "model": "cnn-small", "epochs": 30}
files = st.builds(
    RecipeFile,
    setting=st.fixed_dictionaries(
        {"data_set": words, "data_sha256": words, "model": words, "epochs": st.integers(1, 500)},
        optional={"imbalance": st.floats(0.01, 1), "nesterov": st.booleans(), "schedule": words},
    ).map(lambda setting: setting | {"batch_size": 64}),
    choice=st.fixed_dictionaries({"a choice": choices}),
    recipe=st.lists(
        recipes, min_size=1, max_size=4, unique_by=lambda recipe: (recipe.method, recipe.noise, recipe.rate)
    ),
)
TEXT = """\
format = 1

[setting]
data_set = "digits"
data_sha256 = "dd"
model = "cnn-small"
epochs = 30
batch_size = 64

[choice.grid]
kind = "grid"
noise = "sym"
rate = 0.4
seeds = "1000000:1000015"
hold_out = 0.1
held_out_labels = 2100
last_epochs = 3
trials = 9
command = "python -m bench tune"
date = 2026-01-02

[[recipe]]
method = "ce"
choice = "grid"
learning_rate = 0.05
weight_decay = 0
criterion = 0.5
standard_error = 0.01
kept = true
runs = 135

[[recipe]]
method = "gce"
choice = "grid"
learning_rate = 0.15
weight_decay = 0.001
criterion = 0.5
standard_error = 0.01
kept = false
runs = 135
parameters = { q = 0.7 }
"""
METHODS: dict[str, dict[str, Any]] = {
    "ce": {"name": "ce", "version": 1, "own_penalty": None, "aliases": ["cross-entropy"], "parameters": []},
    "gce": {
        "name": "gce",
        "version": 1,
        "own_penalty": None,
        "aliases": [],
        "parameters": [
            {
                "name": "q",
                "default": 0.7,
                "low": 0,
                "high": 1,
                "open_low": True,
                "open_high": False,
                "choices": [],
                "bounds": "in (0, 1]",
            }
        ],
    },
}


@given(files)
def test_what_is_written_reads_back_the_same(recipe_file: RecipeFile) -> None:
    assert parse_recipe_file(format_recipe_file(recipe_file), "it") == recipe_file


def test_a_file_is_written_whole_and_seeds_as_they_are_typed(tmp_path: Path) -> None:
    recipe_file = parse_recipe_file(TEXT, "it")
    write_recipe_file(recipe_file, tmp_path / "new" / "digits.toml")
    text = (tmp_path / "new" / "digits.toml").read_text()
    assert 'seeds = "1000000:1000015"' in text and "date = 2026-01-02" in text
    assert read_recipe_file(tmp_path / "new" / "digits.toml") == recipe_file
    assert recipe_file.choice["grid"].seeds == tuple(range(1_000_000, 1_000_015))
    assert recipe_file.choice["grid"].date == datetime.date(2026, 1, 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't write"):
        write_recipe_file(recipe_file, tmp_path / "file" / "digits.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "format 2 is newer than this release's 1; update lnl-bench"),
        ("format = 1", "", "a recipe file says its format"),
        ("format = 1", "format = true", "a recipe file says its format"),
        ("epochs = 30", "epochs = 0", "setting.epochs: must be greater than or equal to 1, not '0'"),
        ("epochs = 30\n", "", "setting.epochs: is missing"),
        ("epochs = 30", "epochs = [30]", "setting.epochs: must be a number, text, true or false"),
        ("epochs = 30", "seed = 30", "setting.seed: nothing by this name"),
        ("epochs = 30", "noise = 'sym'", "setting.noise: nothing by this name"),
        ('kind = "grid"', 'kind = "guess"', "choice.grid.kind: must be 'grid' or 'study'"),
        ("rate = 0.4", "rate = 1.4", "choice.grid.rate: must be less than or equal to 1"),
        ("rate = 0.4", "rate = nan", "choice.grid.rate"),
        ('"1000000:1000015"', '"5:3"', "choice.grid.seeds: must say at least one seed"),
        ("held_out_labels = 2100", "held_out = 2100", "choice.grid.held_out: nothing by this name"),
        ("held_out_labels = 2100", "held_out = 2100", "choice.grid.held_out_labels: is missing"),
        ("date = 2026-01-02", "date = 2026-01-42", "this is no TOML: "),
        ("[choice.grid]", "[other]", "choice: is missing"),
        ('choice = "grid"', 'choice = "gird"', "recipe.0.choice: there is no [choice.gird]"),
        ("learning_rate = 0.05", "learning_rate = 0", "recipe.0.learning_rate: must be greater than 0"),
        ("kept = true\n", "", "recipe.0.kept: is missing"),
        ("weight_decay = 0.001", "weight_decay = 'much'", "recipe.1.weight_decay: must be a valid number"),
        ('"gce"', '"ce"', "recipe.1: a second recipe of ce for the same noise and rate"),
        ("q = 0.7", "q = [1]", "recipe.1.parameters.q: must be a number, text, true or false"),
        ("runs = 135\n\n", "runs = 135\nrun = 1\n\n", "recipe.0.run: nothing by this name"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(old: str, new: str, message: str) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(UsageError) as error:
        parse_recipe_file(text, "mine.toml")
    lines = str(error.value).splitlines()
    assert any(line.startswith(f"mine.toml: {message}") for line in lines), lines
    assert len(lines) == len(set(lines)) <= 5


def test_no_kinds_are_mixed() -> None:
    study = TEXT[TEXT.index("[choice.grid]") : TEXT.index("[[recipe]]")].replace("grid", "study")
    with pytest.raises(UsageError, match="choices of both kinds"):
        parse_recipe_file(TEXT.replace("[[recipe]]", f"{study}\n[[recipe]]", 1), "it")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('method = "gce"', 'method = "gec"', ": recipe.1.method: unknown method 'gec'. Did you mean gce"),
        ('method = "ce"', 'method = "cross-entropy"', ": recipe.0.method: 'cross-entropy' is an alias: write 'ce'"),
        ("q = 0.7", "p = 0.7", ": recipe.1.parameters: the method gce has no parameter 'p'"),
        ("q = 0.7", "q = 1.5", ": recipe.1.parameters: gce[q=1.5] is out of bounds: q must be in (0, 1]"),
    ],
)
def test_what_methods_do_not_have_is_named_with_file_and_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    check_recipe_file(read_recipe_file(path), METHODS, path)
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UsageError) as error:
        check_recipe_file(read_recipe_file(path), METHODS, path)
    assert str(error.value).startswith(f"{path}{message}")


def test_parameters_of_an_older_version_are_not_todays(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace("q = 0.7", "p = 0.7", 1))
    newer = METHODS | {"gce": {**METHODS["gce"], "version": 2}}
    check_recipe_file(read_recipe_file(path), newer, path)


def test_what_is_no_recipe_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read: it isn't a regular file"):
        read_recipe_file(tmp_path)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="isn't UTF-8 text"):
        read_recipe_file(tmp_path / "bytes.toml")


def test_the_projects_own_files_are_sound() -> None:
    from bench import registry
    from bench.planning import recipe_files

    for path in recipe_files.SHARED_FOLDER.glob("*.toml"):
        recipe_file = read_recipe_file(path)
        check_recipe_file(recipe_file, registry.methods(), path)
        assert recipe_file.kind == "grid" and shared_recipe_file(
            str(recipe_file.setting["data_set"]), str(recipe_file.setting["model"])
        )
