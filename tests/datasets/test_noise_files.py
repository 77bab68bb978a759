"""Matrix files and label files: what is read, what is refused and why."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.interface import DataError
from datasets.noise import NoiseFacts, NoisyLabels, corrupt
from datasets.noise.files import read_matrix
from datasets.noise.label_file import file_hash, read_labels
from datasets.noise.labels import load_labels, save_labels
from datasets.noise.matrix import MatrixFile
from datasets.noise.sym import Symmetric

ANIMALS = NoiseFacts(("cat", "dog", "fox"))
DIGITS = NoiseFacts(("0", "1", "2"))
MATRIX = np.array([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.25, 0.25, 0.5]])
PLAIN = "0.7,0.2,0.1\n0,0.9,0.1\n0.25,0.25,0.5\n"


def read(path: Path, content: str | bytes, facts: NoiseFacts = ANIMALS) -> Any:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return MatrixFile(str(path)).matrix(facts, None)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN + "\n\n",
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " "),
        PLAIN.replace(",", ", "),
        "cat,dog,fox\n" + PLAIN,
        ",cat,dog,fox\ncat,0.7,0.2,0.1\ndog,0,0.9,0.1\nfox,0.25,0.25,0.5\n",
        "clean,cat,dog,fox\ncat,0.7,0.2,0.1\ndog,0,0.9,0.1\nfox,0.25,0.25,0.5\n",
        "cat,0.7,0.2,0.1\ndog,0,0.9,0.1\nfox,0.25,0.25,0.5\n",
        # names in another order
        "fox,cat,dog\n0.5,0.25,0.25\n0.1,0.7,0.2\n0.1,0,0.9\n",
        ",dog,cat,fox\nfox,0.25,0.25,0.5\ncat,0.2,0.7,0.1\ndog,0.9,0,0.1\n",
        # class ids for names
        ",0,1,2\n0,0.7,0.2,0.1\n1,0,0.9,0.1\n2,0.25,0.25,0.5\n",
        "2,0,1\n0.5,0.25,0.25\n0.1,0.7,0.2\n0.1,0,0.9\n",
    ],
)
def test_csv_in_many_forms(tmp_path: Path, content: str) -> None:
    assert np.allclose(read(tmp_path / "t.csv", content), MATRIX, rtol=0, atol=1e-15)


def test_csv_of_classes_named_by_numbers(tmp_path: Path) -> None:
    named = ",2,0,1\n1,0.1,0,0.9\n0,0.1,0.7,0.2\n2,0.5,0.25,0.25\n"
    for content in (PLAIN, "0,1,2\n" + PLAIN, named):
        assert np.allclose(read(tmp_path / "t.csv", content, DIGITS), MATRIX, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_npy(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "t.npy", np.array([[0.5, 0.5, 0], [0, 1, 0], [0.25, 0.25, 0.5]], dtype=dtype))
    matrix = MatrixFile(str(tmp_path / "t.npy")).matrix(ANIMALS, None)
    assert matrix.dtype == np.float64
    assert matrix[0].tolist() == [0.5, 0.5, 0]


def test_csv_and_npy_draw_the_same_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", MATRIX)
    (tmp_path / "t.csv").write_text("fox,cat,dog\n0.5,0.25,0.25\n0.1,0.7,0.2\n0.1,0,0.9\n")
    clean = np.arange(90) % 3
    csv, npy = (corrupt(MatrixFile(str(tmp_path / name)), clean, ANIMALS, None, 0) for name in ("t.csv", "t.npy"))
    assert csv.sha256 == npy.sha256
    assert csv.caption == "0.10 to 0.50 in all 3 classes, 0.30 overall"
    assert csv.source.endswith("t.csv")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("0.7,0.2,0.1\n0,0.9\n0.25,0.25,0.5\n", "line 2 has 2 cells, line 1 has 3"),
        ("0.7,0.2,0.1\n0,nine,0.1\n0.25,0.25,0.5\n", "line 2, cell 2: 'nine'"),
        ("0.7,0.2,0.1\n0,,0.1\n0.25,0.25,0.5\n", "line 2, cell 2: ''"),
        ("a,0.2,0.1\n0,0.9,0.1\n0.25,0.25,0.5\n", "no number"),
        ("cat,dog,fox\n", "no number|names only"),
        ("0.7,0.3\n0.1,0.9\n", "2 classes, but the data set has 3"),
        ("0.7,0.2,0.1\n0,0.9,0.1\n", "not square: 2 rows, 3 columns"),
        ("0.7,0.2,0.1\n0,0.9,0.1\n0.25,0.25,0.5\n0.25,0.25,0.5\n", "not square: 4 rows, 3 columns"),
        (PLAIN.replace("0.9", "nan"), "not a finite number"),
        (PLAIN.replace("0.9", "inf"), "not a finite number"),
        (PLAIN.replace("0.9", "-0.9"), "negative"),
        (PLAIN.replace("0.9", "1.9"), "above 1"),
        (PLAIN.replace("0.9", "0.8"), "row 1 sums to 0.9"),
        ("cat,dog,cow\n" + PLAIN, "cow is no class of it, fox is missing"),
        ("cat,dog,dog\n" + PLAIN, "fox is missing"),
        ("0,1,3\n" + PLAIN, "3 is no class|is no class of it"),
        (",cat,dog,fox\ncat,0.7,0.2,0.1\ndog,0,0.9,0.1\ncow,0.25,0.25,0.5\n", "cow is no class of it"),
        (b"\xff\xfe\x00\x01", "neither an npy file nor text"),
        (b"\x93NUMPY", "no complete npy file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3, 3), }", "no complete npy"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16, "no complete npy"),
        (b"\x93NUMPY\x01\x00\xa0\x0f" + b"[" * 4000, "no complete npy"),
        (
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }".ljust(118),
            "promises 80,000,000,000,000 bytes, and 0 follow",
        ),
    ],
)
def test_malformed_matrix_files(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path / "t.csv", content)
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize("open_file", [read_matrix, read_labels])
def test_pipes_and_devices_are_no_files(tmp_path: Path, open_file: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        with pytest.raises(DataError, match="isn't a regular file"):
            open_file(path)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([{"harm": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects"):
        MatrixFile(str(tmp_path / "t.npy"))
    with pytest.raises(DataError, match="pickled Python objects"):
        read_labels(tmp_path / "t.npy")


@pytest.mark.parametrize(
    "array", [np.eye(3) + 0j, np.array([["a"]]), np.eye(3, dtype=bool), np.ones(3), np.ones((1, 3, 3))]
)
def test_npy_of_something_else(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "t.npy", array)
    with pytest.raises(DataError, match=r"real numbers|axes"):
        MatrixFile(str(tmp_path / "t.npy")).matrix(ANIMALS, None)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for load in (lambda path: MatrixFile(str(path)), read_labels, file_hash):
        with pytest.raises(DataError, match="no file"):
            load(tmp_path / "absent.csv")
        with pytest.raises(DataError, match="is a folder"):
            load(tmp_path)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text(PLAIN)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="can't be read: Permission denied"):
        MatrixFile(str(tmp_path / "t.csv"))


def test_many_words_are_named_ten_at_most(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="and 5 more"):
        read(tmp_path / "t.csv", "0.5,0.5,0,0\n" + "a,b,c,d,\n".replace(",\n", "\n") * 3 + "a,b,c,0\n")


@settings(max_examples=150)
@given(content=st.binary(max_size=60) | st.text("0123456789.,;-abe\n \t", max_size=60).map(str.encode))
def test_any_bytes_are_a_matrix_or_a_reason(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    for attempt in (
        lambda: MatrixFile(str(path)).matrix(ANIMALS, None),
        lambda: load_labels(path, 3, "hash", np.array([0, 1, 2])),
    ):
        try:
            attempt()
        except DataError as error:
            assert str(error)


def test_file_hash_is_over_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(PLAIN)
    expected = hashlib.sha256(PLAIN.encode()).hexdigest()
    assert MatrixFile(str(tmp_path / "t.csv")).file_hash() == expected == file_hash(tmp_path / "t.csv")
    assert Symmetric().file_hash() is None


# Label files

CLEAN = np.arange(12, dtype=np.int64) % 3
INDEX = np.arange(12, dtype=np.int64) * 2


def saved(path: Path, split: str | None = None) -> NoisyLabels:
    noisy = corrupt(Symmetric(), CLEAN, ANIMALS, 0.5, 0)
    draw = {"noise": "sym", "rate": 0.5, "noise_seed": 0, "train_size": 12, "list": [1, 2]}
    save_labels(path, noisy, INDEX, classes=3, data_set="zoo", data_sha256="ab" * 32, draw=draw, split=split)
    return noisy


def test_saved_labels_come_back(tmp_path: Path) -> None:
    noisy = saved(tmp_path / "labels.json")
    loaded = load_labels(tmp_path / "labels.json", 3, "ab" * 32, CLEAN, INDEX, 24)
    assert np.array_equal(loaded.labels, noisy.labels)
    assert (loaded.sha256, loaded.realised_rate, loaded.matrix) == (noisy.sha256, 0.5, None)
    assert loaded.caption == "labels from labels.json, 0.50 overall"
    assert load_labels(tmp_path / "labels.json", 3, "ab" * 32, CLEAN).sha256 == noisy.sha256
    assert [each.name for each in tmp_path.iterdir()] == ["labels.json"]


def test_saved_labels_hold_no_clean_label(tmp_path: Path) -> None:
    saved(tmp_path / "labels.json")
    document = json.loads((tmp_path / "labels.json").read_text())
    assert [key for key, value in document.items() if isinstance(value, list)] == ["index", "labels"]
    assert document["draw"]["rate"] == 0.5


def test_a_part_takes_its_own_labels(tmp_path: Path) -> None:
    noisy = saved(tmp_path / "labels.json")
    part = load_labels(tmp_path / "labels.json", 3, "ab" * 32, CLEAN[[1, 5, 7]], INDEX[[1, 5, 7]])
    assert np.array_equal(part.labels, noisy.labels[[1, 5, 7]])


def test_labels_of_another_data_set(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    saved(path, split="seed 0")
    for arguments, words in [
        ((3, "cd" * 32, CLEAN, INDEX), "of other data .zoo"),
        ((4, "ab" * 32, CLEAN, INDEX), "of 3 classes; this data set has 4"),
        ((3, "ab" * 32, CLEAN, INDEX + 1), "no labels for 12 of the 12 training images .the first: number 1"),
        ((3, "ab" * 32, CLEAN[:5]), "12 labels, and there are 5 training images"),
        ((3, "ab" * 32, CLEAN, INDEX, 24, "seed 1"), "another training split .seed 0; this is seed 1"),
    ]:
        with pytest.raises(DataError, match=words):
            load_labels(path, *arguments)  # type: ignore[arg-type]
    assert load_labels(path, 3, "ab" * 32, CLEAN, INDEX, 24, "seed 0").realised_rate == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document["labels"].reverse(), "changed or cut off"),
        (lambda document: document["labels"].pop(), "changed or cut off"),
        (lambda document: document.pop("index"), "'index' is missing"),
        (lambda document: document.update(format="other"), "unknown here"),
        (lambda document: document.update(version=2), "version 2"),
        (lambda document: document.update(labels="words"), "lists of integers"),
        (lambda document: document.update(labels=[0.5] * 12), "lists of integers"),
        (lambda document: document.update(labels=[True] * 12), "lists of integers"),
        (lambda document: document.update(labels=[2**70] * 12), "no label file"),
        (lambda document: document.update(labels=[[1]] * 12), "lists of integers"),
    ],
)
def test_damaged_label_files(tmp_path: Path, change: Any, words: str) -> None:
    saved(tmp_path / "labels.json")
    document = json.loads((tmp_path / "labels.json").read_text())
    change(document)
    (tmp_path / "labels.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=words):
        load_labels(tmp_path / "labels.json", 3, "ab" * 32, CLEAN, INDEX)


def test_cut_off_json(tmp_path: Path) -> None:
    saved(tmp_path / "labels.json")
    (tmp_path / "labels.json").write_text((tmp_path / "labels.json").read_text()[:200])
    with pytest.raises(DataError, match="no label file"):
        read_labels(tmp_path / "labels.json")


@pytest.mark.parametrize(
    "content", ["0\n1\n2\n", "label\n0\n1\n2\n", "index,label\n2,0\n4,1\n6,2\n", "6,2\n4,1\n2,0", "0\r\n1\r\n2\r\n"]
)
def test_text_labels(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content.encode())
    loaded = load_labels(tmp_path / "labels.csv", 3, "any", np.array([0, 0, 2]), np.array([2, 4, 6]))
    assert loaded.labels.tolist() == [0, 1, 2]
    assert loaded.realised_rate == pytest.approx(1 / 3)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
def test_npy_labels(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2], dtype=dtype))
    assert load_labels(tmp_path / "labels.npy", 3, "any", np.array([0, 1, 1])).labels.tolist() == [0, 1, 2]


def test_labels_of_the_whole_set_serve_a_part(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2, 2, 1]))
    part = load_labels(tmp_path / "labels.npy", 3, "any", np.array([0, 2]), np.array([0, 3]), total=5)
    assert part.labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("0\n1\n", "2 labels, and there are 3 training images .or 6 for the whole"),
        ("0\n1\n3\n", "position 2: 3"),
        ("0\n-1\n2\n", "position 1: -1"),
        ("0\none\n2\n", "line 2: 'one'"),
        ("0\n1.5\n2\n", "line 2: '1.5'"),
        ("1,2,3\n1,2,3\n", "3 columns"),
        ("2,0\n2,1\n6,2\n", "twice"),
        ("label\n", "columns"),
    ],
)
def test_wrong_text_labels(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        load_labels(tmp_path / "labels.csv", 3, "any", np.array([0, 1, 2]), np.array([2, 4, 6]), total=6)


@pytest.mark.parametrize("array", [np.full(3, 0.5), np.ones((3, 1), dtype=int), np.array(["a", "b", "c"])])
def test_npy_of_no_labels(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "labels.npy", array)
    with pytest.raises(DataError, match="one axis of integers"):
        read_labels(tmp_path / "labels.npy")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "labels.json")
    before = (tmp_path / "labels.json").read_bytes()

    def full(*arguments: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match="No space left on device"):
        saved(tmp_path / "labels.json")
    assert (tmp_path / "labels.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["labels.json"]  # noqa: PTH208


def test_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be written"):
        saved(tmp_path / "absent" / "labels.json")
