"""Vectors as a user types them: plans of all methods, runs, boards, resuming, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.cli.main import main
from bench.memory.footprint import DataSizes
from bench.planning.image_placement import choose_placement
from bench.records.store import Store
from bench.registry import load_method
from bench.spec import RunSpec, Runtime
from bench.training.noisy_data import build_noisy_data, build_trainer
from bench.training.outcome import Interrupted
from bench.training.run import run_spec
from datasets.features import Features
from datasets.interface import Options
from datasets.samples import VectorShape
from methods.interface import Setting

Make = Callable[..., tuple[RunSpec, Runtime]]
SHORT = ("--seeds", "1", "--jobs", "1", "--epochs", "1", "--noise", "sym")


def write_arrays(folder: Path, length: int = 6, views: int = 3, rows: int = 90) -> str:
    """A file of vectors in three classes that a linear layer tells apart."""
    draw = np.random.Generator(np.random.PCG64(0))
    labels = np.arange(rows) % 3
    features = draw.normal(size=(rows, views, length)) + 3 * (np.arange(length) % 3 == labels[:, None])[:, None]
    np.savez(folder / "own.npz", features=features.astype(np.float16), labels=labels)
    return f"features:{folder / 'own.npz'}"


def write_table(folder: Path) -> str:
    """A person's table: names of classes, an id, a remark, a column of second opinions."""
    draw = np.random.Generator(np.random.PCG64(1))
    rows = ["id,length,width,species,second_opinion_label,remark"]
    for number in range(60):
        kind, other = ("ant", "bee")[number % 2], ("ant", "bee")[(number + (number % 7 == 0)) % 2]
        size = draw.normal(size=2) + 2 * (number % 2)
        rows.append(f"{number},{size[0]:.3f},{size[1]:.3f},{kind},{other},seen on day {number}")
    (folder / "insects.csv").write_text("\n".join(rows))
    return f"table[label=species]:{folder / 'insects.csv'}"


def typed(folder: Path, *words: str) -> int:
    """Run a command with its outputs in a folder."""
    return main([*words, "--out", str(folder / "runs"), "--boards", str(folder / "boards")])


def records(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "runs").glob("*/record.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def board(folder: Path) -> str:
    (page,) = (folder / "boards").glob("*.md")
    return page.read_text(encoding="utf-8")


def test_all_methods_plan_and_those_for_images_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("run", "--methods", "all", "--dataset", write_arrays(tmp_path), *SHORT, "--dry-run")
    assert main([*words, "--out", str(tmp_path / "runs")]) == 0
    shown = "".join(capsys.readouterr())
    assert "left out" in shown and "flsc" in shown and "needs images" in shown
    assert "1 x 1" not in shown and "1x1" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("length", [3, 2000])
def test_methods_train_and_the_board_speaks_of_vectors(length: int, tmp_path: Path) -> None:
    methods = "ce,ce-strong,mixup,elr" if length == 3 else "gce"
    data = write_arrays(tmp_path, length)
    assert typed(tmp_path, "run", "--methods", methods, "--dataset", data, *SHORT) == 0
    found = records(tmp_path)
    assert {record["spec"]["method"] for record in found} == set(methods.split(","))
    spec = found[0]["spec"]
    assert spec["model"] == "mlp" and spec["augmentation"] == "view" and spec["strong_augmentation"] == "view+dropout20"
    assert found[0]["measures"]["vectors"] == {"length": length, "views": 3}
    page = board(tmp_path)
    assert f"training vectors of {length:,} numbers (2 further views of each)" in page and "test vectors with" in page


@pytest.mark.slow
def test_a_persons_table_just_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_table(tmp_path)
    words = ("run", "--methods", "ce", "--dataset", data, "--seeds", "1", "--jobs", "1", "--epochs", "30")
    assert (
        typed(tmp_path, *words, "--noise", "column:second_opinion_label", "--labels-are-clean", "--model", "linear")
        == 0
    )
    (record,) = records(tmp_path)
    assert (
        record["measures"]["test_accuracy"] > 0.8 and record["spec"]["data_set"] == "table[label=species]:insects.csv"
    )
    assert record["measures"]["realised_rate"] == pytest.approx(1 / 7, abs=0.05)
    assert "2 columns of insects.csv are neither features nor labels" in capsys.readouterr().err
    assert main(["show", "dataset", data]) == 0
    assert "vectors of 2 numbers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "cnn-small"), "is for images, and these samples are vectors of 6 numbers"),
        (("--model", "timm:resnet18"), "Type --model linear or --model mlp"),
        (("--augment", "crop4+flip"), "crop is a step on images"),
        (("--image-size", "8"), "--image-size is for images"),
        (("--methods", "flsc"), "flsc can't run here: it looks at a network's feature maps, so it needs images"),
        (("--protocol", "paper"), "is for images"),
    ],
)
def test_what_is_for_images_is_refused(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("run", "--methods", "ce", "--dataset", write_arrays(tmp_path), *SHORT)
    if "--methods" in options:
        words = (*words[:1], *words[3:])
    assert typed(tmp_path, *words, *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("error:") == 1
    assert not (tmp_path / "runs").exists() and not (tmp_path / "boards").exists()


def test_what_is_no_number_ends_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "own.npz", features=np.full((9, 2), np.nan), labels=np.arange(9) % 3)
    data = f"features:{tmp_path / 'own.npz'}"
    assert typed(tmp_path, "run", "--methods", "ce", "--dataset", data, *SHORT) == 2
    error = capsys.readouterr().err
    assert "9 of 9 rows of features have numbers that are missing" in error and error.count("error:") == 1
    assert not (tmp_path / "runs").exists() and not (tmp_path / "boards").exists()


def test_a_check_of_a_copy_speaks_of_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_arrays(tmp_path).partition(":")[2]
    assert main(["show", "dataset", "features", "--check", path]) == 0
    shown = capsys.readouterr().out
    assert "6 numbers, 3 views of each training vector" in shown and "height" not in shown


def test_steps_on_vectors_are_refused_for_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed(tmp_path, "run", "--methods", "ce", "--dataset", "digits", *SHORT, "--augment", "view") == 2
    assert "view is a step on vectors, and these are images" in capsys.readouterr().err


@pytest.fixture
def make_on_vectors(make: Make, tmp_path: Path) -> Make:
    """Spec and runtime of a tiny run on vectors."""
    data = write_arrays(tmp_path, rows=60)
    sha256 = Features(Options(cache=tmp_path / "cache"), data.partition(":")[2]).content_hash()

    def build(method: str, **fields: Any) -> tuple[RunSpec, Runtime]:
        values = {"model": "mlp", "augmentation": "view", "strong_augmentation": "view+dropout20"}
        values |= {"data_set": "features:own.npz", "data_sha256": sha256, "batch_size": 16}
        spec, runtime = make(method, **values, **fields)
        return spec, runtime.model_copy(update={"data_source": data})

    return build


@pytest.mark.slow
def test_every_method_trains_on_vectors_or_says_why_not(method: str, make_on_vectors: Make) -> None:
    spec, runtime = make_on_vectors(method, epochs=1)
    made = load_method(method)(**spec.parameters)
    of_spec = {name: getattr(spec, name) for name in ("noise", "rate", "epochs", "batch_size", "augmentation")}
    given = frozenset({"noise_rate", "transition_matrix", "clean_labels"})
    setting = Setting(
        data_set="own", classes=3, samples=48, image_shape=(1, 1, 6), given=given, is_vector=True, **of_spec
    )
    reason = made.unsuitable(setting)
    if reason is not None:
        assert (method == "flsc" and "needs images" in reason) or "vector" not in reason
        return
    problem = build_noisy_data(spec, runtime)
    trainer = build_trainer(problem, spec, torch.device("cpu"))
    assert all(math.isfinite(done.train_loss) for done in trainer.epochs())
    for network in trainer.networks:
        network.module.eval()
    with torch.no_grad():
        scores = trainer.method.predict(trainer.networks, trainer.batch_loader.store.plain(torch.arange(8)))
    assert torch.allclose(scores.exp().sum(dim=1), torch.ones(8), atol=1e-5)


@pytest.mark.parametrize("method_name", ["sop+", "dividemix"])
def test_a_run_on_vectors_goes_on_where_it_stopped(method_name: str, make_on_vectors: Make, tmp_path: Path) -> None:
    spec, runtime = make_on_vectors(method_name, epochs=3)
    whole, torn = Store(tmp_path / "whole"), Store(tmp_path / "torn")
    run_spec(spec, runtime, whole, lambda done, total: None)
    done_now = [0]

    def note_progress(done: int, total: int) -> None:
        done_now[0] = done

    with pytest.raises(Interrupted):
        run_spec(spec, runtime, torn, note_progress, lambda: done_now[0] > 0)
    run_spec(spec, runtime, torn, lambda done, total: None)
    first, second = (store.read(spec.run_id) or {} for store in (whole, torn))
    assert {**first, "provenance": None} == {**second, "provenance": None} and first["measures"]["vectors"]


@pytest.mark.parametrize("model", ["mlp", "linear"])
def test_images_are_flattened(model: str, make: Make, tmp_path: Path) -> None:
    spec, runtime = make("mixup", model=model, epochs=1)
    store = Store(tmp_path / "runs")
    run_spec(spec, runtime, store, lambda done, total: None)
    record = store.read(spec.run_id)
    assert record is not None and "vectors" not in record["measures"]


def test_memory_of_vectors_is_that_of_their_floats_and_views() -> None:
    vectors = VectorShape(2000, 4, 2)
    sizes = DataSizes(10, vectors.image_shape, 60_000, 50_000, 10_000, vectors=vectors)
    assert sizes.values == 2000 and sizes.sample_bytes == 16_000
    placement = choose_placement("auto", 60_000, vectors.image_shape, 0, "cpu", 1, (1e9, 1e9), vectors)
    assert placement.where == "disk" and "916 MiB of vectors" in placement.why and "border" not in placement.why
