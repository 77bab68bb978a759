"""Tables of people's own data, typed: other names and separators, whole floats, missing labels, gaps, wrong places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

KINDS = ("cat", "cow", "dog", "hen")


def opinion(kind: int, number: int, classes: int = 4) -> int:
    """Every fifth is the next class."""
    return (kind + (number % 5 == 0)) % classes


def classes_of(own: Any, data_set: str) -> list[str]:
    """The classes that `show dataset` finds."""
    shown = own.typed(f"show dataset '{data_set}' --format json")
    assert shown.code == 0, shown.err
    return list(shown.json["description"]["classes"])


def realised(own: Any, line: str) -> float:
    """The realised rate that `show noise` prints."""
    shown = own.typed(f"show noise {line} --format json")
    assert shown.code == 0, shown.err
    return float(shown.json["realised_rate"])


def refused(own: Any, line: str) -> str:
    """The error of a command that must be refused."""
    shown = own.typed(line)
    assert (shown.code, shown.out) == (2, "") and "Traceback" not in shown.err
    return str(shown.err)


def test_whole_floats_name_the_same_classes_as_whole_numbers(own: Any) -> None:
    found = own.pictures(10, 12)
    own.table("t.csv", ("path", "label", "ann"), [(p, f"{k}.0", opinion(k, n, 12)) for p, k, n in found])
    assert classes_of(own, "table:t.csv") == [str(number) for number in range(12)]
    assert 0.15 < realised(own, "column:ann --dataset table:t.csv") < 0.25
    own.table("w.csv", ("path", "label", "ann"), [(p, KINDS[k % 4], f"{opinion(k % 4, n)}.0") for p, k, n in found])
    assert 0.15 < realised(own, "column:ann --dataset table:w.csv") < 0.25


def test_a_column_in_another_order_is_noted_by_every_command(own: Any) -> None:
    own.table("t.csv", ("path", "label", "ann"), [(p, KINDS[k], (k + 1) % 4) for p, k, _ in own.pictures(6)])
    for line in ("show dataset table:t.csv", "show noise column:ann --dataset table:t.csv"):
        assert any("agrees with label in 0% of the training rows, less than chance" in n for n in own.typed(line).notes)


def test_missing_labels_are_refused_with_two_ways_out(own: Any) -> None:
    rows = [(p, "nan" if n == 3 else f"{k}.0") for p, k, n in own.pictures(8)]
    own.table("t.csv", ("path", "label"), rows)
    said = refused(own, "show dataset table:t.csv")
    assert "4 rows of t.csv have an empty label (or nan" in said and "line 5: nan" in said
    assert "'table[missing=drop]:t.csv'" in said and "'table[missing=class]:t.csv'" in said
    assert classes_of(own, "table[missing=drop]:t.csv") == ["0", "1", "2", "3"]
    assert "nan" in classes_of(own, "table[missing=class]:t.csv")


def test_classes_in_two_cases_are_noted(own: Any) -> None:
    rows = [(p, KINDS[k].title() if n % 3 else KINDS[k]) for p, k, n in own.pictures(6)]
    own.table("t.csv", ("path", "label"), rows)
    assert "'Cat'/'cat', 'Cow'/'cow', 'Dog'/'dog', 'Hen'/'hen'" in own.typed("show dataset table:t.csv").notes[0]


@pytest.mark.parametrize("header", [("path", "label"), ("Path", "LABEL")])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_case(own: Any, header: tuple[str, str], separator: str) -> None:
    own.table("t.csv", header, [(p, KINDS[k]) for p, k, _ in own.pictures(3)], separator)
    assert classes_of(own, "table:t.csv") == list(KINDS)


def test_a_list_without_a_header(own: Any) -> None:
    lines = [f"{own.picture(f'im/{k}/1,{n}.png', k, n)} {k}\n" for k in range(4) for n in range(5)]
    (own.folder / "list.txt").write_text("".join(lines), encoding="utf-8")
    assert classes_of(own, "table:list.txt") == ["0", "1", "2", "3"]
    (note,) = own.typed("show dataset table:list.txt").notes
    assert note == "list.txt has no header: column 1 is taken for path and column 2 for label (first: im/0/1,0.png, 0)"


def test_other_column_names_and_folders_are_typed_as_the_refusals_say(own: Any) -> None:
    rows = [(p.removeprefix("im/"), k) for p, k, _ in own.pictures(3)]
    own.table("lists/kaggle.csv", ("image_id", "level"), rows)
    said = refused(own, "show dataset table:lists/kaggle.csv")
    assert "'table[path=image_id,label=level]:lists/kaggle.csv'" in said and "images=FOLDER" in said
    said = refused(own, "show dataset 'table[path=image_id,label=level]:lists/kaggle.csv'")
    assert "12 of 12 image files don't exist" in said and "looked for from" in said and "images=FOLDER" in said
    name = "table[path=image_id,label=level,images=im]:lists/kaggle.csv"
    assert classes_of(own, name) == ["0", "1", "2", "3"]
    shown = own.typed(f"show noise sym --dataset '{name}'")
    assert shown.out.startswith("sym on table[label=level,path=image_id]:kaggle.csv: ")


def test_a_folder_with_a_colon_and_unknown_parameters(own: Any) -> None:
    own.table("t.csv", ("path", "label"), [(p[4:], k) for p, k, _ in own.pictures(3, root="a:b/im")])
    assert classes_of(own, "table[images=a:b]:t.csv") == ["0", "1", "2", "3"]
    said = refused(own, "show dataset 'table[images=b:a]:t.csv'")
    assert "looked for from" in said and "They exist otherwise: type --dataset 'table[images=a:b]:t.csv'" in said
    assert "no parameter 'lable'. Did you mean label?" in refused(own, "show dataset 'table[lable=x]:t.csv'")
    assert "missing=drop" in refused(own, "run --dataset 'table[missing=some]:t.csv'")


def test_paths_from_elsewhere(own: Any) -> None:
    rows = [(p, k) for p, k, _ in own.pictures(3)]
    own.table("lists/t.csv", ("path", "label"), rows)
    assert "They exist otherwise: type --dataset 'table[images=.]:lists/t.csv'" in refused(
        own, "show dataset table:lists/t.csv"
    )
    assert classes_of(own, "table[images=.]:lists/t.csv") == ["0", "1", "2", "3"]
    own.table("t.csv", ("path", "label"), [(p.replace("/", "\\"), k) for p, k in rows])
    assert own.typed("show dataset table:t.csv").notes == [
        "12 paths are read with / in the place of \\ (first: im\\0-00.png)"
    ]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (lambda k, n: 4 if n == 2 else k, "4 rows hold no class, the first on line 4: '4', and ids go from 0 to 3"),
        (lambda k, n: k / 2, "the first on line 8: '0.5'"),
        (lambda k, n: "", "it is empty in all training rows"),
    ],
)
def test_a_column_that_is_no_labelling(own: Any, cell: Callable[[int, int], object], reason: str) -> None:
    own.table("t.csv", ("path", "label", "ann"), [(p, k, cell(k, n)) for p, k, n in own.pictures(6)])
    said = refused(own, "show noise column:ann --dataset table:t.csv")
    assert "The column 'ann' of table:t.csv can't be used as labels" in said and reason in said
    said = refused(own, "run --noise column:label --dataset table:t.csv")
    assert "holds the labels that predictions are judged by. Type --noise as-given" in said


def test_training_leaves_rows_without_an_opinion_out(own: Any) -> None:
    rows = [(p, KINDS[k], KINDS[opinion(k, n)] if n % 2 else "", f"{k}.0") for p, k, n in own.pictures(10)]
    own.table("t.csv", ("path", "label", "ann", "all"), rows)
    line = "run --methods ce --epochs 1 --seeds 1 --model cnn-small --batch-size 8 --jobs 1 --dataset table:t.csv"
    done = own.typed(f"{line} --noise column:ann,column:all --format json")
    assert done.code == 0, done.err
    assert "column ann of t.csv has no label in 20 of 40 rows (first: line 2)" in done.err
    sizes = {record["spec"]["noise"]: record["measures"]["samples"] for record in own.records()}
    assert sizes["column:all"]["train"] + sizes["column:all"]["holdout"] == 32
    assert 10 <= sizes["column:ann"]["train"] + sizes["column:ann"]["holdout"] <= 20
    said = refused(own, f"{line} --noise column:ann --train-size 30")
    assert "A training size of 30 is more than the" in said


def test_saved_labels_of_a_column_with_gaps_name_the_images_that_have_one(own: Any) -> None:
    rows = [(p, KINDS[k], "train" if n else "test", k if n > 2 else "") for p, k, n in own.pictures(6)]
    own.table("t.csv", ("path", "label", "split", "ann"), rows)
    done = own.typed("show noise column:ann --dataset table:t.csv --save-labels kept.json")
    assert done.code == 0 and "saved 12 labels" in done.err, done.err
