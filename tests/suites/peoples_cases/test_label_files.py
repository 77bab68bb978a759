"""Label files and transition matrices as people have them: what is read, what is said, and the way out of a refusal."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.interface import DataError
from datasets.noise.drawing import given as given_labels
from datasets.noise.files import read_matrix
from datasets.noise.label_file import read_labels
from datasets.noise.labels import load_labels, save_labels
from datasets.noise.matrices import validate

DRY = "--methods ce --seeds 1 --epochs 1 --dry-run"
LABELS = [0, 2, 1, 1, 0, 2]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", "[0, 2, 1, 1, 0, 2]"),
        ("floats.json", "\n [0.0, 2.0, 1.0,\n 1.0, 0.0, 2.0]"),
        ("floats.csv", "label\n0.0\n2.0\n1.0\n1.0\n0.0\n2.0\n"),
        ("commas.txt", "0,0\n2,0\n1,0\n1,0\n0,0\n2,0\n"),
        ("named.csv", "path,label,who\na,0,x\nb,2,y\nc,1,x\nd,1,x\ne,0,y\nf,2,x\n"),
        ("placed.csv", "label;Place\n2;1\n0;0\n1;2\n1;3\n0;4\n2;5\n"),
    ],
)
def test_labels_are_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    file = read_labels(tmp_path / name)
    if name == "commas.txt":  # two columns: place and label
        assert file.index is not None
        return
    order = np.arange(6) if file.index is None else np.argsort(file.index)
    assert file.labels[order].tolist() == LABELS and file.labels.dtype == np.int64


@pytest.mark.parametrize("kind", ["<f8", "<f4", ">f4", "<i2", "|u1"])
def test_whole_floats_of_npy_are_read(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "labels.npy", np.array(LABELS, dtype=kind))
    assert read_labels(tmp_path / "labels.npy").labels.tolist() == LABELS


@pytest.mark.parametrize(
    "content", ["[0, 1.5]", "[0, true]", "[[0, 1]]", '["0"]', "[0, 1", "[NaN]", "[1e400]", "[0, null]"]
)
def test_lists_that_hold_no_labels(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match=r"one class id for each training image|no complete JSON list"):
        read_labels(tmp_path / "labels.json")


@pytest.mark.parametrize("values", [[0.5, 1.0], [np.nan, 1.0], [np.inf, 0.0]])
def test_floats_that_are_not_whole(tmp_path: Path, values: list[float]) -> None:
    np.save(tmp_path / "labels.npy", np.array(values))
    with pytest.raises(DataError, match="floats that are whole"):
        read_labels(tmp_path / "labels.npy")


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.integers(0, 6),
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]), min_size=1),
        ),
        min_size=1,
        unique_by=lambda row: row[0],
    ),
    named=st.booleans(),
)
def test_csv_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, str]], named: bool
) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.CSV"
    index, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    paths = [f"im/{row[2]}.png" for row in rows] if named else None
    noisy = given_labels(labels, labels, 7, "drawn", "sym")
    save_labels(path, noisy, index, classes=7, data_set="zoo", data_sha256="ab" * 32, paths=paths)
    file = read_labels(path)
    assert file.index is not None and (file.index.tolist(), file.labels.tolist()) == (index.tolist(), labels.tolist())
    assert file.paths == (tuple(paths) if paths else None)
    assert load_labels(path, 7, "ab" * 32, labels, index).sha256 == noisy.sha256


def test_the_ending_decides_and_a_table_names_the_images(own: Any) -> None:
    own.table("index.csv", ("path", "label"), [(path, f"kind {kind}") for path, kind, _ in own.pictures(10)])
    for name in ("labels.csv", "labels.json"):
        done = own.typed(f"show noise sym --rate 0.4 --dataset table:index.csv --save-labels {name}")
        assert done.code == 0, done.err
    with (own.folder / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    document = json.loads((own.folder / "labels.json").read_text())
    assert list(rows[0]) == ["place", "path", "label"] and len(rows) == 32
    assert [int(row["label"]) for row in rows] == document["labels"]
    assert [int(row["place"]) for row in rows] == document["index"] == list(range(32))
    kinds = [int(row["path"][3]) for row in rows]
    assert sum(kind != label for kind, label in zip(kinds, document["labels"], strict=True)) == 13
    planned = own.typed(f"run {DRY} --dataset table:index.csv --labels labels.csv --noise-seed 0")
    assert planned.code == 0, planned.err
    other = own.typed(f"run {DRY} --dataset table:index.csv --labels labels.csv --noise-seed 1")
    assert other.code == 2 and "another split" in other.err and "im/" in other.err
    refused = own.typed("show noise sym --dataset table:index.csv --save-labels labels.npy")
    assert refused.code == 2 and "--save-labels labels.csv" in refused.err


def test_the_commonest_label_file_of_the_field(own: Any) -> None:
    labels = np.random.Generator(np.random.PCG64(0)).integers(0, 10, 1400).tolist()
    (own.folder / "cifar_like_0.5_sym.json").write_text(json.dumps(labels))
    planned = own.typed(f"run {DRY} --labels cifar_like_0.5_sym.json")
    assert planned.code == 0, planned.err


def rows_of(numbers: np.ndarray[Any, Any], form: str, separator: str = ",") -> str:
    return "".join(separator.join(form % number for number in row) + "\n" for row in numbers)


THIRDS = sum(np.roll(np.eye(10), shift, axis=1) for shift in range(3)) / 3
EVEN = np.eye(10) * 0.6 + 0.04


def test_rounded_digits_are_rescaled_and_said(own: Any) -> None:
    (own.folder / "t.csv").write_text(rows_of(THIRDS, "%.3f"))
    shown = own.typed("show noise matrix:t.csv --format json")
    assert np.allclose(np.array(shown.json["matrix"]), THIRDS, atol=1e-12)
    (note,) = shown.notes
    assert "10 of 10 rows of t.csv" in note and "divided by their sums (first: 0, 0.999)" in note
    planned = own.typed(f"run {DRY} --noise matrix:t.csv")
    assert planned.code == 0 and note in planned.notes
    stated = own.typed("run --methods forward --noise sym --seeds 1 --epochs 1 --dry-run --transition-matrix t.csv")
    assert stated.code == 0 and note in stated.notes


@given(data=st.data(), classes=st.integers(2, 12), decimals=st.integers(2, 6))
def test_any_matrix_written_with_few_digits_is_read(data: st.DataObject, classes: int, decimals: int) -> None:
    weights = data.draw(st.lists(st.integers(0, 50), min_size=classes**2, max_size=classes**2))
    matrix = np.array(weights, dtype=float).reshape(classes, classes) + np.eye(classes)
    matrix /= matrix.sum(axis=1, keepdims=True)
    written = np.round(matrix, decimals)
    if (written.sum(axis=1) > 0).all():
        read = validate(written, classes)
        assert np.allclose(read.sum(axis=1), 1) and np.abs(read - matrix).max() <= classes * 10.0**-decimals


@pytest.mark.parametrize(
    ("numbers", "form", "way_out"),
    [
        (EVEN * 100, "%.1f", "percent. Divide every number by 100"),
        (THIRDS * 100, "%.1f", "percent. Divide every number by 100"),
        (EVEN * 37, "%.2f", "divide each row by its sum"),
        (EVEN * 0.9, "%.4f", "divide each row by its sum"),
        (np.eye(10) * 0.5 + 0.04, "%.2f", "divide each row by its sum"),
    ],
)
def test_a_refused_matrix_names_the_way_out(own: Any, numbers: Any, form: str, way_out: str) -> None:
    (own.folder / "t.csv").write_text(rows_of(numbers, form))
    refused = own.typed("show noise matrix:t.csv")
    assert refused.code == 2 and way_out in refused.err and "t.csv" in refused.err


@pytest.mark.parametrize("separator", [";", "\t", " ", "; "])
@pytest.mark.parametrize("header", ["", ";".join("abcdefghij") + "\n"])
def test_decimal_commas(tmp_path: Path, separator: str, header: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(header.replace(";", separator) + rows_of(EVEN, "%.4f", separator).replace(".", ","))
    table = read_matrix(path)
    assert np.allclose(table.values, EVEN) and table.decimal_commas == 100


def test_decimal_commas_are_said(own: Any) -> None:
    (own.folder / "t.csv").write_text(rows_of(EVEN, "%.4f", ";").replace(".", ","))
    shown = own.typed("show noise matrix:t.csv")
    assert shown.code == 0 and "100 numbers of t.csv have a decimal comma" in shown.notes[0]
