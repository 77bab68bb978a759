"""Unknown noise is not no noise: what is said, told and measured where nobody knows which labels are wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

QUICK = "--epochs 1 --seeds 1 --model cnn-small --batch-size 8 --jobs 1 --protocol shared-lr"
TABLE = "--dataset table:index.csv"


@pytest.fixture
def noisy_table(own: Any) -> Any:
    """One labelling, a fifth of it wrong."""
    own.table("index.csv", ("path", "label"), [(path, (k + (i % 5 == 0)) % 4) for path, k, i in own.pictures(10)])
    rows = "".join(",".join("0.7" if i == j else "0.1" for j in range(4)) + "\n" for i in range(4))
    (own.folder / "t.csv").write_text(rows)
    return own


def test_none_on_own_data_is_as_given_and_the_board_says_so(noisy_table: Any) -> None:
    done = noisy_table.typed(f"run --methods ce --noise none {TABLE} {QUICK}")
    assert done.code == 0, done.err
    assert [note for note in done.notes if "is taken as as-given" in note and "--labels-are-clean" in note]
    (record,) = noisy_table.records()
    assert (record["spec"]["noise"], record["spec"]["privileges"]) == ("as-given", [])
    measures = record["measures"]
    assert [measures[name] for name in ("realised_rate", "memorised", "learnt", "corrected")] == [None] * 4
    assert measures["selector"] == {} and record["curves"]["clean_holdout_accuracy"] == [None]
    board = (noisy_table.folder / "leaderboards" / "table-index.csv.md").read_text()
    assert "labels as given, noise unknown" in board and "test labels as given" in board
    for wrong in (
        "no noise",
        "clean test",
        "realised rate 0",
        "### Who finds the wrong labels",
        "noisy labels, 4 held",
    ):
        assert wrong not in board
    assert "nobody knows which are wrong, so no table says who finds the wrong labels" in board
    again = noisy_table.typed(f"run --methods ce --noise as-given {TABLE} {QUICK}")
    assert again.code == 0 and len(noisy_table.records()) == 1, "none and as-given are one run here"


@pytest.mark.parametrize(
    ("methods", "told", "missing"),
    [
        ("co-teaching", "", "noise_rate, .*--noise-rate 0.2"),
        ("forward", "", "transition_matrix, .*--transition-matrix FILE"),
        ("forward", "--noise-rate 0.2", "transition_matrix, .*--transition-matrix FILE"),
        ("ce-clean", "--noise-rate 0.2 --transition-matrix t.csv", "clean_labels, .*can't give"),
    ],
)
def test_what_nobody_knows_is_told_to_no_method(noisy_table: Any, methods: str, told: str, missing: str) -> None:
    done = noisy_table.typed(f"run --methods ce,{methods} --noise none {TABLE} {QUICK} {told}")
    assert done.code == 2
    assert re.search(f"{methods} can't run here: it needs {missing}", done.err)


def test_all_leaves_them_out_with_a_count(noisy_table: Any) -> None:
    done = noisy_table.typed(f"run --methods c* --noise as-given {TABLE} {QUICK} --dry-run --format json")
    assert done.code == 0, done.err
    (note,) = [note for note in done.notes if "left out" in note]
    assert re.search(
        r"^\d methods are left out, such as ce-clean \(it needs clean_labels, which the noise as-given", note
    )


def test_what_is_typed_is_told_and_marked(noisy_table: Any) -> None:
    told = "--noise-rate 0.2 --transition-matrix t.csv"
    done = noisy_table.typed(f"run --methods ce,co-teaching,forward --noise as-given {TABLE} {QUICK} {told}")
    assert done.code == 0, done.err
    privileges = {record["spec"]["method"]: record["spec"]["privileges"] for record in noisy_table.records()}
    (matrix,) = privileges.pop("forward")
    assert privileges == {"ce": [], "co-teaching": ["noise_rate=0.2"]}
    assert matrix.startswith("transition_matrix=") and len(matrix) == len("transition_matrix=") + 12
    board = (noisy_table.folder / "leaderboards" / "table-index.csv.md").read_text()
    assert "noise rate (given 0.2)" in board and "transition matrix (given " in board
    other = noisy_table.folder / "other.csv"
    other.write_text((noisy_table.folder / "t.csv").read_text().replace("0.7,0.1", "0.6,0.2"))
    planned = noisy_table.typed(
        f"run --methods forward --noise as-given {TABLE} {QUICK} --transition-matrix other.csv --dry-run --format json"
    )
    assert planned.code == 0 and "transition_matrix=" in planned.out and matrix not in planned.out


def test_labels_that_are_said_to_be_clean(noisy_table: Any) -> None:
    done = noisy_table.typed(f"run --methods ce,ce-clean --noise none {TABLE} {QUICK} --labels-are-clean")
    assert done.code == 0 and not any("as-given" in note for note in done.notes), done.err
    record = noisy_table.records()[0]
    assert (record["spec"]["noise"], record["measures"]["realised_rate"]) == ("none", 0.0)
    board = (noisy_table.folder / "leaderboards" / "table-index.csv.md").read_text()
    assert "no noise" in board and "clean test images" in board and "test labels as given" not in board
    assert noisy_table.typed("report").code == 0
    board = (noisy_table.folder / "leaderboards" / "table-index.csv.md").read_text()
    assert "--noise none --labels-are-clean" in board, "the command under the table plans the same runs"
    both = noisy_table.typed(f"run --methods ce --noise as-given {TABLE} {QUICK} --labels-are-clean")
    assert both.code == 2 and "leave one out" in both.err


def test_drawn_noise_on_own_data_is_judged_by_labels_as_given(noisy_table: Any) -> None:
    done = noisy_table.typed(f"run --methods ce --noise sym --rate 0.4 {TABLE} {QUICK}")
    assert done.code == 0, done.err
    (record,) = noisy_table.records()
    assert record["provenance"]["labels"] == "as given" and record["measures"]["realised_rate"] > 0.3
    board = (noisy_table.folder / "leaderboards" / "table-index.csv.md").read_text()
    assert "test labels as given" in board and "clean test" not in board
    assert "### Who finds the wrong labels" in board


def test_nothing_is_tuned_by_clean_labels_that_nobody_knows(noisy_table: Any) -> None:
    done = noisy_table.typed(f"tune --methods gce --noise none {TABLE} --objective clean-val --dry-run --hold-out 0.5")
    assert done.code == 2 and "clean-val" in done.err and "noisy-val needs none" in done.err


def test_digits_are_clean_as_ever(own: Any) -> None:
    done = own.typed(f"run --methods ce,co-teaching --noise none --dataset digits {QUICK} --dry-run --format json")
    assert done.code == 0 and '"none"' in done.out and "as-given" not in done.out + done.err


def test_show_noise_says_that_it_is_unknown(noisy_table: Any) -> None:
    shown = noisy_table.typed(f"show noise none {TABLE} --format json")
    assert (shown.json["noise"], shown.json["realised_rate"], shown.json["matrix"]) == ("as-given", None, None)
    assert "nobody knows which labels are wrong" in noisy_table.typed(f"show noise as-given {TABLE}").out
    clean = noisy_table.typed(f"show noise none {TABLE} --labels-are-clean --format json").json
    assert (clean["noise"], clean["realised_rate"]) == ("none", 0.0)


def test_a_note_that_quotes_a_list_holds_its_first_items(own: Any) -> None:
    shown = own.typed("show noise sym --dataset mnist --data-root nowhere")
    (note,) = [note for note in shown.notes if "stay unknown" in note]
    assert "Looked in: nowhere" in note and not note.rstrip(")").endswith("Looked in")
