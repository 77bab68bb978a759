"""Several processes, as a user starts them: torchrun -m bench run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.system.errors import UsageError
from bench.system.processes import TorchrunWorld, torchrun_world

DATA = "synthetic[classes=4,size=8,train=96,test=24]"
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
COMMAND = ("-m", "bench", "run", "--methods", "ce,dividemix", "--dataset", DATA, "--epochs", "3", "--seeds", "1")


def torchrun(folder: Path, *more: str, command: Sequence[str] = COMMAND) -> subprocess.CompletedProcess[str]:
    """Run the command on two processes in `folder`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*TORCHRUN, *command, *more], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def records(folder: Path) -> dict[str, dict[str, object]]:
    """Records by method."""
    found = [json.loads(path.read_text()) for path in (folder / "runs").glob("*/record.json")]
    return {record["spec"]["method"]: record for record in found}


@pytest.mark.slow
def test_two_processes_train_each_run_together(tmp_path: Path) -> None:
    planned = torchrun(tmp_path, "--dry-run", "--format", "json")
    assert planned.returncode == 0, planned.stderr
    assert not (tmp_path / "runs").exists()
    ids = {run["run_id"] for run in json.loads(planned.stdout)["runs"]}
    done = torchrun(tmp_path, "--format", "json")
    assert done.returncode == 0, done.stderr
    # one process speaks, so there is one document
    assert {row["method"] for row in json.loads(done.stdout)["settings"][0]["rows"]} >= {"ce", "dividemix"}
    found = records(tmp_path)
    assert {record["run_id"] for record in found.values()} == ids
    for record in found.values():
        assert record["spec"]["world_size"] == 2
        assert record["measures"]["test_accuracy"] == record["curves"]["test_accuracy"][-1]
    # each process counts the images it sees: together they are those of one
    assert found["ce"]["measures"]["units_per_sample_epoch"] == pytest.approx(3)
    (board,) = (tmp_path / "leaderboards").glob("*.md")
    assert ", 2 processes, batch statistics of each process." in board.read_text()
    assert "torchrun --nproc-per-node 2 -m bench run --methods ce,dividemix" in board.read_text()
    # what is stored is not trained again
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/record.json")}
    assert torchrun(tmp_path).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/record.json")} == before


LEAVING = '''"""The command line, and what is left of the group after it."""

import sys

from torch import distributed

from bench.cli.main import main

code = main(sys.argv[1:])
print("still in the group" if distributed.is_initialized() else "left the group", file=sys.stderr)
sys.exit(code)
'''


@pytest.mark.slow
def test_each_process_leaves_the_group_before_it_ends(tmp_path: Path) -> None:
    """A group that is left to the interpreter's exit aborts the process now and then."""
    (tmp_path / "leaving.py").write_text(LEAVING)
    ended = torchrun(tmp_path, command=("leaving.py", *COMMAND[2:]))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("left the group") == 2 and "still in the group" not in ended.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [(("--batch-size", "3"), "--batch-size 4"), (("--jobs", "2"), "under torchrun"), (("--lr", "fast"), "--lr")],
)
def test_wrong_requests_end_all_processes(tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    ended = torchrun(tmp_path, *more)
    assert ended.returncode != 0
    assert words in ended.stderr
    assert not (tmp_path / "runs").exists()


def test_the_world_is_what_torchrun_says() -> None:
    said = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    assert torchrun_world(said) == TorchrunWorld(3, 1, 4, 2)
    assert torchrun_world({}) == TorchrunWorld()
    # a batch system may set RANK for reasons of its own
    assert torchrun_world({"RANK": "3", "WORLD_SIZE": "4"}) == TorchrunWorld()
    assert torchrun_world({**said, "WORLD_SIZE": "1", "RANK": "0"}) == TorchrunWorld()
    with pytest.raises(UsageError, match=r"LOCAL_RANK=\(none\)"):
        torchrun_world({name: value for name, value in said.items() if name != "LOCAL_RANK"})


FAILING = '''"""Cross-entropy that runs out of memory in one of two processes."""

import os

import torch

from methods.interface import Method
from methods.losses import cross_entropy


class Failing(Method):
    name = "a-failing"
    summary = "cross-entropy that runs out of memory in one process"
    source = "a test"

    def losses(self, logits, labels):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 4 and os.environ.get("RANK") == os.environ["FAILING_RANK"]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return cross_entropy(logits, labels)
'''


@pytest.mark.slow
@pytest.mark.parametrize("number", ["0", "1"])
def test_memory_that_runs_out_in_one_process_ends_all_and_says_where(
    number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is: the failure holds its reason, nobody waits for ever, and the next call begins elsewhere."""
    monkeypatch.setenv("FAILING_RANK", number)
    (tmp_path / "failing.py").write_text(FAILING)
    more = ("--methods", "a-failing,gce", "--plugin", "failing.py", "--batch-size", "16")
    command = [part for part in COMMAND if part not in ("--methods", "ce,dividemix")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}

    def ended() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*TORCHRUN, *command, *more], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )

    first = ended()
    assert first.returncode != 0
    (failure,) = (json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/failure.json"))
    where = "" if number == "0" else "ProcessFailed: process 1 of 2: "
    assert failure["reason"].startswith(f"{where}out of memory: a batch of 16 doesn't fit into ")
    assert failure["reason"].count("out of memory") == 1 and failure["reason"].count("--batch-size") == 1
    assert failure["traceback"]
    assert "the same command goes on" in first.stderr and "output folder" not in first.stderr
    assert not records(tmp_path)
    # what failed comes last now
    assert ended().returncode != 0
    assert set(records(tmp_path)) == {"gce"}
