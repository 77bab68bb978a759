"""What goes wrong while a study runs, typed: diverging runs, full disks, corrupt records. Nothing finished is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]
COMMAND = "run --methods ce --dataset digits --epochs 1 --train-size 100 --precision fp32 --jobs 1"
LIMITED = """
import resource
from bench.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))
main()
"""

DIVERGING = '''
"""Cross-entropy that leaves the finite numbers in its second epoch."""

from torch import Tensor

from methods.interface import Method, Step
from methods.losses import cross_entropy


class Diverging(Method):
    name = "diverging"
    summary = "diverges in its second epoch"
    source = "a test"

    def loss(self, step: Step) -> Tensor:
        loss = cross_entropy(step.logits(), step.labels).mean()
        return loss / 0.0 if step.epoch else loss
'''

Done = subprocess.CompletedProcess[str]
Type = Callable[..., Done]


@pytest.fixture
def typed(tmp_path: Path) -> Type:
    """Types a command line in `tmp_path`; `most` is the size in bytes that no file may exceed."""

    def carry_out(line: str, most: int | None = None) -> Done:
        start = ["-m", "bench"] if most is None else ["-c", LIMITED.format(most=most)]
        return subprocess.run(
            [sys.executable, *start, *line.split()],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(HOME)},
            capture_output=True,
            text=True,
            check=False,
        )

    return carry_out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two runs are finished, and the board is written."""
    folder = tmp_path_factory.mktemp("finished")
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    command = [sys.executable, "-m", "bench", *f"{COMMAND} --seeds 2".split()]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> dict[str, bytes]:
    """The two finished runs copied to `tmp_path`: their records' bytes by run id."""
    for part in ("runs", "leaderboards"):
        shutil.copytree(finished / part, tmp_path / part)
    return contents(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    """Every record below a folder, by run id."""
    return {path.parent.name: path.read_bytes() for path in (folder / "runs").glob("*/record.json")}


def result(record: bytes) -> dict[str, Any]:
    """A record without what depends on the machine and the time."""
    return {key: value for key, value in json.loads(record).items() if key != "provenance"}


def test_the_same_command_again_runs_nothing_and_prints_the_board(
    typed: Type, tmp_path: Path, study: dict[str, bytes]
) -> None:
    again = typed(f"{COMMAND} --seeds 2")
    assert again.returncode == 0
    assert "| ce " in again.stdout
    assert "seed" not in again.stderr
    assert contents(tmp_path) == study
    never = typed(f"{COMMAND} --seeds 3 --when never --format json")
    assert never.returncode == 1
    assert json.loads(never.stdout)["settings"][0]["rows"][0]["n"] == 2
    assert "1 of 3 runs are left" in never.stderr
    assert contents(tmp_path) == study


def test_a_diverging_run_is_recorded_and_the_others_go_on(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "diverging.py").write_text(DIVERGING)
    command = "run --methods ce,diverging --dataset digits --epochs 3 --train-size 100 --seeds 2"
    done = typed(f"{command} --plugin diverging.py")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "diverged in epoch 2" in done.stderr
    assert len(contents(tmp_path)) == 2
    failures = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/failure.json")]
    assert [(each["spec"]["method"], each["epoch"]) for each in failures] == [("diverging", 2)] * 2
    assert "diverged in epoch 2" in done.stdout
    assert "diverged in epoch 2" in (tmp_path / "leaderboards" / "digits.md").read_text()


def test_where_all_runs_diverge_the_board_says_so(typed: Type, tmp_path: Path) -> None:
    done = typed(f"{COMMAND} --seeds 1 --lr 1e30 --format json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (row,) = json.loads(done.stdout)["settings"][0]["rows"]
    assert row["n"] == 0
    assert "diverged in epoch 1" in row["reason"]
    assert "diverged in epoch 1" in (tmp_path / "leaderboards" / "digits.md").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_disk_that_takes_no_record_loses_nothing(typed: Type, tmp_path: Path, study: dict[str, bytes]) -> None:
    done = typed(f"{COMMAND} --seeds 3", most=1024)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert contents(tmp_path) == study
    assert not list(tmp_path.rglob("*.tmp"))
    assert typed(f"{COMMAND} --seeds 3").returncode == 0
    after = contents(tmp_path)
    assert len(after) == 3
    assert {run_id: after[run_id] for run_id in study} == study


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_disk_that_takes_no_board_keeps_the_records(typed: Type, tmp_path: Path, study: dict[str, bytes]) -> None:
    board = tmp_path / "leaderboards" / "digits.md"
    before = board.read_text()
    done = typed(f"{COMMAND} --seeds 2", most=2048)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "can't write the leaderboard" in done.stderr
    assert board.read_text() == before
    assert contents(tmp_path) == study


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full here")
def test_output_that_cannot_be_taken_is_a_line(study: dict[str, bytes], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "list", "methods"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(HOME)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard output: No space left")
    assert len(done.stderr.splitlines()) == 1


def test_a_corrupt_record_is_set_aside_and_its_run_done_again(
    typed: Type, tmp_path: Path, study: dict[str, bytes]
) -> None:
    broken, whole = sorted(study)
    (tmp_path / "runs" / broken / "record.json").write_bytes(study[broken][:500])
    failed = typed(f"{COMMAND} --seeds 2 --when failed")
    assert failed.returncode == 1
    assert "1 of 2 runs are left" in failed.stderr
    aside = tmp_path / "runs" / broken / "record.corrupt-1.json"
    assert aside.read_bytes() == study[broken][:500]
    assert f"{broken}/record.corrupt-1.json: broken JSON" in failed.stderr
    (tmp_path / "runs" / whole / "record.json").write_bytes(study[whole][:500])
    done = typed(f"{COMMAND} --seeds 2")
    assert done.returncode == 0
    assert f"{whole}/record.corrupt-1.json: broken JSON" in done.stderr
    after = contents(tmp_path)
    assert {run_id: result(record) for run_id, record in after.items()} == {
        run_id: result(record) for run_id, record in study.items()
    }
