"""Sets with real noise as typed: planned with their own labels, trained once, and judged by what people found."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.worker import load_file

web: ModuleType = load_file(Path(__file__).parents[2] / "datasets/web_layouts.py")
QUICK = "--image-size 8 --model cnn-small --batch-size 32 --epochs 2 --seeds 1 --jobs 1 --protocol shared-lr"
COPIES = {
    "animal10n": web.write_animal10n_binary,
    "clothing1m": web.write_clothing1m,
    "food101n": web.write_food101n,
    "webvision-mini": web.write_webvision,
}


@pytest.mark.parametrize("name", COPIES)
def test_labels_are_taken_as_given_unless_noise_is_typed(name: str, own: Any) -> None:
    COPIES[name](own.folder / "data")
    planned = own.typed(f"run --methods ce --dataset {name} {QUICK} --dry-run --format json")
    assert planned.code == 0, planned.err
    assert '"as-given"' in planned.out and '"sym"' not in planned.out
    assert [note for note in planned.notes if f"this copy of {name} has" in note and "the published one has" in note]
    typed = own.typed(f"run --methods ce --dataset {name} {QUICK} --noise sym --rate 0.2 --dry-run --format json")
    assert typed.code == 0 and '"sym"' in typed.out and '"as-given"' not in typed.out
    none = own.typed(f"run --methods ce --dataset {name} {QUICK} --noise none --dry-run --format json")
    assert '"as-given"' in none.out
    assert [note for note in none.notes if f"as-given: it means the training labels of {name}, which hold" in note]
    added = f"--noise sym is added to the training labels of {name}, which hold real noise already"
    assert added in typed.notes and added not in planned.notes


@pytest.mark.parametrize("name", [*COPIES, "webvision"])
def test_shown_without_data_and_missed_where_it_is_needed(name: str, own: Any) -> None:
    shown = own.typed(f"show dataset {name} --format json")
    assert shown.code == 0 and shown.json["report"] is None and shown.json["description"]["usual_noise"] == "as-given"
    assert not (own.folder / "runs").exists()
    asked = own.typed(f"run --methods ce --dataset {name} {QUICK}")
    assert asked.code == 2 and "must look like this" in asked.err and "Traceback" not in asked.err
    assert not (own.folder / "runs").exists() and not (own.folder / "leaderboards").exists()


def test_selectors_are_judged_by_what_people_found(own: Any) -> None:
    web.write_food101n(own.folder / "data")
    done = own.typed(f"run --methods ce,co-teaching --noise-rate 0.2 --dataset food101n {QUICK} --hold-out 0.2")
    assert done.code == 0, done.err
    assert [note for note in done.notes if "people looked at 60 of 202 training labels and found 15 wrong" in note]
    for record in own.records():
        measures, selector = record["measures"], record["measures"]["selector"]
        assert record["spec"]["noise"] == "as-given" and record["provenance"]["labels"] == "training as given"
        assert 30 <= selector["verified"] < 60 and 0 < selector["verified_wrong"] <= 15
        assert selector["verified_meaning"] == "found wrong by a person"
        assert all(0 <= selector[key] <= 1 for key in ("auroc", "average_precision", "precision", "recall"))
        unknown = [measures[key] for key in ("memorised", "learnt", "corrected", "realised_rate")]
        assert [*unknown, selector["corrected"], selector["damaged"]] == [None] * 6
        assert record["curves"]["memorised"] == [None] * 2 and len(record["curves"]["selector_auroc"]) == 2
    board = (own.folder / "leaderboards/food101n.md").read_text()
    assert "### Who finds the wrong labels" in board and "10 test images with clean ones" in board
    assert "training labels that people looked at again" in board and "% found wrong by a person" in board
    assert "training images with labels as given" in board
    assert "no table says who finds the wrong labels" not in board and "Test labels as given" not in board


def test_a_second_test_set_is_measured_beside_the_first(own: Any) -> None:
    home = web.write_webvision(own.folder / "data", flickr=False)
    web.write_imagenet(home / "imagenet", [str(number) for number in range(50)])
    done = own.typed(f"run --methods ce --dataset webvision-mini[ilsvrc12] {QUICK.replace('--epochs 2', '--epochs 1')}")
    assert done.code == 0, done.err
    (record,) = own.records()
    second = record["measures"]["second_test"]
    assert (second["name"], second["images"]) == ("ILSVRC12", 50) and 0 <= second["test_accuracy"] <= 1
    assert record["measures"]["samples"]["test"] == 50
    (board,) = (own.folder / "leaderboards").glob("*.md")
    expected = f"Second test, on 50 images of ILSVRC12, at the last epoch: ce {100 * second['test_accuracy']:.1f}."
    assert expected in board.read_text()


def test_the_pairs_of_animals_are_those_of_asym(own: Any) -> None:
    web.write_animal10n_images(own.folder / "data")
    shown = own.typed("show noise asym --rate 0.2 --dataset animal10n --format json").json
    assert ["cat", "lynx"] in shown["pairs"] and ["lynx", "cat"] in shown["pairs"] and len(shown["pairs"]) == 10


def test_a_clean_training_list_makes_another_board(own: Any) -> None:
    web.write_clothing1m(own.folder / "data")
    told = own.typed(f"run --methods ce --dataset clothing1m[clean_train] {QUICK} --dry-run --format json")
    assert told.code == 0 and '"clothing1m[clean_train' in told.out
    assert [note for note in told.notes if "every method is told them" in note]


def test_what_is_wrong_with_a_copy_costs_no_traceback(own: Any) -> None:
    web.write_clothing1m(own.folder / "data")
    file = own.folder / "data/noisy_label_kv.txt"
    file.write_text(file.read_text() + "\nimages/9/99/9,9.jpg")
    for line in (f"run --methods ce --dataset clothing1m {QUICK}", "show dataset clothing1m"):
        done = own.typed(line)
        assert done.code == 2 and "line 60: 'images/9/99/9,9.jpg'" in done.err and "Traceback" not in done.err
