"""Requests of every kind, from the typed line to the board. Runs are carried out in this process, to be quick."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main

Captured = pytest.CaptureFixture[str]
CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def photos(here: Path) -> Path:
    """photos/CLASS/*.png, 20 of each of three classes, 8 x 8 in colour; table.csv with a second opinion on each."""
    pixels = np.random.Generator(np.random.PCG64(0))
    rows = [("path", "label", "second", "split", "remark")]
    for number, name in enumerate(CLASSES):
        (here / "photos" / name).mkdir(parents=True)
        for each in range(20):
            image = pixels.normal(60 + 70 * number, 30, (8, 8, 3)).clip(0, 255).astype(np.uint8)
            path = f"photos/{name}/{each}.png"
            Image.fromarray(image).save(here / path)
            second = CLASSES[(number + 1) % 3] if each % 4 == 0 else name
            rows.append((path, name, second, "test" if each >= 15 else "train", f"no. {each}"))
    with (here / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return here


def typed(capsys: Captured, line: str) -> Any:
    """The one JSON document that a command leaves on standard output."""
    assert main([*line.split(), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def records(folder: Path) -> list[dict[str, Any]]:
    """Every record of a folder, in the order of seeds."""
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/record.json")]
    return sorted(found, key=lambda record: (record["spec"]["seed"], record["spec"]["noise"]))


def test_a_table_with_a_label_column_and_drawn_noise(photos: Path, capsys: Captured) -> None:
    (photos / "t.csv").write_text("0.7,0.2,0.1\n0.1,0.8,0.1\n0,0.4,0.6\n")
    noises = "column:second,sym,none,pairflip,matrix:t.csv"
    board = typed(
        capsys, f"run --dataset table:table.csv --noise {noises} --rate 0.4 --methods ce --seeds 1 --epochs 1"
    )
    headings = {(table["noise"], table["rate"]) for table in board["settings"]}
    assert headings == {
        ("column:second", None),
        ("sym", 0.4),
        ("as-given", None),
        ("pairflip", 0.4),
        ("matrix:t.csv", None),
    }
    realised = {record["spec"]["noise"]: record["measures"]["realised_rate"] for record in records(photos)}
    assert realised["as-given"] is None, "nobody knows how many labels of one's own data are wrong"
    assert realised["column:second"] == pytest.approx(12 / 45)
    assert realised["sym"] == pytest.approx(18 / 45)
    assert {record["spec"]["data_set"] for record in records(photos)} == {"table:table.csv"}
    assert (photos / "leaderboards" / "table-table.csv.md").exists()


def test_a_folder_with_a_seeded_split(photos: Path, capsys: Captured) -> None:
    board = typed(capsys, "run --dataset folder:photos --noise sym --methods ce,forward --seeds 2 --epochs 1")
    (table,) = board["settings"]
    assert {row["method"]: row["n"] for row in table["rows"] if not row["derived"]} == {"ce": 2, "forward": 2}
    samples = [record["measures"]["samples"] for record in records(photos)]
    assert all(sum(each.values()) == 60 and each["test"] == 12 for each in samples)
    assert len({record["measures"]["labels_sha256"] for record in records(photos)}) == 2


def test_generated_images_a_long_tail_and_a_part_of_the_data(here: Path, capsys: Captured) -> None:
    data = "synthetic[classes=4,size=8,train=120,test=20]"
    typed(capsys, f"run --dataset {data} --imbalance 0.2 --train-size 40 --methods ce --seeds 1 --epochs 1")
    (record,) = records(here)
    assert record["spec"]["imbalance"] == 0.2
    assert record["measures"]["samples"] == {"train": 36, "holdout": 4, "test": 20}
    assert record["measures"]["classes"] == 4


def test_the_paper_protocol_with_fewer_epochs(here: Path, capsys: Captured) -> None:
    line = "run --dataset digits --protocol paper --methods ce,nce+rce --epochs 2 --train-size 60 --seeds 1"
    (table,) = typed(capsys, line)["settings"]
    assert (table["protocol"], table["heading"]) == ("paper", "sym 0.4 · paper (anl)")
    assert {row["recipe_source"] for row in table["rows"]} == {"anl"}
    specs = {record["spec"]["method"]: record["spec"] for record in records(here)}
    assert {(spec["epochs"], spec["hold_out"], spec["model"]) for spec in specs.values()} == {(2, 0.0, "cnn4")}
    assert {(spec["recipe_source"], spec["precision"]) for spec in specs.values()} == {("anl", "fp32")}
    assert specs["nce+rce"]["weight_decay"] == specs["ce"]["weight_decay"] == 1e-3
    page = next(Path("leaderboards").glob("digits.md")).read_text()
    assert "## sym 0.4 · paper (anl)" in page and "Recipes: anl for ce and nce+rce." in page
    assert "--protocol paper" in page


def test_the_source_of_a_papers_recipe_is_chosen_and_said(here: Path, capsys: Captured) -> None:
    line = "run --dataset digits --methods ce,nce+rce --epochs 1 --train-size 60 --seeds 1 --protocol"
    typed(capsys, f"{line} paper")
    tables = typed(capsys, f"{line} paper:APL")["settings"]
    assert [table["heading"] for table in tables] == ["sym 0.4 · paper (apl) · Nesterov"]
    assert "--protocol paper:APL" in tables[0]["command"]
    specs = [record["spec"] for record in records(here) if record["spec"]["method"] == "nce+rce"]
    found = {(spec["recipe_source"], spec["weight_decay"], spec["nesterov"]) for spec in specs}
    assert found == {("anl", 1e-3, False), ("apl", 1e-2, True)}


def test_published_recipes_are_marked_on_the_board(here: Path, capsys: Captured) -> None:
    line = "run --recipes published --methods ce,nce+agce,anl-ce --noise asym --epochs 1 --train-size 60 --seeds 1"
    (table,) = typed(capsys, line)["settings"]
    told = {record["spec"]["method"]: record["spec"]["privileges"] for record in records(here)}
    rows = {row["method"]: row for row in table["rows"] if not row["derived"]}
    assert {name: bool(told[name]) for name in told} == {name: row["informed"] for name, row in rows.items()}
    assert rows["ce"]["informed"] is False


def test_saved_labels_give_the_run_that_drew_them(here: Path, capsys: Captured) -> None:
    shown = typed(capsys, "show noise sym --dataset digits --rate 0.4 --seed 0 --save-labels noisy.json")
    common = "--methods ce --epochs 1 --seeds 1 --precision fp32"
    typed(capsys, f"run --labels noisy.json {common}")
    typed(capsys, f"run --noise sym --rate 0.4 {common}")
    given, drawn = records(here)
    assert (given["spec"]["noise"], drawn["spec"]["noise"]) == ("labels", "sym")
    hashes = {record["measures"]["labels_sha256"] for record in (given, drawn)}
    assert hashes == {shown["labels_sha256"]}
    assert given["curves"] == drawn["curves"]


def test_saved_labels_serve_a_part_of_the_data(here: Path, capsys: Captured) -> None:
    typed(capsys, "show noise asym --dataset digits --seed 3 --save-labels noisy.json")
    line = "run --labels noisy.json --noise-seed 3 --train-size 100 --methods ce --epochs 1 --seeds 2"
    typed(capsys, line)
    first, second = records(here)
    assert first["measures"]["labels_sha256"] == second["measures"]["labels_sha256"]
    assert first["measures"]["samples"]["train"] == 90
    assert first["curves"] != second["curves"]


@pytest.mark.parametrize("form", ["md", "csv", "json"])
def test_standard_output_carries_the_result_only(here: Path, capsys: Captured, form: str) -> None:
    line = f"run --methods ce --epochs 1 --train-size 60 --seeds 1 --format {form}"
    assert main(line.split()) == 0
    first = capsys.readouterr()
    assert main(line.split()) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "wrote leaderboards/digits.md" in again.err
    if form == "json":
        assert json.loads(first.out)["settings"][0]["dataset"] == "digits"
    elif form == "csv":
        assert next(csv.DictReader(first.out.splitlines()))["method"] == "ce"
    else:
        assert first.out.startswith("# digits")


def test_when_says_what_is_trained(here: Path, capsys: Captured) -> None:
    line = "run --methods ce --epochs 1 --train-size 60 --precision fp32"
    typed(capsys, f"{line} --seeds 1")
    (before,) = records(here)
    assert main(f"{line} --seeds 2 --when never".split()) == 1
    assert len(records(here)) == 1
    capsys.readouterr()
    typed(capsys, f"{line} --seeds 1 --when failed")
    assert records(here) == [before]
    (file,) = (here / "runs").glob("*/record.json")
    written = file.stat().st_mtime_ns
    typed(capsys, f"{line} --seeds 1 --when always")
    (after,) = records(here)
    assert file.stat().st_mtime_ns > written
    assert after["curves"] == before["curves"]


def test_a_shard_trains_its_part_and_its_board_shows_what_the_store_has(here: Path, capsys: Captured) -> None:
    line = "run --methods ce,gce --epochs 1 --train-size 60 --precision fp32 --seeds 2"
    first = typed(capsys, f"{line} --shard 1/2")
    assert len(records(here)) == 2
    assert sum(row["n"] for row in first["settings"][0]["rows"] if not row["derived"]) == 2
    assert main(f"{line} --shard 2/2".split()) == 0
    assert "shard 2/2: 2 of 4 runs; plan" in capsys.readouterr().err
    whole = typed(capsys, line)
    assert len(records(here)) == 4
    assert [row["n"] for row in whole["settings"][0]["rows"] if not row["derived"]] == [2, 2]
    assert "--shard" not in whole["settings"][0]["command"]


def test_a_shard_without_runs_is_no_failure(here: Path, capsys: Captured) -> None:
    assert (
        main(["run", "--methods", "ce", "--epochs", "1", "--train-size", "60", "--seeds", "1", "--shard", "2/2"]) == 0
    )
    out, err = capsys.readouterr()
    assert out == "" and "0 of 1 runs" in err and "no run has a record yet" in err
    assert not (here / "runs").exists()


def test_records_of_another_revision_are_named_and_kept(
    here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "run --methods ce --epochs 1 --train-size 60 --precision fp32"
    for module in ("bench.records.origin", "bench.training.provenance"):
        monkeypatch.setattr(f"{module}.git_revision", lambda: ("a" * 40, False))
    assert main([*line.split(), "--seeds", "1"]) == 0
    (before,) = records(here)
    for module in ("bench.records.origin", "bench.training.provenance"):
        monkeypatch.setattr(f"{module}.git_revision", lambda: ("b" * 40, True))
    capsys.readouterr()
    assert main([*line.split(), "--seeds", "1"]) == 0
    assert "revision" not in capsys.readouterr().err, "nothing was added, so nothing is mixed"
    assert main([*line.split(), "--seeds", "2"]) == 0
    err = capsys.readouterr().err
    assert "note: 1 of these runs are in runs already by other revisions of the code: aaaaaaaaaa (1)" in err
    assert "this is bbbbbbbbbb with changes" in err
    assert before in records(here)
