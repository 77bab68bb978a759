"""A method of a person's own that is being worked on: its edits, its mistakes, and a working folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[3]

METHOD = '''"""A method of one's own."""

from torch import Tensor

from methods.interface import Method
from methods.losses import cross_entropy


class Shrunk(Method):
    name = "shrunk"
    summary = "cross-entropy, shrunk"
    source = "an example"

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return {line}
'''
RUN = "run --methods ce,shrunk --plugin mine.py --epochs 1 --train-size 60 --seeds 1 --batch-size 16 --jobs 1"


class Folder:
    """A working folder with the plugin in it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.edits = 0

    def write(self, line: str) -> None:
        """Write the plugin; each writing has a time of its own."""
        file = self.place / "mine.py"
        file.write_text(METHOD.format(line=line))
        self.edits += 1
        os.utime(file, (1_700_000_000 + self.edits, 1_700_000_000 + self.edits))

    def typed(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *line.split()],
            cwd=self.place,
            env=os.environ | {"PYTHONPATH": str(HOME), "LNL_BENCH_CACHE": str(self.place / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def changes(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "changed since" in line]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_edit_never_shows_an_old_board_without_a_word(folder: Folder) -> None:
    folder.write("cross_entropy(logits, labels)")
    assert changes(folder.typed(RUN)) == []
    folder.write("0.0001 * cross_entropy(logits, labels)")
    (said,) = changes(folder.typed(RUN))
    assert said.startswith("note: mine.py has changed since 1 of these runs was made (shrunk)")
    assert "--methods shrunk --when always" in said
    assert changes(folder.typed("report")) == [said]
    done = folder.typed(RUN.replace("ce,shrunk", "shrunk") + " --when always")
    assert "[1/1]" in done.stderr
    assert changes(done) == []  # nothing old is on this board
    assert changes(folder.typed("report")) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_mistake_has_its_file_and_line_and_show_run_the_traceback(folder: Folder) -> None:
    folder.write("cross_entropy(logits, labels) * self.nothing")
    done = folder.typed(RUN.replace("ce,shrunk", "shrunk"))
    reason = "AttributeError: 'Shrunk' object has no attribute 'nothing' (mine.py, line 15)"
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert reason in done.stderr and reason in done.stdout
    (failure,) = (json.loads(path.read_text()) for path in (folder.place / "runs").glob("*/failure.json"))
    assert f"python -m bench show run {failure['run_id']} prints the traceback" in done.stderr
    shown = folder.typed(f"show run {failure['run_id'][:6]}")
    assert "Traceback (most recent call last)" in shown.stdout and "self.nothing" in shown.stdout
    assert reason in " ".join(shown.stdout.split())


def test_a_plugin_that_cannot_be_loaded_has_its_line(folder: Folder) -> None:
    (folder.place / "mine.py").write_text("import os\n\nos.nothing\n")
    done = folder.typed(RUN)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "can't be loaded: AttributeError: module 'os' has no" in line
    assert line.endswith("(mine.py, line 3)")


DATA = """from datasets.interface import DataSet


class Wrong(DataSet):
    name = "wrong"
    summary = "a data set that fails"
    source = "an example"
    argument = "FILE"

    def describe(self):
        return {}["a"]
"""
REST = """
    def content_hash(self):
        return "0"

    def load(self, seed):
        return None
"""


def test_a_data_set_of_ones_own_that_fails_is_named_with_its_line(folder: Folder) -> None:
    line = "run --methods ce --dataset wrong:x --plugin mine.py"
    (folder.place / "mine.py").write_text(DATA)
    done = folder.typed(line)
    assert done.returncode == 2 and "Wrong is not declared in full: it lacks content_hash and load" in done.stderr
    (folder.place / "mine.py").write_text(DATA + REST)
    done = folder.typed(line)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "error: mine.py, line 11: KeyError: 'a'" in done.stderr
