"""Labels that people gave, typed: what is found, shown, planned and trained, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import registry
from bench.registry import lookup
from tests.datasets.official_files import human_labels, human_labels_of_100, write_human_labels
from tests.suites.peoples_cases import small_cifar

PLUGIN = Path(str(small_cifar.__file__))
PLAN = "--methods ce --epochs 1 --seeds 1 --model cnn-small --batch-size 16 --jobs 1 --protocol shared-lr --dry-run"


@pytest.fixture
def small(own: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A working folder with both label files under data/, and the small data sets registered."""
    entries = dict(registry.data_sets())
    registered = {"small10": "SmallTen", "official-tests": "OfficialTests", "small100": "SmallHundred"}
    for ours, cls in registered.items():
        name = "cifar100" if ours == "small100" else "cifar10"
        entries[ours] = entries[name] | {"name": ours, "aliases": [], "module": small_cifar.__name__, "class": cls}
    known = {"methods": registry.methods(), "noises": registry.noises(), "models": registry.models()}
    monkeypatch.setattr(lookup, "_catalogue", lambda files, cache: known | {"data_sets": entries})
    write_human_labels(own.folder / "data/CIFAR-10_human.pt", human_labels(60))
    write_human_labels(own.folder / "data/CIFAR-100_human.pt", human_labels_of_100(200))
    return own


def test_show_data_set_names_columns_and_their_file(small: Any) -> None:
    shown = small.typed("show dataset small10")
    assert "human-aggre, human-worse, human-random1, human-random2, human-random3" in shown.out
    assert "data/CIFAR-10_human.pt" in shown.out
    files = small.typed("show dataset small10 --format json").json["description"]["column_files"]
    assert ["human-worse", "data/CIFAR-10_human.pt"] in files
    (small.folder / "data/CIFAR-10_human.pt").unlink()
    gone = " ".join(small.typed("show dataset small10").out.split())
    assert "there is no CIFAR-10_human.pt in data" in gone and "CC BY-NC 4.0" in gone


@pytest.mark.parametrize(
    ("noise", "data_set", "rate"),
    [
        ("human-worse", "small10", 0.5),
        ("Human_Worst", "small10", 0.5),
        ("rand1", "small10", 1 / 6),
        ("human-noisy", "small100", 0.4),
        ("human-coarse", "small100[coarse]", 0.39),
        ("human-coarse", "small100[coarse=true]", 0.39),
    ],
)
def test_show_noise(noise: str, data_set: str, rate: float, small: Any) -> None:
    shown = small.typed(f"show noise {noise} --dataset {data_set} --format json")
    assert shown.code == 0, shown.err
    assert shown.json["rate"] is None and shown.json["realised_rate"] == pytest.approx(rate)
    assert shown.json["dataset"] == data_set.replace("=true", "")


@pytest.mark.parametrize("command", ["show noise {} --dataset {}", f"run {PLAN} --noise {{}} --dataset {{}}"])
@pytest.mark.parametrize(
    ("noise", "data_set", "reason"),
    [
        ("human-noisy", "small10", "It has --noise human-aggre"),
        ("human-worse", "digits", "cifar10, cifar100 and cifar100[coarse] have labels that people gave"),
        ("human-coarse", "small100", "--dataset cifar100[coarse]"),
        ("human-noisy", "small100[coarse]", "--dataset cifar100"),
        ("human-worse", "small10[coarse]", "can't be read at 'coarse'"),
        ("human-coarse", "small100[coarse=2]", "type small100[coarse], or small100"),
        ("human-worse:x", "small10", "takes nothing after a colon"),
    ],
)
def test_noise_that_a_data_set_has_not(command: str, noise: str, data_set: str, reason: str, small: Any) -> None:
    done = small.typed(command.format(noise, data_set))
    assert done.code == 2 and reason in " ".join(done.err.split()), done.err


def test_a_rate_is_refused(small: Any) -> None:
    done = small.typed("show noise human-worse --dataset small10 --rate 0.4")
    assert done.code == 2 and "has no rate" in done.err


@pytest.mark.parametrize(
    "command", ["show noise human-worse --dataset small10", f"run {PLAN} --noise human-worse --dataset small10"]
)
def test_other_labels_are_refused_and_hinder_no_other_noise(command: str, small: Any) -> None:
    path = small.folder / "data/CIFAR-10_human.pt"
    write_human_labels(path, {key: values[::-1].copy() for key, values in human_labels(60).items()})
    done = small.typed(command)
    assert done.code == 2 and "in another order" in done.err and not done.out, done.err
    path.write_bytes(b"")
    done = small.typed(command)
    assert done.code == 2 and "is empty (0 bytes)" in done.err and not done.out
    done = small.typed(f"run {PLAN} --noise sym --dataset small10")
    assert done.code == 0, done.err


def test_audited_test_labels_are_checked_before_anything_is_trained(small: Any) -> None:
    plan = f"run {PLAN} --noise sym --test-labels audited --dataset"
    assert small.typed(f"{plan} official-tests").code == 0
    for data_set, reason in (
        ("small10", "275 of 275 given labels differ (first: test image 20, 7 there, no image here)"),
        ("small100[coarse]", "nobody has audited the test labels of small100[coarse]"),
        ("digits", "Those of mnist, cifar10 and cifar100 have been"),
    ):
        done = small.typed(f"{plan} {data_set}")
        assert done.code == 2 and reason in " ".join(done.err.split()), done.err


def test_audited_test_labels_change_no_run(small: Any) -> None:
    plan = f"run {PLAN} --noise sym --dataset official-tests --format json"
    plain, audited = small.typed(plan), small.typed(f"{plan} --test-labels audited")
    assert plain.json["runs"] == audited.json["runs"] and plain.json["runs"]


def test_opinions_that_do_not_fit_are_left_unused_with_a_note(small: Any) -> None:
    np.save(small.folder / "data/cifar10h-counts.npy", np.ones((5, 10), np.int64))
    done = small.typed(f"run {PLAN} --noise sym --dataset small10")
    assert done.code == 0
    shown = small.typed("show dataset small10")
    for typed in (done, shown):
        assert [note for note in typed.notes if note.startswith("people's opinions on test images are left unused: ")]
    assert small.typed("show dataset cifar10").code == 0  # a file beside data that isn't there


def test_a_run_holds_the_hash_of_the_file(tmp_path: Path) -> None:
    path = write_human_labels(tmp_path / "data/CIFAR-10_human.pt", human_labels(60))
    command = [*PLAN.replace(" --dry-run", "").split(), "--dataset", "small10", "--noise", "human-worse"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", *command, "--plugin", str(PLUGIN)],
        cwd=tmp_path,
        env={**os.environ, "LNL_BENCH_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (record,) = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/record.json")]
    spec, measures = record["spec"], record["measures"]
    assert (spec["noise"], spec["rate"]) == ("human-worse", None)
    assert spec["noise_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert measures["realised_rate"] == 0.5
    assert measures["memorised"] is not None and measures["selector"]
    board = (tmp_path / "leaderboards/small10.md").read_text()
    assert "human-worse, a wrong one of three people's labels where there is one, 0.50 overall" in board
