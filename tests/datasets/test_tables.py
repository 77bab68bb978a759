"""Tables as people's programs write them: separators, encodings, headers, numbers, missing labels, gaps."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.data_report import alike_note
from datasets.draw import draw_indices
from datasets.folder import Folder
from datasets.interface import DataError, Options
from datasets.listing import Listing
from datasets.noise.column import Column
from datasets.table import Table
from datasets.table_file import TableFile, joined_rows, read_table
from datasets.table_labels import MISSING, Classes, disagreement_note, read_classes, read_column

PLAIN = "path,label\nim/a.png,cat\nim/b.png,dog\n"
Reading = Callable[..., TableFile]
Opening = Callable[..., Table]


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """Reads a table from its text or bytes."""

    def read(content: str | bytes, **columns: str) -> TableFile:
        file = tmp_path / "t.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(file, **columns)

    return read


@pytest.fixture
def pictures(tmp_path: Path, options: Options, save: Callable[..., None]) -> Opening:
    """Opens a table with one line for each of twelve images im/00.png ...; `row` makes it of the image's number."""
    for number in range(12):
        save(tmp_path / f"im/{number:02}.png", number)

    def opened(header: str, row: Callable[[int], str], file: str = "t.csv", **parameters: Any) -> Table:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([header, *map(row, range(12))]), encoding="utf-8")
        return Table(options, str(path), parameters)

    return opened


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
def test_separators(reading: Reading, separator: str) -> None:
    table = reading(PLAIN.replace(",", separator))
    assert (table.header, table.columns) == (["path", "label"], [["im/a.png", "im/b.png"], ["cat", "dog"]])


def test_a_comma_goes_before_other_separators(reading: Reading) -> None:
    table = reading('path,label,"a;b"\nx;y.png,cat,1\n')
    assert table.columns == [["x;y.png"], ["cat"], ["1"]]


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", "\t").encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-16-le"),
        PLAIN.replace("path", " Path ").replace("label", "LABEL").encode(),
        b'"path","label"\n"im/a.png","cat"\n"im/b.png","dog"',
        PLAIN.replace(",", " , ").encode() + b"\n,\n , \n\n",
    ],
    ids=["bom and crlf", "cr", "utf-16", "utf-16 be", "utf-16 without mark", "case", "quotes", "blanks"],
)
def test_ways_in_which_programs_write_the_same_table(reading: Reading, content: bytes) -> None:
    table = reading(content)
    assert table.columns == [["im/a.png", "im/b.png"], ["cat", "dog"]] and table.has_header
    assert [name.casefold() for name in table.header] == ["path", "label"]


@pytest.mark.parametrize("content", [PLAIN.replace("\n", ",,,\n"), PLAIN.replace("label\n", "label,,\n")])
def test_empty_columns_at_the_end(reading: Reading, content: str) -> None:
    assert reading(content).columns[:2] == reading(PLAIN).columns


def test_a_line_that_names_the_separator(reading: Reading) -> None:
    table = reading("sep=;\r\n" + PLAIN.replace(",", ";"))
    assert table.columns == reading(PLAIN).columns and list(table.lines) == [3, 4]


@pytest.mark.parametrize(
    ("content", "path", "label"),
    [
        ("a/1,2.jpg 3\na/4,5.jpg 6\n", ["a/1,2.jpg", "a/4,5.jpg"], ["3", "6"]),
        ("a/1 2.jpg   3\na/4 5.jpg   6\n", ["a/1 2.jpg", "a/4 5.jpg"], ["3", "6"]),
        ("cat a 1.PNG\ndog b.png\n", ["a 1.PNG", "b.png"], ["cat", "dog"]),
        ("a.tiff,cat\nb.tiff,dog\n", ["a.tiff", "b.tiff"], ["cat", "dog"]),
        ("0\ta.webp\n1\tb.webp\n", ["a.webp", "b.webp"], ["0", "1"]),
    ],
)
def test_lists_without_a_header(reading: Reading, content: str, path: Sequence[str], label: Sequence[str]) -> None:
    table = reading(content)
    assert not table.has_header and list(table.lines) == [1, 2]
    assert (table.columns[table.path], table.columns[table.label]) == (path, label)


def test_a_list_of_several_columns_needs_to_be_told_the_labels(reading: Reading) -> None:
    content = "a.png 3 0.5\nb.png 4 0.9\n"
    with pytest.raises(DataError, match=r"no header and 3 columns.*--dataset 'table\[label=2\]:"):
        reading(content)
    assert reading(content, label="2").columns[1] == ["3", "4"]


@pytest.mark.parametrize(
    ("content", "typed", "said"),
    [
        ("image_id,label\na.png,0\n", {}, r"lacks the column path.*'table\[path=image_id\]:.*images=FOLDER"),
        ("file,breed\na.png,cat\n", {}, r"'table\[path=file,label=breed\]:"),
        ("id,breed\n1,cat\n", {}, r"'table\[path=NAME,label=NAME\]:"),
        ("0001 3\n0002 4\n", {}, r"holds 0001 3.*'table\[path=NAME,label=NAME\]:.*put a line path,label above"),
        ("path,Label,LABEL\na.png,1,2\n", {}, r"names the column label twice, as 'Label' and 'LABEL'"),
        ("path,label\na.png,1\n", {"path": "label"}, "can't hold both paths and labels"),
        ("path,label\na.png,1\n", {"label": "breed"}, r"lacks the column breed"),
        ("PK\x03\x04", {}, "an Excel workbook. Save it as CSV"),
        ('[{"path": "a.png"}]', {}, "JSON. Save it as CSV"),
        ("\n \n", {}, "its first line holds nothing"),
        ("path;label", {}, "has no rows below its header"),
        ("path,label,x,x\na.png,1,,\n", {}, "names columns twice: 'x'"),
        ("path,label,,\na.png,1,2,3\n", {}, "names columns twice: ''"),
        ("a.png 1\nb.png\n", {}, r"1 rows .*\n  line 2: 1 cells"),
    ],
)
def test_refusals_say_what_to_type(reading: Reading, content: str, typed: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        reading(content, **typed)


def test_columns_by_name_case_and_number(reading: Reading) -> None:
    content = "Id,Breed,3\na.png,cat,x\n"
    for path, label in (("id", "breed"), ("Id", "2"), ("1", "BREED")):
        table = reading(content, path=path, label=label)
        assert (table.path, table.label) == (0, 1)
    assert reading(content, path="1", label="3").label == 2


def test_the_table_without_options_is_hashed_as_ever(reading: Reading, pictures: Opening) -> None:
    table = pictures("path,label,by", lambda n: f"im/{n:02}.png,{n % 2}, x")
    rows = table.read().rows
    assert rows.startswith("path\x1fim/00.png\x1f") and rows.endswith("\x1ex".replace("x", "by") + "\x1fx" * 12)
    plain = reading(PLAIN)
    assert joined_rows(plain.header, plain.columns) == "path\x1fim/a.png\x1fim/b.png\x1elabel\x1fcat\x1fdog"


def test_options_that_change_what_is_read_change_the_hash(pictures: Opening) -> None:
    def row(number: int) -> str:
        return f"im/{number:02}.png,{number % 2},{number % 3}"

    plain, other = pictures("path,label,b", row), pictures("path,label,b", row, label="b")
    placed = pictures("path,label,b", row, images=str(plain.file.parent))
    assert plain.content_hash() == placed.content_hash() != other.content_hash()
    assert (plain.label, placed.label, other.label) == ("table:t.csv", "table:t.csv", "table[label=b]:t.csv")
    assert other.describe().classes == ("0", "1", "2") and plain.describe().columns == ()


# Numbers -------------------------------------------------------------------------------------------------------------

FORMS: Sequence[Callable[[int], str]] = (
    lambda n: f"{n}.0",
    lambda n: f"{n}.",
    lambda n: f"{n},0",
    lambda n: f"{n:.18e}",
    lambda n: f"+{n}.00",
)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.sampled_from(FORMS), st.data())
def test_whole_floats_are_whole_numbers(numbers: list[int], form: Callable[[int], str], data: Any) -> None:
    floats = data.draw(st.lists(st.booleans(), min_size=len(numbers), max_size=len(numbers)))
    plain = read_classes([str(n) for n in numbers])
    mixed = read_classes([form(n) if as_float else str(n) for n, as_float in zip(numbers, floats, strict=True)])
    assert mixed.names == plain.names and np.array_equal(mixed.labels, plain.labels)
    column = read_column(Path("t"), "a", [form(n) for n in numbers], range(len(numbers)), plain, None)
    assert np.array_equal(column, plain.labels)


@given(st.lists(st.text("0129.ex-", min_size=1, max_size=4), min_size=1, max_size=20))
def test_ids_of_other_classes_stay_those_of_the_text(cells: list[str]) -> None:
    classes = read_classes(cells)
    if not classes.written:
        digits = all(cell.isdigit() for cell in cells)
        order = sorted(set(cells), key=lambda cell: (int(cell), cell) if digits else cell)  # type: ignore[arg-type]
        assert classes.labels.tolist() == [order.index(cell) for cell in cells]


def test_numbers_that_are_not_all_whole_are_names() -> None:
    assert read_classes(["1.0", "1.5", "2.0"]).names == ("1.0", "1.5", "2.0")
    assert read_classes(["1.0", "x"]).names == ("1.0", "x")
    assert read_classes(["-1.0", "1.0", "10.0", "2.0"]).names == ("-1", "1", "2", "10")
    assert read_classes(["1e1", "2"]).names == ("1e1", "2")


def test_few_whole_floats_keep_the_hash_and_many_do_not(pictures: Opening) -> None:
    few = pictures("path,label", lambda n: f"im/{n:02}.png,{n % 3}.0").read()
    many = pictures("path,label", lambda n: f"im/{n:02}.png,{n}.0").read()
    assert few.classes == ("0", "1", "2") and "whole" not in few.rows
    assert many.classes == tuple(map(str, range(12))) and many.rows.endswith("whole numbers")


def test_whole_floats_that_count_from_one_keep_the_hash_unless_a_column_was_read_by_ids(pictures: Opening) -> None:
    def listing(cell: Callable[[int], str]) -> Listing:
        return pictures("path,label,ann", lambda n: f"im/{n:02}.png,{1 + n % 3}.0,{cell(n)}").read()

    assert "whole" not in listing(lambda n: f"{1 + n % 2}.0").rows + listing(lambda n: "someone").rows
    by_name = listing(lambda n: str(1 + n % 2))
    assert by_name.columns["ann"].tolist() == [0, 1] * 6 and by_name.rows.endswith("whole numbers")


# Missing labels and gaps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", sorted({"", *MISSING}))
def test_missing_labels(pictures: Opening, word: str) -> None:
    def row(number: int) -> str:
        return f"im/{number:02}.png,{word if number == 3 else 'ab'[number % 2]}"

    with pytest.raises(DataError, match=r"1 rows .* have an empty label.*table\[missing=drop\]:.*\n  line 5"):
        pictures("path,label", row).describe()
    dropped = pictures("path,label", row, missing="drop")
    report = dropped.report()
    assert dropped.describe().classes == ("a", "b") and report.left_out == {"rows without a label": 1}
    assert "1 of 12 rows of t.csv have no label and are left out (first: line 5)" in report.notes
    as_class = pictures("path,label", row, missing="class")
    if word:
        assert set(as_class.describe().classes) == {"a", "b", word}
        assert as_class.label == "table:t.csv" and "\x1d" not in as_class.read().rows  # as it was always read
    else:
        with pytest.raises(DataError, match="empty label"):
            as_class.describe()


def test_missing_says_drop_or_class(options: Options) -> None:
    with pytest.raises(DataError, match=r"table\[missing=keep\] is impossible. Type missing=drop"):
        Table(options, "t.csv", {"missing": "keep"})


def test_rows_without_an_opinion_stay_out(pictures: Opening) -> None:
    data_set = pictures(
        "path,label,split,ann",
        lambda n: f"im/{n:02}.png,{'ab'[n % 2]},{'test' if n > 8 else 'train'},{'nan' if n in (2, 10) else n % 2}",
    )
    outline = data_set.outline(0)
    labelled = Column("ann").labelled(outline.columns)
    assert labelled is not None and labelled.tolist() == [0, 1, 3, 4, 5, 6, 7, 8]
    assert draw_indices(outline.labels, 2, eligible=labelled).tolist() == labelled.tolist()
    assert set(draw_indices(outline.labels, 2, train_size=4, eligible=labelled)) < set(labelled.tolist())
    assert data_set.report().notes == (
        "column ann of t.csv has no label in 1 of 9 training rows (first: line 4): with --noise column:ann these rows "
        "stay out of training",
    )


def test_a_class_that_nobody_has_an_opinion_on_is_named(pictures: Opening) -> None:
    data_set = pictures("path,label,ann", lambda n: f"im/{n:02}.png,{'abc'[n % 3]},{'' if n % 3 == 2 else 'a'}")
    assert "has no label in 4 of 12 rows (first: line 4), and so in all of c:" in data_set.report().notes[0]


def test_why_a_column_is_no_labelling() -> None:
    classes, lines = read_classes(["a", "b"]), range(2, 4)

    def reason(*cells: str, of: Classes = classes) -> str:
        return str(read_column(Path("t.csv"), "c", cells, lines, of, None))

    assert reason("", "nan") == "it is empty in all training rows"
    assert reason("0", "2") == "1 rows hold no class, the first on line 3: '2', and ids go from 0 to 1"
    assert reason("A", "B") == "2 rows hold no class, the first on line 2: 'A', where label has 'a'"
    assert reason("0.5", "1") == "1 rows hold no class, the first on line 2: '0.5'"
    assert reason("4", "1", of=read_classes(["0", "1"])).startswith("1 rows hold no class, the first on line 2: '4'")


# Notes ---------------------------------------------------------------------------------------------------------------


def test_classes_that_are_written_almost_alike() -> None:
    (note,) = alike_note(["Cat", "cat", "dog", "hen house", "hen_house", "-1", "1", "cafe\u0301", "caf\u00e9"])
    assert "3 class names" in note and "'Cat'/'cat', 'hen house'/'hen_house'" in note and "'-1'" not in note
    assert alike_note(["a", "b"]) == []


def test_class_folders_that_are_written_almost_alike(
    tmp_path: Path, options: Options, save: Callable[..., None]
) -> None:
    for name in ("Cat", "cat", "dog"):
        for number in range(3):
            save(tmp_path / f"pets/{name}/{number}.png", number)
    assert any("('Cat'/'cat')" in note for note in Folder(options, str(tmp_path / "pets")).report().notes)


@pytest.mark.parametrize(
    ("given_ids", "said"),
    [
        (lambda ids: ids, None),
        (lambda ids: (ids + 1) % 4, "in 0% of the training rows, less than chance (25%)"),
        (lambda ids: np.array([0, 2, 3, 1])[ids], "in 25% of the training rows, and in 100% in another order"),
        (lambda ids: np.where(np.arange(40) % 3 == 0, (ids + 1) % 4, ids), None),
        (lambda ids: np.full(40, -1) * (np.arange(40) > 8) + ids * (np.arange(40) <= 8), None),
    ],
)
def test_columns_that_agree_less_than_chance(given_ids: Callable[[Any], Any], said: str | None) -> None:
    ids = np.arange(40) % 4
    notes = disagreement_note(read_classes([str(number) for number in ids]), {"ann": given_ids(ids)}, None)
    assert (notes == []) if said is None else said in notes[0] and notes[0].startswith("column ann agrees with label")


# Paths ---------------------------------------------------------------------------------------------------------------


def test_backslashes_are_read_where_no_file_is_called_so(pictures: Opening) -> None:
    table = pictures("path,label", lambda n: f"im\\{n:02}.png,{n % 2}")
    strange = table.file.parent / "im\\00.png"
    strange.write_bytes((table.file.parent / "im/00.png").read_bytes())
    assert "11 paths are read with / in the place of \\ (first: im\\01.png)" in table.report().notes
    assert table.read().paths[:2] == [str(strange), str(table.file.parent / "im/01.png")]
    table.content_hash()


@pytest.mark.parametrize(
    ("cell", "file", "typed"),
    [
        ("{:02}.png", "t.csv", "images={}/im"),
        ("im/{:02}.png", "lists/t.csv", "images={}"),
        ("im/{:02}", "t.csv", "suffix=.png"),
        ("{:02}", "lists/t.csv", "images={}/im,suffix=.png"),
    ],
)
def test_files_that_lie_elsewhere_are_found(
    pictures: Opening, tmp_path: Path, cell: str, file: str, typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pictures("path,label", lambda n: f"{cell.format(n)},{n % 2}", file)
    if file.startswith("lists") and "im/" not in cell:
        (tmp_path / "im").rename(tmp_path / "lists/im")
        typed = typed.replace("{}", "lists")
    with pytest.raises(DataError, match="12 of 12 image files don't exist") as caught:
        table.content_hash()
    said = str(caught.value).splitlines()[-1]
    assert f"these were looked for from {table.file.parent}. They exist otherwise: type --dataset 'table[" in said
    found = re.search(r"'table\[(.*)\]:", said)
    assert found is not None
    assert found[1] == typed.format(".").replace("./im", "im")
    parameters = dict(item.split("=") for item in found[1].split(","))
    Table(table.options, str(table.file), parameters).content_hash()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("/content/drive/{:02}.png", "full paths, perhaps of another machine"),
        ("C:\\pics\\{:02}.png", "full paths, perhaps of another machine"),
        ("https://x.org/{:02}.png", "addresses, not files"),
        ("nowhere/{:02}.png", r"type --dataset 'table\[images=FOLDER\]:"),
    ],
)
def test_files_that_are_nowhere(pictures: Opening, cell: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        pictures("path,label", lambda n: f"{cell.format(n)},{n % 2}").content_hash()
