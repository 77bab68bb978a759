"""The method that CONTRIBUTING.md shows, as somebody else would add it: one new file, named by --plugin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
MOST_LINES = 16
"""Lines of code that the shown method may have, its docstring and empty lines aside."""


@pytest.fixture(scope="module")
def shown() -> str:
    """The example of the section "Add a method"."""
    guide = (HOME / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = guide.split("## Add a method")[1].split("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(example)


@pytest.fixture(scope="module")
def folder(shown: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the example and nothing else."""
    place = tmp_path_factory.mktemp("plugin")
    (place / "capped_ce.py").write_text(shown, encoding="utf-8")
    return place


def typed(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *line.split()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_is_short(shown: str) -> None:
    code = [line for line in shown.splitlines()[1:] if line.strip()]
    assert len(code) <= MOST_LINES


def test_the_method_is_listed_and_shown(folder: Path) -> None:
    listed = typed(folder, "list methods --plugin capped_ce.py --format json")
    entries = {entry["name"]: entry for entry in json.loads(listed.stdout)}
    assert entries["capped-ce"]["parameters"][0]["name"] == "cap"
    assert "ce" in entries
    assert "cap" in typed(folder, "show method capped-ce --plugin capped_ce.py").stdout
    assert "capped-ce" not in typed(folder, "list methods").stdout


def test_the_method_runs_and_is_on_the_board(folder: Path) -> None:
    setting = "--dataset digits --epochs 2 --train-size 100 --seeds 1 --format json"
    done = typed(folder, f"run --methods ce,capped-ce[cap=2] {setting} --plugin capped_ce.py")
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(done.stdout)["settings"]
    rows = {row["method"]: row for row in table["rows"] if not row["control"]}
    assert set(rows) == {"ce", "capped-ce"}
    assert rows["capped-ce"]["parameters"] == {"cap": 2.0}
    assert rows["capped-ce"]["n"] == 1
    assert "--plugin" in table["command"]
    board = (folder / "leaderboards" / "digits.md").read_text(encoding="utf-8")
    assert "| capped-ce" in board
    assert typed(folder, "report --format json").returncode == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import nowhere", "ModuleNotFoundError"),
        ("x = 1", "declares no method, data set or noise"),
        ("class Broken(", "SyntaxError"),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "broken.py").write_text(content)
    done = typed(tmp_path, "run --methods ce --plugin broken.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert said in line
    assert "broken.py" in line
    written = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}  # what Python itself keeps
    assert written == {"broken.py"}
