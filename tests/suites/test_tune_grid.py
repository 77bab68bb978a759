"""`tune --grid shared` and the recipes it writes, typed: choose, train with the choice, stop, repeat, and mistakes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.planning import recipe_files
from bench.records.store import Store
from bench.spec import RESERVED_SEEDS

HOME = Path(__file__).resolve().parents[2]
TINY = "--dataset digits --epochs 2 --train-size 100 --precision fp32"
TUNE = f"tune --grid shared --methods ce,anl-ce {TINY} --seeds 1 --jobs 1"

Done = subprocess.CompletedProcess[str]
Type = Callable[..., Done]


def type_in(folder: Path, line: str) -> Done:
    return subprocess.run(
        [sys.executable, "-m", "bench", *line.split()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def grid_done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A folder in which the grid was carried out for two methods, and what that printed."""
    folder = tmp_path_factory.mktemp("grid")
    return folder, type_in(folder, TUNE)


@pytest.fixture
def folder(grid_done: tuple[Path, Done], tmp_path: Path) -> Path:
    """A copy of that folder, to change."""
    return Path(shutil.copytree(grid_done[0], tmp_path / "copy"))


@pytest.fixture
def typed(folder: Path) -> Type:
    """Carries out a command line in that copy."""
    return lambda line: type_in(folder, line)


def test_the_grid_chooses_writes_a_file_and_says_what_it_cost(grid_done: tuple[Path, Done]) -> None:
    folder, done = grid_done
    assert done.returncode == 0, done.stderr
    assert "own values" in done.stdout and "2 methods chosen for" in done.stdout
    assert "cost: 18 runs" in done.stdout and "10 held-out labels in all, fewer than the 2,000" in done.stderr
    file = recipe_files.read_recipe_file(folder / "leaderboards/tuning/shared-digits.toml")
    assert [(recipe.method, recipe.runs) for recipe in file.recipe] == [("anl-ce", 9), ("ce", 9)]
    (choice,) = file.choice.values()
    assert (choice.noise, choice.rate, choice.seeds, choice.held_out_labels) == ("sym", 0.4, (RESERVED_SEEDS,), 10)
    assert "tune --grid shared --methods ce,anl-ce" in choice.command and choice.objective == "noisy-val"
    assert file.setting["epochs"] == 2 and file.setting["train_size"] == 100
    assert "| ce " in (folder / "leaderboards/tuning/shared-digits.md").read_text()


def test_a_repeated_grid_trains_nothing_and_writes_the_same(folder: Path, typed: Type) -> None:
    path = folder / "leaderboards/tuning/shared-digits.toml"
    before = path.read_bytes()
    records = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/record.json")}
    done = typed(f"{TUNE} --format json")
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/record.json")} == records
    assert path.read_bytes() == before
    document = json.loads(done.stdout)
    assert [method["method"] for method in document["methods"]] == ["anl-ce", "ce"] and document["cost"]["runs"] == 18
    assert document["cost"]["seconds"] > 0 and document["cost"]["forward_passes"] > 0
    assert all(len(method["settings"]) == 9 for method in document["methods"])
    assert {setting["penalty"] for setting in document["methods"][0]["settings"]} == {1e-7, 1e-6, 1e-5}


def test_a_dry_run_says_what_is_there_and_writes_nothing(folder: Path, typed: Type) -> None:
    shutil.rmtree(folder / "leaderboards")
    done = typed(f"{TUNE.replace('--seeds 1', '--seeds 2')} --dry-run")
    assert done.returncode == 0, done.stderr
    assert "36 runs: 18 stored, 18 to train" in done.stdout and "expected cost" in done.stdout
    assert not (folder / "leaderboards").exists()
    document = json.loads(typed(f"{TUNE} --dry-run --format json").stdout)
    assert (document["stored"], document["to_train"], len(document["runs"])) == (18, 0, 18)


def test_a_lost_record_is_trained_again_and_the_choice_is_the_same(folder: Path, typed: Type) -> None:
    path = folder / "leaderboards/tuning/shared-digits.toml"
    before = recipe_files.read_recipe_file(path).recipe
    store = Store(folder / "runs")
    lost = sorted(store.finished())[0]
    shutil.rmtree(store.folder(lost))
    assert typed(TUNE).returncode == 0
    assert store.has(lost) and recipe_files.read_recipe_file(path).recipe == before


def test_a_setting_that_diverged_is_not_chosen_and_not_trained_again(folder: Path, typed: Type) -> None:
    store = Store(folder / "runs")
    record = max(store.records(), key=lambda record: record["curves"]["noisy_holdout_accuracy"][-1])
    from bench.spec import RunSpec

    spec = RunSpec(**record["spec"])
    shutil.rmtree(store.folder(spec.run_id))
    store.write_failure(spec, "diverged in epoch 1: the loss is nan", epoch=1)
    done = typed(TUNE)
    assert done.returncode == 0, done.stderr
    assert "1 settings diverged" in done.stdout and not store.has(spec.run_id)


def test_the_better_half_of_the_settings_goes_on_to_further_splits(tmp_path: Path) -> None:
    line = "tune --grid shared --methods ce --dataset digits --epochs 2 --train-size 400 --hold-out 0.5 --seeds 3"
    planned = type_in(tmp_path, f"{line} --dry-run")
    assert "18 runs: 0 stored, 18 to train" in planned.stdout, planned.stderr
    assert "then the better half of each method's settings goes on: at most 6 runs more" in planned.stdout
    done = type_in(tmp_path, f"{line} --format json")
    assert done.returncode == 0, done.stderr
    assert "(after 2 of them the better half of a method's settings goes on)" in done.stderr
    (method,) = json.loads(done.stdout)["methods"]
    splits = [setting["splits"] for setting in method["settings"]]
    going = splits.count(3)
    assert splits[0] == 3 and going in (5, 6) and splits.count(2) == 9 - going
    assert f"{going} of 9 settings go on" in done.stderr
    assert [setting["held_out_labels"] for setting in method["settings"]] == [200 * count for count in splits]
    assert len(Store(tmp_path / "runs").finished()) == 18 + going
    (recipe,) = recipe_files.read_recipe_file(tmp_path / "leaderboards/tuning/shared-digits.toml").recipe
    assert recipe.runs == 18 + going
    again = type_in(tmp_path, f"{line} --dry-run")
    assert f"{18 + going} runs: {18 + going} stored, 0 to train" in again.stdout and "then" not in again.stdout


def test_runs_for_choosing_stand_on_no_board(folder: Path, typed: Type) -> None:
    done = typed("report")
    assert done.returncode == 2 and "seeds for choosing" in done.stderr
    assert typed(f"run --methods ce {TINY} --seeds 1 --jobs 1").returncode == 0
    board = json.loads(typed("report --format json").stdout)
    assert [(row["method"], row["n"]) for row in board["settings"][0]["rows"] if not row["derived"]] == [("ce", 1)]


def test_what_was_chosen_on_enough_labels_is_trained_with_for_every_noise(folder: Path, typed: Type) -> None:
    path = folder / "leaderboards/tuning/shared-digits.toml"
    few = typed(f"run --methods ce,anl-ce {TINY} --recipes {path.relative_to(folder)} --seeds 1 --dry-run")
    assert few.returncode == 2 and "rests on 10 held-out labels, and the shared protocol wants 2,000" in few.stderr
    text = path.read_text().replace("held_out_labels = 10", "held_out_labels = 2100")
    path.write_text(text.replace("learning_rate = 0.05", "learning_rate = 0.04"))
    line = f"run --methods ce,anl-ce {TINY} --noise sym,asym --recipes leaderboards/tuning/shared-digits.toml"
    done = typed(f"{line} --seeds 1 --jobs 1 --format json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [setting["heading"] for setting in document["settings"]] == ["asym 0.4 · shared", "sym 0.4 · shared"]
    chosen = {recipe.method: recipe.learning_rate for recipe in recipe_files.read_recipe_file(path).recipe}
    for setting in document["settings"]:
        rows = {row["method"]: row["learning_rate"] for row in setting["rows"] if not row["derived"]}
        assert rows == chosen
        assert "--recipes leaderboards/tuning/shared-digits.toml" in setting["command"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{TUNE} --lr 0.1", "--lr"),
        (f"tune --grid shared --methods gce[q=0.5] {TINY}", "type gce without parameters"),
        (f"{TUNE} --hold-out 0", "holds nothing out"),
        (TUNE.replace("--seeds 1", "--seeds 5:8"), "--seeds 5:8: with --grid it is a number of splits"),
        (TUNE.replace("--seeds 1", "--seeds 0"), "--seeds 0"),
        ("tune --grid other", "--grid"),
        ("tune --grid shared --methods gec", "Did you mean gce"),
        (TUNE.replace("--epochs 2", "--epochs 3"), "another setting (epochs 2 there and 3 here)"),
        (TUNE.replace("--train-size 100", "--train-size 20") + " --hold-out 0.05", "another setting"),
        ("run --methods ce --recipes nowhere.toml", "--recipes nowhere.toml: it is neither plain nor published"),
        ("run --methods ce --recipes .", "--recipes .: it is neither"),
        ("run --methods ce --recipes broken.toml", "broken.toml: this is no TOML"),
        ("run --methods ce --recipes newer.toml", "newer.toml: format 99 is newer"),
        ("run --methods ce --recipes unknown.toml", "unknown.toml: recipe.1.method: unknown method"),
        (f"run --methods ce {TINY} --recipes other.toml", "data set digits2 there and digits here"),
        (f"run --methods gce {TINY} --recipes enough.toml", "gce: enough.toml holds no values for it"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(folder: Path, typed: Type, line: str, message: str) -> None:
    good = (folder / "leaderboards/tuning/shared-digits.toml").read_text()
    enough = good.replace("held_out_labels = 10", "held_out_labels = 2100")
    (folder / "broken.toml").write_text("format = 1\nformat 2\n")
    (folder / "newer.toml").write_text("format = 99\n")
    (folder / "unknown.toml").write_text(good.replace('method = "ce"', 'method = "cee"'))
    (folder / "other.toml").write_text(enough.replace('data_set = "digits"', 'data_set = "digits2"'))
    (folder / "enough.toml").write_text(enough)
    before = sorted(str(path) for path in folder.rglob("*"))
    done = typed(line)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert done.stdout == "" and sorted(str(path) for path in folder.rglob("*")) == before
