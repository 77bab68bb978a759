"""A user's own folders and tables: what is read of them, and every mistake's own message."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets.classes import ordered_classes
from datasets.folder import Folder
from datasets.interface import DataError, Options
from datasets.protocols import protocol
from datasets.splits import stratified
from datasets.table import Table

Save = Callable[..., None]
Write = Callable[[Path, Sequence[str], Sequence[Sequence[str]]], Path]


def opened(folder: Path, options: Options) -> Table:
    """The table of a folder of photos."""
    return Table(options, str(folder / "index.csv"))


def edited(folder: Path, old: str, new: str, count: int = -1) -> Path:
    """The table with a text replaced."""
    path = folder / "index.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")
    return path


def test_table_columns_and_split(photos: Path, options: Options) -> None:
    data = opened(photos, options).load(0)
    assert data.description.name == "table:index.csv"
    assert data.description.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 1] * 10 and data.test.labels.tolist() == [0, 1] * 5
    assert list(data.columns) == ["by_name", "by_id"]
    assert np.flatnonzero(data.columns["by_name"] != data.train.labels).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(data.columns["by_id"], data.columns["by_name"])


def test_test_rows_may_leave_a_column_empty(photos: Path, options: Options) -> None:
    path = photos / "index.csv"
    text = re.sub(r"(test),\w+,\d", r"\1,,", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    assert list(opened(photos, options).load(0).columns) == ["by_name", "by_id"]


def test_a_column_with_gaps_has_labels_for_the_other_rows(photos: Path, options: Options) -> None:
    edited(photos, "train,cat,0", "train,,0", 1)
    data_set = opened(photos, options)
    assert data_set.describe().columns == ("by_name", "by_id")
    assert np.flatnonzero(data_set.outline(0).columns["by_name"] < 0).tolist() == [1]
    assert "by_name of index.csv has no label in 1 of 20 training rows (first: line 3)" in data_set.report().notes[0]


def test_a_seeded_split_carries_its_columns(photos: Path, options: Options) -> None:
    edited(photos, "split", "other")
    data = opened(photos, options).load(1)
    assert data.description.seeded_split
    assert (len(data.train), len(data.test)) == (24, 6) == (data.description.train_size, data.description.test_size)
    assert np.bincount(data.test.labels).tolist() == [3, 3]
    assert int((data.columns["by_name"] != data.train.labels).sum()) <= 6
    whole = opened(photos, options)._listing
    train, _ = whole_split = stratified(whole.labels, 2, 6, 1)
    assert np.array_equal(data.columns["by_id"], whole.columns["by_id"][train]) and len(whole_split[1]) == 6


def test_byte_order_mark_blanks_and_empty_lines(photos: Path, options: Options) -> None:
    plain = opened(photos, options).load(0)
    path = photos / "index.csv"
    text = path.read_text(encoding="utf-8").replace(",train,", " , train ,").replace("\n", "\r\n\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    data_set = opened(photos, options)
    assert np.array_equal(data_set.load(0).train.images, plain.train.images)


@pytest.mark.parametrize("extra", ["", "\n\n"])
def test_lines_are_counted_through_cells_of_several_lines(extra: str, photos: Path, options: Options) -> None:
    edited(photos, "someone", '"some\none"', 1)
    edited(photos, "\nimages/05.png", f"\n{extra}images/55.png")
    with pytest.raises(DataError) as caught:
        opened(photos, options).content_hash()
    assert str(caught.value).splitlines()[1] == f"  line {8 + len(extra)}: images/55.png"


def test_hash_follows_rows_and_files_but_not_the_place(photos: Path, options: Options) -> None:
    before = opened(photos, options).content_hash()
    moved = photos.rename(photos.with_name("moved"))
    assert opened(moved, options).content_hash() == before
    edited(moved, "someone", "somebody", 1)
    after = opened(moved, options).content_hash()
    assert after != before
    image = moved / "images/03.png"
    content = image.read_bytes()
    image.write_bytes(content + b"\0")
    assert opened(moved, options).content_hash() not in (before, after)


def test_hash_is_remembered_until_a_file_changes(
    photos: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(photos, options).content_hash()
    monkeypatch.setattr("datasets.listing.digests", lambda *_: pytest.fail("read again"))
    assert opened(photos, options).content_hash() == first
    state = (photos / "images/05.png").stat()
    os.utime(photos / "images/05.png", ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(pytest.fail.Exception):
        opened(photos, options).content_hash()


def test_folder_with_parts(tmp_path: Path, options: Options, save: Save) -> None:
    for number, (part, name) in enumerate([("train", "b"), ("train", "a/deep"), ("test", "a"), ("test", "b")]):
        save(tmp_path / "pets" / part / name / "x.png", number)
        (tmp_path / "pets" / part / name / "notes.txt").write_text("no image")
        (tmp_path / "pets" / part / name / ".hidden.png").write_text("no image")
    data = Folder(options, str(tmp_path / "pets")).load(0)
    assert data.description.name == "folder:pets" and not data.description.seeded_split
    assert data.description.classes == ("a", "b")
    assert data.train.labels.tolist() == [0, 1] and data.test.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(["b", "a", "b"], ("a", "b")), (["10", "9", "2"], ("2", "9", "10")), (["10", "9", "x"], ("10", "9", "x"))],
)
def test_order_of_classes(labels: list[str], expected: tuple[str, ...]) -> None:
    assert ordered_classes(labels) == expected


@pytest.mark.parametrize(
    ("shape", "classes", "recipes", "model"),
    [
        ((28, 28, 1), 10, "mnist", "cnn4"),
        ((8, 8, 1), 10, "mnist", "cnn-small"),
        ((32, 32, 3), 10, "cifar10", "cnn8"),
        ((32, 32, 3), 50, "cifar100", "resnet34"),
        ((64, 64, 3), 10, "cifar10", "resnet18"),
        ((224, 224, 3), 100, "cifar100", "timm:resnet18"),
    ],
)
def test_protocol_by_shape(shape: tuple[int, int, int], classes: int, recipes: str, model: str) -> None:
    chosen = protocol(shape, classes)
    assert (chosen.recipes_from, chosen.model) == (recipes, model)
    assert chosen.epochs == {"mnist": 50, "cifar10": 120, "cifar100": 200}[recipes]


BAD_TABLES = {
    "unknown split": (
        "00.png,cat,train",
        "00.png,cat,trian",
        r"1 rows .*neither train, val nor test.*\n  line 2: 'trian'",
    ),
    "empty label": ("00.png,cat,", "00.png,,", r"empty label.*\n  line 2"),
    "empty path": ("images/00.png,", ",", r"empty path.*\n  line 2"),
    "missing column": ("path,label", "path,class", "lacks the column label: its first line holds path, class"),
    "missing columns": ("path,label", "file,class", "lacks the column path and label"),
    "duplicate columns": ("by_name,by_id", "by_id,by_id", "names columns twice: 'by_id'"),
    "ragged": ("images/04.png,cat", "images/04.png,a,cat", r"header's 6 cells.*\n  line 6: 7 cells"),
    "missing file": ("images/07.png", "images/77.png", r"1 of 30 image files don't exist:\n  line 9: images/77.png"),
    "NUL in a path": ("images/07.png", "images/0\x007.png", r"1 of 30 image files don't exist:\n  line 9: images/0"),
    "device": ("images/07.png", "/dev/zero", r"1 of 30 image files aren't files, but .*:\n  line 9: /dev/zero"),
    "pipe": (
        "images/07.png",
        "images/pipe.png",
        r"1 of 30 image files aren't files, but .*:\n  line 9: images/pipe.png",
    ),
    "same image twice": ("images/07.png", "images/06.png", r"line 9: images/06.png, as line 8"),
    "class unseen": ("28.png,cat,test", "28.png,bird,test", r"1 of 3 classes have no training image:\n  bird"),
    "no training part": (",train,", ",test,", "No image belongs to the training part"),
    "no test part": (",test,", ",train,", "No image belongs to the test part"),
    "typing error in a column": ("train,cat,0", "train,cta,0", r"a by_name that isn't one of .*\n  line 3: 'cta'"),
}


@pytest.mark.parametrize(("old", "new", "expected"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_table(photos: Path, options: Options, old: str, new: str, expected: str) -> None:
    os.mkfifo(photos / "images" / "pipe.png")
    edited(photos, old, new, -1 if old in (",train,", ",test,") else 1)
    for call in (opened(photos, options).describe, opened(photos, options).content_hash):
        with pytest.raises(DataError, match=expected):
            call()


def test_one_class(photos: Path, options: Options) -> None:
    edited(photos, "dog", "cat")
    with pytest.raises(DataError, match="All 30 images are labelled 'cat': at least two"):
        opened(photos, options).describe()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"path,label\n", "has no rows"),
        (b"", "lacks the column path and label: its first line holds nothing"),
        (b"path,label\n\xff\xfe,a\n", "isn't text in UTF-8"),
        (b'path,label\n"a,b\n', "can't be read"),
    ],
)
def test_tables_that_are_none(content: bytes, expected: str, tmp_path: Path, options: Options) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=expected):
        Table(options, str(tmp_path / "a.csv")).describe()


def test_absent_table_and_folder(tmp_path: Path, options: Options, photos: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv isn't there. Type --dataset table:FILE.csv"):
        Table(options, str(tmp_path / "a.csv")).describe()
    with pytest.raises(DataError, match="is a folder, not a CSV file"):
        Table(options, str(photos)).describe()
    with pytest.raises(DataError, match=r"a isn't there. Type --dataset folder:PATH"):
        Folder(options, str(tmp_path / "a")).describe()
    with pytest.raises(DataError, match="is a file, not a folder"):
        Folder(options, str(photos / "index.csv")).describe()


def test_at_most_ten_offenders_and_how_many_more(photos: Path, options: Options) -> None:
    edited(photos, ",train,", ",tain,")
    with pytest.raises(DataError) as caught:
        opened(photos, options).describe()
    lines = str(caught.value).splitlines()
    assert len(lines) == 12 and lines[-1].strip() == "... and 10 more"


def test_bad_folders(tmp_path: Path, options: Options, save: Save) -> None:
    root = tmp_path / "pets"
    root.mkdir()
    with pytest.raises(DataError, match="has no class folders with images"):
        Folder(options, str(root)).describe()
    save(root / "train/a/1.png", 1)
    with pytest.raises(DataError, match=r"has train/ but no test/"):
        Folder(options, str(root)).describe()
    save(root / "test/a/1.png", 2)
    with pytest.raises(DataError, match="All 2 images are labelled 'a'"):
        Folder(options, str(root)).describe()
    (root / "train/b").mkdir()
    with pytest.raises(DataError, match=r"1 class folders hold no images.*\n.*b"):
        Folder(options, str(root)).describe()


def test_one_image_per_class_leaves_nothing_to_test(tmp_path: Path, options: Options, save: Save) -> None:
    for number, name in enumerate("ab"):
        save(tmp_path / "pets" / name / "1.png", number)
    with pytest.raises(DataError, match="Every class has one image only"):
        Folder(options, str(tmp_path / "pets")).describe()


def test_impossible_image_size(photos: Path, options: Options) -> None:
    with pytest.raises(DataError, match="image size of 0 is impossible"):
        opened(photos, replace(options, image_size=0))


@pytest.mark.parametrize("sizes", [[10, 10], [1, 9], [1, 1, 30], [2, 3, 5, 7, 11]])
def test_stratified_split(sizes: list[int]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    wanted = round(0.2 * len(labels))
    train, test = stratified(labels, len(sizes), wanted, 0)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    counts = np.bincount(labels[test], minlength=len(sizes))
    assert np.all(np.abs(counts - wanted * np.array(sizes) / len(labels)) < 1)
    assert np.all(np.bincount(labels[train], minlength=len(sizes)) >= 1)
