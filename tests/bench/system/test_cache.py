"""Answers in the cache: made once for a question, and made again where the file is no answer to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.system.cache import cache_folder, cached_json
from bench.system.code_version import HOME
from bench.system.errors import UsageError


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


NO_USER = """
import os, pwd, sys

def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = nobody
from bench.cli.main import main
sys.exit(main(["list", "noises"]) or main(["doctor"]))
"""


def test_a_user_without_name_and_home_gets_a_cache_in_the_temporary_folder(tmp_path: Path) -> None:
    """As in a container that is started under a bare user number."""
    dropped = {"HOME", "XDG_CACHE_HOME", "LNL_BENCH_CACHE", "USER", "LOGNAME"}
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    done = subprocess.run(
        [sys.executable, "-c", NO_USER],
        env=environment | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(HOME)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (note,) = (line for line in done.stderr.splitlines() if "LNL_BENCH_CACHE" in line)
    (folder,) = tmp_path.glob("lnl-bench-*")
    assert note.startswith("note: this user has no home") and str(folder) in note
    assert (folder / "catalogue").is_dir() and str(folder) in done.stdout.replace("\n", "")


def test_a_home_that_is_no_folder_of_the_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.system.cache.os.access", lambda path, mode: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LNL_BENCH_CACHE", "")
    folder = cache_folder()
    assert folder.parent == tmp_path and folder.is_dir()
    assert cache_folder() == folder == Path(os.environ["LNL_BENCH_CACHE"])


def test_a_temporary_cache_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.system.cache.os.access", lambda path, mode: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("LNL_BENCH_CACHE", "")
    (tmp_path / f"lnl-bench-{os.getuid()}").write_text("no folder")
    with pytest.raises(UsageError, match="Set LNL_BENCH_CACHE"):
        cache_folder()
