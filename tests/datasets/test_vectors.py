"""Files of vectors: arrays, tables of numbers, what is read of them, and every mistake's own message."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.arrays import feature_statistics
from datasets.features import Features
from datasets.interface import DataError, Options
from datasets.number_columns import ColumnCells
from datasets.samples import PlainViews
from datasets.table import Table

ROWS = 30
DRAW = np.random.Generator(np.random.PCG64(0))
VALUES = DRAW.normal(size=(ROWS, 3)).astype(np.float32)
LABELS = np.arange(ROWS) % 3


def arrays(folder: Path, **more: Any) -> str:
    """A file of arrays; `more` replaces or adds some, None leaves one out."""
    held = {"features": VALUES, "labels": LABELS} | more
    np.savez(folder / "vectors.npz", **{name: np.asarray(value) for name, value in held.items() if value is not None})
    return str(folder / "vectors.npz")


def table(folder: Path, head: str, row: Callable[[int], str], name: str = "own.csv", count: int = ROWS) -> str:
    """A CSV file of a header and `count` rows."""
    lines = ([head] if head else []) + [row(number) for number in range(count)]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / name)


def numbers(number: int) -> str:
    return ",".join(f"{value:.7g}" for value in VALUES[number])


def plain(number: int) -> str:
    return f"{numbers(number)},{'abc'[number % 3]}"


# Arrays --------------------------------------------------------------------------------------------------------------


def test_arrays_become_vectors_with_a_seeded_split(tmp_path: Path, options: Options) -> None:
    data = Features(options, arrays(tmp_path)).load(0)
    described = data.description
    assert described.classes == ("0", "1", "2") and described.seeded_split and not described.clean_labels
    assert described.image_shape is None and described.vectors is not None and described.vectors.length == 3
    assert (len(data.train), len(data.test)) == (24, 6)
    assert data.train.images.shape == (24, 1, 3) and data.train.images.dtype == np.float32
    both = np.concatenate([part.images[np.arange(len(part))][:, 0] for part in (data.train, data.test)])
    assert np.array_equal(np.sort(both, axis=0), np.sort(VALUES, axis=0))
    assert described.protocol.model == "mlp" and described.protocol.augmentation == "none"


def test_views_names_parts_and_columns_of_arrays(tmp_path: Path, options: Options) -> None:
    views = np.stack([VALUES, VALUES + 1, VALUES + 2], axis=1).astype(np.float16)
    split = np.where(np.arange(ROWS) < 20, "train", "test")
    noisy = np.where(np.arange(ROWS) % 5, LABELS, -1)
    file = arrays(
        tmp_path, features=views, split=split, noisy=noisy, class_names=["x", "y", "z"], weights=VALUES, odd=LABELS + 9
    )
    data_set = Features(options, file)
    data = data_set.load(0)
    assert data.description.classes == ("x", "y", "z") and data.description.columns == ("noisy",)
    assert data.description.vectors is not None and data.description.vectors.views == 3
    assert data.description.vectors.value_bytes == 2 and data.train.images.dtype == np.float16
    assert data.train.images.shape == (20, 3, 3) and data.test.images.shape == (10, 1, 3)
    assert np.array_equal(data.test.images[np.arange(10)][:, 0], views[20:, 0])
    assert data.description.protocol.augmentation == "view"
    report = data_set.report()
    assert set(report.unused_columns) == {"weights", "odd"} and "2 arrays of vectors.npz" in report.notes[0]
    assert np.allclose(data.mean, views[:20, 0].mean(axis=0, dtype=np.float64))


def test_test_arrays_stand_apart(tmp_path: Path, options: Options) -> None:
    names = np.array(["b", "a", "c"])
    file = arrays(tmp_path, labels=names[LABELS], test_features=VALUES[:7] + 1, test_labels=names[LABELS[:7]])
    data = Features(options, file).load(3)
    assert not data.description.seeded_split and (len(data.train), len(data.test)) == (ROWS, 7)
    assert data.description.classes == ("a", "b", "c")
    assert np.array(data.description.classes)[data.test.labels].tolist() == names[LABELS[:7]].tolist()
    assert np.array_equal(data.test.images[np.arange(7)][:, 0], VALUES[:7] + 1)


def test_a_later_opening_reads_the_cache_and_another_content_has_another_hash(tmp_path: Path, options: Options) -> None:
    file = arrays(tmp_path)
    first = Features(options, file)
    loaded, sha256 = first.load(0), first.content_hash()
    again = Features(options, file)
    again.read = lambda: pytest.fail("the file was read again")  # type: ignore[method-assign]
    assert np.array_equal(again.load(0).train.images, loaded.train.images) and again.content_hash() == sha256
    assert again.load(0).description == loaded.description
    assert isinstance(again.listing.vectors.base, np.memmap | np.ndarray) and not again.listing.vectors.flags.writeable
    arrays(tmp_path, features=VALUES + 1)
    assert Features(options, file).content_hash() != sha256


NAN = VALUES.copy()
NAN[[4, 7], 1] = np.nan
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"features": NAN}, r"2 of 30 rows of features have numbers that are missing.*row 4, feature 1: NaN"),
    "too large": ({"features": VALUES.astype(np.float64) * 1e39}, "too large"),
    "images": ({"features": np.zeros((ROWS, 8, 8, 3), np.uint8)}, r"shape \(30, 8, 8, 3\).*folder: or table:"),
    "grey images": ({"features": np.zeros((ROWS, 28, 28), np.uint8)}, r"features.reshape\(30, -1\)"),
    "text": ({"features": np.full((ROWS, 2), "x")}, "no numbers"),
    "no vectors": ({"features": np.zeros((0, 3)), "labels": np.zeros(0, int)}, "which holds nothing"),
    "no numbers": ({"features": np.zeros((ROWS, 0))}, "which holds nothing"),
    "one class": ({"labels": np.zeros(ROWS, int)}, "All 30 vectors are labelled '0': at least two classes"),
    "floats": ({"labels": LABELS / 2}, r"labels holds float64, which are no classes.*astype\(int\)"),
    "one-hot": ({"labels": np.eye(3)[LABELS]}, r"labels has shape \(30, 3\)"),
    "too few": ({"labels": LABELS[:-1]}, r"labels has shape \(29,\), and 30 rows"),
    "negative": ({"labels": LABELS - 1}, r"10 labels are below 0.*row 0"),
    "no labels": ({"labels": None}, "lacks the array labels: it holds features"),
    "outside": ({"class_names": ["a", "b"]}, "10 labels are none of the 2 classes of class_names"),
    "names twice": ({"class_names": ["a", "b", "b"]}, "different names"),
    "half a test part": ({"test_features": VALUES}, "test_features without test_labels"),
    "other features": ({"test_features": VALUES[:, :2], "test_labels": LABELS}, "vectors of 3 numbers, and test_feat"),
    "unknown part": ({"split": np.full(ROWS, "foo")}, r"neither train, val nor test \(first: row 0: 'foo'"),
    "two splits": (
        {"split": np.full(ROWS, "a"), "test_features": VALUES, "test_labels": LABELS},
        "both split and test",
    ),
    "no test part": ({"split": np.full(ROWS, "train")}, "No vector belongs to the test part"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_have_one_message(case: str, tmp_path: Path, options: Options) -> None:
    held, message = WRONG[case]
    with pytest.raises(DataError, match=message):
        Features(options, arrays(tmp_path, **held)).load(0)


def test_objects_are_never_read(tmp_path: Path, options: Options) -> None:
    np.savez(tmp_path / "own.npz", features=VALUES, labels=np.array([{}] * ROWS, dtype=object))
    with pytest.raises(DataError, match="labels holds Python objects, which are never read"):
        Features(options, str(tmp_path / "own.npz")).load(0)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x93NUMPY"])
def test_broken_files_of_arrays(content: bytes, tmp_path: Path, options: Options) -> None:
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match="can't be read as NumPy arrays"):
        Features(options, str(tmp_path / "own.npz")).load(0)
    stored = io.BytesIO()
    np.save(stored, VALUES)
    (tmp_path / "own.npz").write_bytes(stored.getvalue())
    with pytest.raises(DataError, match="is one array"):
        Features(options, str(tmp_path / "own.npz")).load(0)


def test_files_that_are_not_there_and_options_for_images(tmp_path: Path, options: Options) -> None:
    with pytest.raises(DataError, match="isn't there, or isn't a file"):
        Features(options, str(tmp_path / "none.npz")).content_hash()
    with pytest.raises(DataError, match="isn't a file that is read here"):
        (tmp_path / "own.pt").write_bytes(b"x")
        Features(options, str(tmp_path / "own.pt")).load(0)
    with pytest.raises(DataError, match="--image-size is for images"):
        Features(replace(options, image_size=8), arrays(tmp_path)).load(0)


# Tables --------------------------------------------------------------------------------------------------------------


def test_a_table_of_numbers_is_read_by_either_name(tmp_path: Path, options: Options) -> None:
    file = table(tmp_path, "a,b,c,label", plain)
    for data_set in (Features(options, file), Table.opened(options, file)):
        data = data_set.load(0)
        assert data.description.classes == ("a", "b", "c") and data.train.images.shape == (24, 1, 3)
        assert (
            data.description.name
            == f"{'table' if data_set is not None and data_set.label[0] == 't' else 'features'}:own.csv"
        )
        assert np.allclose(
            np.sort(np.concatenate([data.train.images, data.test.images])[:, 0], axis=0), np.sort(VALUES, 0)
        )
    assert isinstance(Table.opened(options, file), Features)


def test_columns_find_their_use(tmp_path: Path, options: Options) -> None:
    def row(number: int) -> str:
        noisy, part = "abc"[(number + (number % 4 == 0)) % 3], "test" if number % 5 == 4 else "train"
        return f"{number + 100},{numbers(number)},{'abc'[number % 3]},{noisy},some text {number},{part},{number % 2},"

    file = table(tmp_path, "id,x,y,z,label,opinion,remark,split,is_tall,empty", row)
    data_set = Features(options, file)
    data = data_set.load(0)
    assert data.train.images.shape == (24, 1, 4) and len(data.test) == 6  # x, y, z and is_tall
    assert data.description.columns == ("opinion",)
    assert set(dict(data.description.unused_columns)) == {"id", "remark", "empty"}
    assert "3 columns of own.csv are neither features nor labels" in data_set.report().notes[-1]


def test_numbers_are_features_unless_their_name_says_labels(tmp_path: Path, options: Options) -> None:
    file = table(tmp_path, "x,bit,label,noisy_label", lambda n: f"{n / 7},{n % 2},{n % 3},{(n + n % 2) % 3}")
    data = Features(options, file).load(0)
    assert data.train.images.shape[2] == 2 and data.description.columns == ("noisy_label",)


def test_tables_without_a_header_and_with_commas_in_numbers(tmp_path: Path, options: Options) -> None:
    bare = table(tmp_path, "", lambda n: f"{n % 3 + 1},{numbers(n)}", "wine.data")
    data_set = Features(options, bare, {"label": "1"})
    assert data_set.describe().classes == ("1", "2", "3") and len(data_set.listing.labels) == ROWS
    assert "has no header" in " ".join(data_set.report().notes)
    german = table(tmp_path, "x;y;label", lambda n: f"{n},5;{-n},25;{'ab'[n % 2]}", "german.csv")
    vectors = Features(options, german).listing.vectors
    assert vectors[3, 0].tolist() == [3.5, -3.25]


def test_rows_with_gaps_are_refused_or_dropped(tmp_path: Path, options: Options) -> None:
    def row(number: int) -> str:
        return plain(number).replace(numbers(number), "1,?,2" if number == 4 else numbers(number))

    file = table(tmp_path, "a,b,c,label", row)
    with pytest.raises(DataError, match=r"1 of 30 rows of own.csv.*line 6, b, which also holds '\?'.*missing=drop"):
        Features(options, file).load(0)
    data_set = Features(options, file, {"missing": "drop"})
    assert len(data_set.listing.labels) == 29 and data_set.report().left_out == {"rows with missing numbers": 1}
    for cell in ("", "nan", "inf", "NA"):
        table(tmp_path, "a,b,c,label", lambda n, cell=cell: f"{cell if n in (2, 9) else n},1,2,{n % 3}")
        with pytest.raises(DataError, match=r"2 of 30 rows of own.csv have numbers that are missing.*line 4, a"):
            Features(options, file).load(0)


TABLES = {
    "no label": ("a,b,diagnosis", plain, "lacks the column label: its first line.*label=diagnosis"),
    "quantities": ("a,b,c,label", lambda n: f"{numbers(n)},{n / 8}", "different labels in label aren't whole numbers"),
    "empty label": (
        "a,b,c,label",
        lambda n: f"{numbers(n)},{'' if n == 3 else n % 2}",
        "1 of 30 rows.*no label.*line 5",
    ),
    "text only": ("a,label", lambda n: f"word {n % 4},{n % 2}", "no column of numbers beside label"),
    "ragged": ("a,b,c,label", lambda n: plain(n) + ",1" * (n == 2), "1 rows of .* don't have the 4 cells.*line 4: 5"),
    "twice": ("a,a,c,label", plain, "names columns twice: 'a'"),
    "one class": ("a,b,c,label", lambda n: f"{numbers(n)},x", "All 30 vectors are labelled 'x'"),
}


@pytest.mark.parametrize("case", TABLES)
def test_wrong_tables_have_one_message(case: str, tmp_path: Path, options: Options) -> None:
    head, row, message = TABLES[case]
    if case == "no label":
        row = lambda n: f"{n},{n},{'ab'[n % 2]}"  # noqa: E731
    with pytest.raises(DataError, match=message):
        Features(options, table(tmp_path, head, row)).load(0)


@pytest.mark.parametrize("text", ["", "a,b,label\n", "\n\n"])
def test_empty_tables(text: str, tmp_path: Path, options: Options) -> None:
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(DataError, match=r"is empty|has no rows"):
        Features(options, str(tmp_path / "own.csv")).load(0)


def test_tables_of_images_stay_tables_of_images(photos: Path, tmp_path: Path, options: Options) -> None:
    assert isinstance(Table.opened(options, str(photos / "index.csv")), Table)
    for head, row in (("image_id,label", "1,cat"), ("id,label", "7,2"), ("name,label", "a.png,2")):
        assert isinstance(Table.opened(options, table(tmp_path, head, lambda n, row=row: row)), Table)
    assert isinstance(Table.opened(options, str(tmp_path / "none.csv")), Table)


def test_parquet_says_what_it_needs_or_is_read(tmp_path: Path, options: Options) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"embedding": VALUES.tolist(), "x": LABELS / 3, "label": [f"c{number}" for number in LABELS]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "own.parquet")
    data = Table.opened(options, str(tmp_path / "own.parquet")).load(0)
    assert data.train.images.shape == (24, 1, 4) and data.description.classes == ("c0", "c1", "c2")
    parquet.write_table(pyarrow.table({"x": [1.0, None], "label": ["a", "b"]}), tmp_path / "own.parquet")
    with pytest.raises(DataError, match=r"1 of 2 rows.*row 1, x"):
        Features(options, str(tmp_path / "own.parquet")).load(0)


def test_parquet_without_its_package(tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "own.parquet").write_bytes(b"PAR1....PAR1")
    with pytest.raises(DataError, match=r"pip install 'lnl-bench\[parquet\]'"):
        Features(options, str(tmp_path / "own.parquet")).load(0)


# Pieces --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20), st.integers(0, 3))
def test_statistics_are_numpys_and_a_constant_feature_divides_by_one(values: list[float], views: int) -> None:
    column = np.array(values, np.float32)
    vectors = np.stack([column, np.full_like(column, 0.1)], axis=1)[:, None].repeat(views + 1, axis=1)
    vectors[:, 1:] += 7
    mean, std = feature_statistics(vectors, np.arange(len(column)))
    assert mean == pytest.approx([float(column.mean(dtype=np.float64)), float(np.float32(0.1))], rel=1e-6, abs=1e-6)
    spread = float(column.std(dtype=np.float64))
    assert (
        std[0] == pytest.approx(spread, rel=1e-6, abs=1e-9) if len(set(values)) > 1 and spread > 1e-30 else std[0] >= 0
    )
    assert std[1] == 1.0


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=30))
def test_every_written_number_is_read(values: list[float]) -> None:
    cells = ColumnCells(False)
    cells.add([repr(value) for value in values])
    assert not cells.is_text and cells.numbers().tolist() == values


def test_plain_views_are_images_of_one_position() -> None:
    views = PlainViews(np.stack([VALUES, VALUES + 1], axis=1))
    assert views.shape == (ROWS, 1, 1, 3) and len(views) == ROWS
    assert np.array_equal(views[np.array([2, 5])], VALUES[[2, 5]][:, None, None])
