"""Lists of paths and labels as published data sets have them: every line is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.file_lists import by_path, read_labelled, read_lines, read_paths
from datasets.interface import DataError

PATHS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/."), min_size=1)


@given(st.lists(st.tuples(PATHS, st.integers(0, 13)), min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], end: str, ended: bool
) -> None:
    text = end.join(f"images/{path} x.jpg {label}" for path, label in rows) + end * ended
    file = tmp_path_factory.getbasetemp() / "any list.txt"
    file.write_bytes(text.encode())
    found = read_labelled(file, 14)
    assert list(found.paths) == [f"images/{path} x.jpg" for path, _ in rows]
    assert found.labels.tolist() == [label for _, label in rows] and found.labels.dtype == np.int64
    assert list(found.lines) == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a.jpg 0\nb,c.jpg\nd.jpg 1\n",
            "1 of 3 lines .* lack their label, a label from 0 to 1 .*\n  line 2: 'b,c",
        ),
        ("a.jpg 0\nb.jpg 2\n", "1 of 2 lines .*\n  line 2: 'b.jpg 2'"),
        ("a.jpg 0\n\nb.jpg -1\n", "2 of 3 lines .*\n  line 2: ''\n  line 3: 'b.jpg -1'"),
        ("a.jpg 0\nb.jpg 1e0\n", "line 2"),
        ("a.jpg 0\n../b.jpg 1\n", "1 lines .* lead out of .*\n  line 2: '../b.jpg'"),
        ("/etc/a.jpg 0\n", "line 1: '/etc/a.jpg'"),
        ("", "is empty"),
    ],
)
def test_wrong_lines_are_named(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=expected):
        read_labelled(tmp_path / "list.txt", 2)


def test_words_may_stand_for_ids_and_a_header_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("class/key\tword\na/1\tno\na/2\tyes\n")
    found = read_labelled(tmp_path / "list.tsv", 2, skip=1, inside=("no", "yes"))
    assert (list(found.paths), found.labels.tolist(), list(found.lines)) == (["a/1", "a/2"], [0, 1], [2, 3])


def test_what_comes_twice(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("a 0\nb 1\na 0\n")
    assert by_path(read_labelled(file, 2)) == {"a": 0, "b": 1}
    file.write_text("a 0\nb 1\na 1\n")
    with pytest.raises(DataError, match=r"1 lines .*\n  line 1: a"):
        by_path(read_labelled(file, 2))
    file.write_text("a\nb\na")
    found, notes = read_paths(file)
    assert (found.paths, list(found.lines)) == (["a", "b"], [1, 2])
    assert notes == ["1 line of list.txt names a file that an earlier line names (a)"]


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a 0\nb\xff 1\n")
    with pytest.raises(DataError, match=r"UTF-8 \(line 2\)"):
        read_lines(tmp_path / "list.txt")
    with pytest.raises(DataError, match="can't be read"):
        read_lines(tmp_path / "other.txt")
