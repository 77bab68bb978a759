"""Links in a circle, names that aren't UTF-8, blanks and commas, classes that a part lacks: taken, or named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from datasets.files import known_as

SHOW = "show dataset folder:pets --format json"
RUN = "run --methods ce --epochs 1 --seeds 1 --model cnn-small --batch-size 8 --dry-run"
STRANGE = os.fsdecode(b"\xff\xe4.png")


def counts(shown: Any) -> dict[str, int]:
    """Images of each class, in both parts together."""
    train, test = shown.json["report"]["images"].values()
    return {name: train[name] + test[name] for name in train}


@pytest.mark.parametrize(
    ("link", "target"),
    [("cat/up", ".."), ("self", "."), ("cat/deep/out", "../../.."), ("loop", "loop"), ("hens", "nowhere")],
)
def test_links_that_end_nowhere_are_passed_over(own: Any, link: str, target: str) -> None:
    own.class_folders("pets", 2)
    own.picture("pets/cat/deep/x.png", 0, 50)
    (own.folder / "pets" / link).symlink_to(target)
    shown = own.typed(SHOW)
    assert counts(shown) == {"cat": 3, "cow": 2, "dog": 2, "hen": 2}
    assert shown.notes == [f"1 link leads to a folder above it or nowhere, and is passed over ({link})"]
    assert shown.json["report"]["left_out"] == {"links without an end": 1}


def test_two_links_into_each_other_end(own: Any) -> None:
    own.class_folders("pets", 2)
    (own.folder / "pets/cat/other").symlink_to("../cow")
    (own.folder / "pets/cow/other").symlink_to("../cat")
    shown = own.typed(SHOW)
    assert counts(shown) == {"cat": 4, "cow": 4, "dog": 2, "hen": 2}, "a link to another folder is followed"
    assert shown.notes[0] == (
        "2 links lead to folders above them or nowhere, and are passed over (first: cat/other/other)"
    )


def test_links_beside_the_parts_end_too(own: Any) -> None:
    own.class_folders("pets/train", 2)
    own.class_folders("pets/test", 1, first=5)
    own.picture("pets/more/x.png", 0, 50)
    (own.folder / "pets/more/up").symlink_to("..")
    assert own.typed(SHOW).json["report"]["left_out"] == {"images beside the parts": 1}


def test_image_links_that_end_nowhere_are_named(own: Any) -> None:
    own.class_folders("pets", 2)
    (own.folder / "pets/cat/gone.png").symlink_to("nowhere.png")
    (own.folder / "pets/cow/loop.png").symlink_to("loop.png")
    refused = own.typed(SHOW)
    assert refused.code == 2 and "2 of 10 image files don't exist:\n  cat/gone.png\n  cow/loop.png\n" in refused.err
    assert "--skip-unreadable" in refused.err
    assert sum(counts(own.typed(f"{SHOW} --skip-unreadable")).values()) == 8
    own.table(
        "index.csv",
        ("path", "label"),
        [(f"pets/{name}", name[:3]) for name in ("cat/00.png", "cat/01.png", "cow/loop.png")],
    )
    assert "line 4: pets/cow/loop.png" in own.typed("show dataset table:index.csv").err


def test_folders_that_cannot_be_listed_are_named(own: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own.class_folders("pets", 2)
    own.picture("pets/cat/shut/x.png", 0, 50)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith(refused):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    for refused in ("shut", "pets"):
        shown = own.typed(SHOW)
        assert (
            shown.code == 2 and refused in shown.err and "can't be read" in shown.err and "permi" in shown.err.lower()
        )


def test_names_of_images_that_are_not_utf8(own: Any) -> None:
    own.class_folders("pets", 3)
    (own.folder / "pets/cat/00.png").rename(own.folder / "pets/cat" / STRANGE)
    assert counts(own.typed(SHOW))["cat"] == 3
    planned = own.typed(f"{RUN} --noise sym --dataset folder:pets")
    assert planned.code == 0, planned.err
    for ending in ("csv", "json"):
        saved = f"show noise sym --dataset folder:pets --save-labels labels.{ending}"
        assert own.typed(saved).code == 0 and (own.folder / f"labels.{ending}").is_file()
        planned = own.typed(f"{RUN} --dataset folder:pets --labels labels.{ending} --noise-seed 0")
        assert planned.code == 0, planned.err
    (own.folder / "pets/cat" / STRANGE).write_bytes(b"")
    refused = own.typed(SHOW)
    assert refused.code == 2 and r"  cat/\xff\xe4.png: cannot identify image file" in refused.err.splitlines()
    assert counts(own.typed(f"{SHOW} --skip-unreadable"))["cat"] == 2


def test_names_of_classes_and_folders_that_are_not_utf8_are_named(own: Any) -> None:
    own.class_folders("pets", 2)
    (own.folder / "pets/cat").rename(own.folder / "pets" / os.fsdecode(b"c\xe4t"))
    refused = own.typed(SHOW)
    assert refused.code == 2 and "1 class folders have names that aren't UTF-8" in refused.err
    assert refused.err.splitlines()[1:] == [r"  c\xe4t"]
    strange = os.fsdecode(b"p\xe4ts")
    (own.folder / "pets").rename(own.folder / strange)
    for line in (["show", "dataset"], [*RUN.split(), "--dataset"]):
        assert main([*line, f"folder:{strange}"]) == 2
        assert "isn't UTF-8" in own.captured.readouterr().err


def test_names_with_blanks_commas_and_signs(own: Any) -> None:
    own.class_folders("my pets, 2024", 3, ("a, b", "c|d", 'e"f', "g*h_i`<b>"))
    planned = own.typed(f"{RUN} --noise sym --dataset 'folder:my pets, 2024' --format json")
    assert planned.json["runs"][0]["spec"]["data_set"] == "folder:my pets, 2024"
    rows = [(f"im/a, {number}.png", "b, c" if number % 2 else "d;e") for number in range(8)]
    for number, (path, label) in enumerate(rows):
        own.picture(path, len(label), number)
    own.table("in, dex.csv", ("path", "label"), rows)
    shown = own.typed("show dataset 'table:in, dex.csv' --format json")
    assert counts(shown) == {"b, c": 4, "d;e": 4} and shown.notes == []


def test_endings_in_capitals(own: Any) -> None:
    own.class_folders("pets", 2)
    for number, name in enumerate(("x.PNG", "y.JPG", "z.Jpeg", "w.TIF")):
        own.picture(f"pets/cat/{name}", 0, 60 + number)
    shown = own.typed(SHOW)
    assert counts(shown)["cat"] == 6 and shown.notes == []


def test_classes_without_a_test_image_are_said(own: Any) -> None:
    own.class_folders("pets/train", 3)
    own.class_folders("pets/test", 2, ("cat", "cow"), first=10)
    (own.folder / "pets/test/dog").mkdir()
    shown = own.typed(SHOW)
    assert shown.notes == ["2 classes have no test images, and no part in the test accuracy (first: dog)"]
    own.class_folders("pets/test", 2, ("gnu",), first=10)
    refused = own.typed(SHOW)
    assert refused.code == 2 and "1 of 5 classes have no training image:\n  gnu" in refused.err


def test_a_table_may_name_files_anywhere(own: Any, tmp_path: Path) -> None:
    """A person's own table; `..` in lists that come with a data set is another matter."""
    own.class_folders("pets", 4, ("cat", "cow"))
    for start in ("..", str(own.folder), "../tables/.."):
        rows = [(f"{start}/pets/{name}/{number:02}.png", name) for name in ("cat", "cow") for number in range(4)]
        own.table("tables/index.csv", ("path", "label"), rows)
        assert counts(own.typed("show dataset table:tables/index.csv --format json")) == {"cat": 4, "cow": 4}


def test_paths_as_they_are_written() -> None:
    assert known_as("a/ä, 1.png") == "a/ä, 1.png" and known_as(os.fsdecode(b"a\xe4\xc3\xa4")) == r"a\xe4ä"
