"""The report on a user's own data: images by part and class, and which columns are labels."""

from __future__ import annotations

from typing import Any


def test_classes_are_counted_and_columns_explained(own: Any) -> None:
    rows = [(path, f"kind {kind}", kind, "someone") for path, kind, _ in own.pictures(10)]
    own.table("index.csv", ("path", "label", "opinion", "author"), rows)
    shown = own.typed("show dataset table:index.csv --format json")
    report = shown.json["report"]
    assert report["images"] == {part: {f"kind {k}": n for k in range(4)} for part, n in (("train", 8), ("test", 2))}
    assert report["columns"] == ["opinion"]
    assert report["unused_columns"] == {"author": "40 rows hold no class, the first on line 2: 'someone'"}
    assert shown.notes == report["notes"] and "author" in shown.notes[0]
    page = own.typed("show dataset table:index.csv").out
    assert "author (40 rows hold no class" in page and "kind 3  8      2" in page


def test_a_page_counts_the_first_of_many_classes(own: Any) -> None:
    own.table("index.csv", ("path", "label"), [(path, kind) for path, kind, _ in own.pictures(2, 30)])
    page = own.typed("show dataset table:index.csv").out
    assert "... and 10 more (--format json has all). Images a class: train 1 to 2, test 0 to 1" in page


def test_run_says_the_notes_and_the_record_keeps_the_report(own: Any) -> None:
    rows = [(path, f"kind {kind}", "someone") for path, kind, _ in own.pictures(5)]
    own.table("index.csv", ("path", "label", "author"), rows)
    line = "run --methods ce --noise sym --epochs 1 --seeds 1 --model cnn-small --batch-size 8 --jobs 1"
    done = own.typed(f"{line} --dataset table:index.csv")
    assert done.code == 0, done.err
    (record,) = own.records()
    report = own.typed("show dataset table:index.csv --format json").json["report"]
    assert record["provenance"]["data_report"] == report
    assert [note for note in done.notes if note in report["notes"]] == report["notes"] != []
