"""A study that is killed at random moments and restarted ends in the records of one that never was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

RUNS = 6
COMMAND = [
    "run",
    "--methods",
    "ce,gce,elr",
    "--dataset",
    "digits",
    "--noise",
    "sym",
    "--seeds",
    "2",
    "--epochs",
    "20",
    "--train-size",
    "400",
    "--jobs",
    "2",
    "--precision",
    "fp32",
]


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "bench", *COMMAND, "--out", str(out / "runs"), "--boards", str(out / "boards")]


def results(out: Path) -> dict[str, Any]:
    """Every record without its provenance, by run id."""
    found = {}
    for path in sorted((out / "runs").glob("*/record.json")):
        record = json.loads(path.read_text())
        record.pop("provenance")
        found[record["run_id"]] = record
    return found


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False], ids=["group", "parent alone"])
def test_killed_and_restarted_until_done(whole_group: bool, tmp_path: Path) -> None:
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    expected = results(tmp_path / "whole")
    assert len(expected) == RUNS
    kills = 0
    # after a moment at random behind the first, the third and the fifth record: in the middle of other runs
    for done in (1, 3, 5, RUNS + 1):
        process = subprocess.Popen(
            command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and len(list((tmp_path / "killed").glob("runs/*/record.json"))) < done:
            time.sleep(0.01)
        time.sleep(random.Random(done).uniform(0, 0.2))
        if process.poll() is not None:
            break
        kills += 1
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
    assert kills >= 1
    assert process.returncode == 0
    assert results(tmp_path / "killed") == expected
