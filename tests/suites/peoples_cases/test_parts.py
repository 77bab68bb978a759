"""Parts under the names that people give them: recognised, or refused with what to rename; what is left is said."""

from __future__ import annotations

from typing import Any

import pytest

from datasets.parts import part_of

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("train", "Training", "TRAIN", "train_set", "trainset", "train-images", "train2017"), TRAIN),
        (("val", "valid", "Validation", "dev", "valset", "val2017", "eval"), VALIDATION),
        (("test", "Testing", "TEST", "Test Set", "tests", "test_data"), TEST),
        (("cat", "station", "validated", "contest", "toy train", "seg_train", "set", "", "2017"), None),
    ],
)
def test_names_of_parts(names: tuple[str, ...], part: str | None) -> None:
    assert {name: part_of(name) for name in names} == dict.fromkeys(names, part)


def images_of(own: Any, name: str) -> tuple[dict[str, int], list[str]]:
    """The images of each part of a data set, and the notes of `show dataset`."""
    shown = own.typed(f"show dataset {name} --format json")
    assert shown.code == 0, shown.err
    images = shown.json["report"]["images"]
    assert set(images["train"]) == {"cat", "cow", "dog", "hen"}
    return {part: sum(counts.values()) for part, counts in images.items()}, shown.notes


@pytest.mark.parametrize(("train", "other"), [("training", "validation"), ("TRAIN", "dev"), ("Train", "Valid")])
def test_validation_folders_are_the_test_part_where_there_is_no_other(own: Any, train: str, other: str) -> None:
    own.class_folders(f"pets/{train}", 5)
    own.class_folders(f"pets/{other}", 2, first=20)
    images, (note,) = images_of(own, "folder:pets")
    assert images == {TRAIN: 20, TEST: 8}
    assert note.startswith("there is no test part, so the 8 validation images are the test images") and other in note


def test_validation_folders_beside_a_test_part_are_left_out_and_counted(own: Any) -> None:
    own.class_folders("pets/train", 5)
    own.class_folders("pets/test", 3, first=30)
    before = images_of(own, "folder:pets")
    sha256 = own.typed("show noise sym --dataset folder:pets --format json").json["labels_sha256"]
    own.class_folders("pets/val", 2, first=20)
    own.class_folders("pets/unlabelled", 1, first=50)
    images, notes = images_of(own, "folder:pets")
    assert before == ({TRAIN: 20, TEST: 12}, []) and images == {TRAIN: 20, TEST: 12}
    assert notes[0].startswith("8 validation images take no part (first: val/cat/20.png)")
    assert notes[1] == "4 images lie beside the parts, and are passed over (first: unlabelled/cat/50.png)"
    assert own.typed("show noise sym --dataset folder:pets --format json").json["labels_sha256"] == sha256


def test_names_that_only_look_like_parts_are_refused(own: Any) -> None:
    own.class_folders("pets/seg_train", 2)
    own.class_folders("pets/seg_test", 2, first=9)
    shown = own.typed("show dataset folder:pets")
    assert shown.code == 2 and "seg_test, seg_train" in shown.err and "Rename them to train, val and test" in shown.err


def test_two_folders_of_one_part_are_refused(own: Any) -> None:
    for first, part in enumerate(("train", "testing", "test_set")):
        own.class_folders(f"pets/{part}", 1, first=first)
    shown = own.typed("show dataset folder:pets")
    assert shown.code == 2 and "test_set/ and testing/" in shown.err and "both the test part" in shown.err


def test_a_missing_part_is_refused_with_what_to_add(own: Any) -> None:
    own.class_folders("pets/Training", 2)
    shown = own.typed("show dataset folder:pets")
    assert shown.code == 2 and "has Training/ but no test/" in shown.err
    own.class_folders("others/val", 2)
    own.class_folders("others/test", 2)
    shown = own.typed("show dataset folder:others")
    assert shown.code == 2 and "has test/ and val/ but no train/" in shown.err


def test_a_class_may_be_called_train(own: Any) -> None:
    own.class_folders("vehicles", 3, classes=("bus", "car", "train"))
    shown = own.typed("show dataset folder:vehicles --format json")
    assert shown.json["description"]["classes"] == ["bus", "car", "train"]
    assert shown.notes == ["1 folder is called like a part, and is taken as a class (train)"]


def test_outer_folders_that_are_no_classes_are_pointed_out(own: Any) -> None:
    own.class_folders("pets/north", 2)
    own.class_folders("pets/south", 2, first=9)
    shown = own.typed("show dataset folder:pets")
    (note,) = shown.notes
    assert "2 folders that are taken as classes (first: north)" in note and "(first: cat)" in note


def test_a_folder_around_the_parts_or_the_classes_is_pointed_out(own: Any) -> None:
    for first, part in enumerate(("train", "test")):
        own.class_folders(f"archive/pets/{part}", 2, first=2 * first)
        own.class_folders(f"twice/{part}/pets", 2, first=2 * first)
    shown = own.typed("show dataset folder:archive")
    assert shown.code == 2 and "lie in one folder, pets" in shown.err
    assert "type --dataset folder:archive/pets" in shown.err
    shown = own.typed("show dataset folder:twice")
    assert shown.code == 2 and "move them up, from twice/train/pets into twice/train" in shown.err


@pytest.mark.parametrize("words", [("Train", "train", "val", "Test"), ("training", "TRAIN", "dev", "testing")])
def test_a_split_column_in_other_words(own: Any, words: tuple[str, ...]) -> None:
    rows = [(path, ("cat", "cow", "dog", "hen")[kind], words[number % 4]) for path, kind, number in own.pictures(8)]
    own.table("index.csv", ("path", "label", "split"), rows)
    images, (note,) = images_of(own, "table:index.csv")
    assert images == {TRAIN: 16, TEST: 8}
    assert note.startswith("8 validation images take no part (first: im/0-02.png)")


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("1", "0"), ("yes", "no"), ("1.0", "0.0")])
@pytest.mark.parametrize("column", ["is_valid", "is_test", "isTest"])
def test_a_column_of_yes_and_no_is_a_split(own: Any, column: str, yes: str, no: str) -> None:
    rows = [
        (path, ("cat", "cow", "dog", "hen")[kind], kind, yes if number >= 6 else no)
        for path, kind, number in own.pictures(8)
    ]
    own.table("index.csv", ("path", "label", "ids", column), rows)
    images, notes = images_of(own, "table:index.csv")
    assert images == {TRAIN: 24, TEST: 8}
    assert notes[0] == f"the parts of index.csv are those that {column} says"
    assert own.typed("show dataset table:index.csv --format json").json["report"]["columns"] == ["ids"]


def test_columns_of_yes_and_no_together(own: Any) -> None:
    names = ("cat", "cow", "dog", "hen")
    rows = [(path, names[kind], number == 6, number == 7) for path, kind, number in own.pictures(8)]
    own.table("index.csv", ("path", "label", "is_valid", "is_test"), rows)
    assert images_of(own, "table:index.csv")[0] == {TRAIN: 24, TEST: 4}
    own.table("both.csv", ("path", "label", "is_valid", "is_test"), [*rows[1:], (*rows[0][:2], True, True)])
    shown = own.typed("show dataset table:both.csv")
    assert shown.code == 2 and "1 rows of both.csv are of two parts by is_valid and is_test" in shown.err
    own.table("none.csv", ("path", "label", "is_test"), [(*row[:2], "False") for row in rows])
    images, notes = images_of(own, "table:none.csv")
    assert sum(images.values()) == 32 and notes == [
        "no row of none.csv is marked by is_test, so a seeded split is drawn"
    ]


def test_a_column_of_parts_by_another_name_is_pointed_out(own: Any) -> None:
    words = ("train", "train", "test", "val")
    rows = [(path, ("cat", "cow", "dog", "hen")[kind], words[number % 4]) for path, kind, number in own.pictures(4)]
    own.table("index.csv", ("path", "label", "subset"), rows)
    notes = images_of(own, "table:index.csv")[1]
    assert notes == [
        "1 column of index.csv can't be used as labels: subset (it names parts: call it split, and they are used)"
    ]


def test_parts_under_other_names_are_other_data(own: Any) -> None:
    """What was trained when `training` was a class, or is_valid nothing, must not pass for a run of today."""
    from datasets.interface import Options
    from datasets.table import Table

    rows = [(path, ("cat", "cow", "dog", "hen")[kind], number > 2) for path, kind, number in own.pictures(4)]
    hashes = set()
    for column in ("is_test", "is_valid", "ignored"):
        own.table("index.csv", ("path", "label", column), rows)
        listing = Table(Options(), "index.csv").read()
        hashes.add(listing.rows.replace(column, "COLUMN"))
    assert len(hashes) == 2 and sum("parts by COLUMN" in rows for rows in hashes) == 1


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPG", "Png", "webp", "jp2", "tga"])
def test_endings_that_can_be_opened_are_taken(own: Any, ending: str) -> None:
    from PIL import Image

    own.class_folders("pets", 3)
    picture = Image.open(own.picture("new.png", 3, 99))
    picture.save(f"pets/hen/new.{ending}", format=Image.registered_extensions()[f".{ending}".lower()])
    images, notes = images_of(own, "folder:pets")
    assert sum(images.values()) == 13 and notes == []


def test_other_files_are_counted(own: Any) -> None:
    own.class_folders("pets", 3)
    for name in ("cat/phone.HEIC", "cat/notes.txt", "hen/deep/x.mp4", "hen/.hidden"):
        (own.folder / "pets" / name).parent.mkdir(exist_ok=True)
        (own.folder / "pets" / name).write_bytes(b"x")
    own.picture("pets/cover.png", 0, 99)
    images, notes = images_of(own, "folder:pets")
    assert sum(images.values()) == 12
    assert notes == [
        "3 files of class folders have no endings of images that can be opened, and are passed over (first: "
        "cat/notes.txt)",
        "1 image lies in no class folder, and is passed over (cover.png)",
    ]
    (own.folder / "pets/owl").mkdir()
    (own.folder / "pets/owl/x.HEIC").write_bytes(b"x")
    shown = own.typed("show dataset folder:pets")
    assert shown.code == 2 and "1 class folders hold no images" in shown.err and "owl/x.HEIC" in shown.err


def test_images_without_class_folders(own: Any) -> None:
    own.pictures(2)
    shown = own.typed("show dataset folder:im")
    assert shown.code == 2 and "8 images in no class folder (first: 0-00.png)" in shown.err
    assert "--dataset table:FILE.csv" in shown.err
