"""`tune` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.planning import recipe_files

TINY = ("--methods", "gce", "--hold-out", "0.4", "--trials", "2", "--epochs", "2", "--finalists", "1")


def bench(*words: str, where: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=where, env=environment, capture_output=True, text=True, timeout=280
    )


@pytest.mark.slow
def test_a_small_study_from_the_command_line_to_a_run_with_its_recipe(tmp_path: Path) -> None:
    done = bench("tune", *TINY, "--format", "json", where=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (study,) = document["studies"]
    assert study["study"] == "gce/digits/sym-0.4" and study["held_out_labels"] == 2240 and study["splits"] == 4
    assert study["own"]["values"] == {"q": 0.7} and study["own"]["fresh"]["standard_error"] > 0
    assert study["dimensions"] == 1 and study["trials"] == 2 and study["last_epochs"] == 1
    assert "1 dimension (q)" in done.stderr and "trial 2/2" in done.stderr
    file = recipe_files.read_recipe_file(tmp_path / document["recipes"])
    (recipe,) = file.recipe
    assert recipe.parameters == study["chosen"]["values"] and recipe.criterion == study["chosen"]["fresh"]["mean"]
    choice = file.choice[recipe.choice]
    assert (
        choice.kind == "study"
        and choice.trials == 2
        and choice.command.startswith("python -m bench tune --methods gce")
    )
    folder = tmp_path / "leaderboards/tuning"
    page = (folder / "digits.md").read_text()
    assert "gce/digits/sym-0.4" in page and "digits-gce-sym-0.4-slice.svg" in page
    assert (folder / "digits-gce-sym-0.4-history.svg").read_text().lstrip().startswith("<?xml")

    again = bench("tune", *TINY, where=tmp_path)
    assert again.returncode == 0 and "complete/pruned/failed" in again.stdout and "2240 labels" in again.stdout
    assert "trial 2/2" not in again.stderr

    another = bench("tune", *TINY[:-3], "3", *TINY[-2:], where=tmp_path)
    assert another.returncode == 2 and "epochs 2 there and 3 here" in another.stderr
    assert "--study-name" in another.stderr and another.stdout == ""

    use = ("--methods", "gce", "--hold-out", "0.4", "--epochs", "2", "--seeds", "2", "--recipes", document["recipes"])
    used = bench("run", *use, "--dry-run", "--format", "json", where=tmp_path)
    assert used.returncode == 0, used.stderr
    spec = json.loads(used.stdout)["runs"][0]["spec"]
    assert spec["parameters"] == study["chosen"]["values"] and any(
        "tuned" in privilege for privilege in spec["privileges"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--methods", "ce"), "ce can't be tuned here: it has no parameter with a search space; add --with"),
        (("--methods", "gce", "--with", "momentum"), "--with momentum"),
        (("--methods", "gce", "--objective", "test"), "can't be reported on it"),
        (("--methods", "gce", "--trials", "none"), "--trials none: must be a whole number"),
        (("--methods", "gce", "--storage", "mongo://x"), "--storage"),
        (("--methods", "gce", "--hold-out", "0"), "--hold-out 0 holds nothing out"),
        (("--methods", "gce,gce[q=0.5]", "--with", "lr"), "names gce twice"),
        (("--methods", "nonesuch"), "unknown method 'nonesuch'"),
    ],
)
def test_wrong_requests_write_nothing(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = bench("tune", *words, where=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stdout == "", done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3 and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")
def test_ray_and_local_processes_choose_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = ("--hold-out", "0.9", "--epochs", "2", "--jobs", "2", "--format", "json")
    study = ("tune", "--methods", "gce", "--trials", "2", "--finalists", "1", *words)
    grid = ("tune", "--methods", "ce", "--grid", "shared", "--seeds", "1", *words)
    for command in (study, grid):
        documents = []
        for executor in ("local", "ray"):
            folders = ("--out", f"{executor}-runs", "--boards", f"{executor}-boards")
            done = bench(*command, "--executor", executor, *folders, where=tmp_path)
            assert done.returncode == 0, done.stderr
            documents.append(json.loads(done.stdout))
        local, ray = documents
        assert local.get("studies") == ray.get("studies") and local.get("methods") == ray.get("methods")


def test_torchrun_has_no_place_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    done = bench("tune", "--methods", "gce", where=tmp_path)
    assert done.returncode == 2 and "torchrun has no place here" in done.stderr


def test_a_dry_run_says_what_would_be_searched(tmp_path: Path) -> None:
    done = bench("tune", "--methods", "gce,anl-*,ce*", "--noise", "sym,asym", "--dry-run", where=tmp_path)
    assert done.returncode == 0
    assert "gce/digits/asym-0.4: 1 dimension (q), 30 trials of 15 runs, 2100 held-out labels" in done.stdout
    assert "alpha: log-uniform [0.1, 50], own value 1.0" in done.stdout and "left out: ce (sym)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_other_commands_do_not_import_optuna(tmp_path: Path) -> None:
    program = (
        "import sys; from bench.cli.main import main; main(['run', '--dry-run', '--methods', 'ce']);"
        "assert 'optuna' not in sys.modules; main(['tune', '--dry-run', '--methods', 'gce']);"
        "assert not {'optuna', 'torch', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
