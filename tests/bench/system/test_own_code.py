"""The lines of a user's own code that an error came from."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

from bench.system.own_code import find_own_line

MINE = "import helper\n\n\ndef loss(value):\n    return helper.halve(value)\n"
HELPER = "def halve(value):\n    return value / 0\n"


def raised(file: Path, call: str | None = None) -> BaseException:
    """The error of a file, or of a call of its function."""
    try:
        names = runpy.run_path(str(file))
        names[str(call)](1)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_owner_with_a_line_counts(folder: Path) -> None:
    error = raised(folder / "mine.py", "loss")
    mine, lib = [folder / "mine.py"], [folder / "lib"]
    assert find_own_line(error, mine, lib) == "mine.py, line 5"
    assert find_own_line(error, lib, mine) == "lib/helper.py, line 2"
    assert find_own_line(error, [*mine, *lib]) == "lib/helper.py, line 2"
    assert find_own_line(error, [folder / "other.py"]) is None
    os.chdir(folder / "lib")
    assert find_own_line(error, mine) == f"{folder / 'mine.py'}, line 5"


def test_what_caused_an_error_counts_too(folder: Path) -> None:
    try:
        try:
            raise raised(folder / "mine.py", "loss")
        except ZeroDivisionError as cause:
            raise RuntimeError("it failed") from cause
    except RuntimeError as error:
        assert find_own_line(error, [folder / "mine.py"]) == "mine.py, line 5"


def test_a_file_that_is_no_python_has_the_line_of_its_mistake(folder: Path) -> None:
    (folder / "broken.py").write_text("x = 1\nclass Broken(\n")
    assert find_own_line(raised(folder / "broken.py"), [folder / "broken.py"]) == "broken.py, line 2"
