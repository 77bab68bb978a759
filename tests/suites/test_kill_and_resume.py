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
    began = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    duration = time.monotonic() - began
    expected = results(tmp_path / "whole")
    assert len(expected) == RUNS
    moments = random.Random(0)
    kills = 0
    for _ in range(12):
        process = subprocess.Popen(
            command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            # a share of what the whole study took, later each time, so that the last attempt ends by itself
            process.wait(timeout=duration * moments.uniform(0.5, 0.8) * 1.2**kills)
            break
        except subprocess.TimeoutExpired:
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
