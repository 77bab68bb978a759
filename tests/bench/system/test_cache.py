"""Answers in the cache: made once for a question, and made again where the file is no answer to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bench.system.cache import cached_json


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("LNL_BENCH_CACHE", str(tmp_path))
    return []


def ask(calls: list[str], question: Any, **options: Any) -> Any:
    return cached_json("squares", question, lambda: calls.append("made") or {"answer": (1, 2)}, **options)


def test_an_answer_is_made_once_for_each_question(calls: list[str], tmp_path: Path) -> None:
    assert [ask(calls, {"a": 1, "b": (2,)}), ask(calls, {"b": [2], "a": 1})] == [{"answer": [1, 2]}] * 2
    assert len(calls) == 1
    ask(calls, {"a": 2})
    assert len(calls) == 2
    assert len(list((tmp_path / "squares").iterdir())) == 2


@pytest.mark.parametrize("content", ["", "{cut", "[]", "{}", '{"question": "another", "answer": 1}'])
def test_a_file_that_holds_no_answer_is_made_again(calls: list[str], tmp_path: Path, content: str) -> None:
    ask(calls, 1)
    (file,) = (tmp_path / "squares").iterdir()
    file.write_text(content)
    assert ask(calls, 1) == {"answer": [1, 2]}
    assert len(calls) == 2
    assert ask(calls, 1) == {"answer": [1, 2]} and len(calls) == 2


def test_the_newest_files_stay(calls: list[str], tmp_path: Path) -> None:
    for number in range(4):
        ask(calls, number, newest=2)
        for file in (tmp_path / "squares").iterdir():
            if file.stat().st_mtime > 4:  # the file that was just written
                os.utime(file, (number + 1, number + 1))
    assert sorted(file.stat().st_mtime for file in (tmp_path / "squares").iterdir()) == [3, 4]


def test_a_folder_that_cannot_be_written_is_done_without(calls: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ask(calls, 1, folder=tmp_path / "file" / "cache") == {"answer": [1, 2]}


def test_an_error_of_the_maker_is_raised_and_nothing_is_stored(calls: list[str], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        cached_json("squares", 1, lambda: 1 / 0)
    assert not (tmp_path / "squares").exists()
