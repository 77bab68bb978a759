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
def test_killed_and_restarted_until_done(tmp_path: Path) -> None:
    """Killed with its workers, and alone, so that these have to end by themselves."""
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    expected = results(tmp_path / "whole")
    assert len(expected) == RUNS
    kills = 0
    # after a moment at random behind the first and the fourth record: in the middle of other runs
    for done, end in ((1, os.killpg), (4, os.kill), (RUNS + 1, os.kill)):
        process = subprocess.Popen(
            command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and len(list((tmp_path / "killed").glob("runs/*/record.json"))) < done:
            time.sleep(0.01)
        time.sleep(random.Random(done).uniform(0, 0.2))
        if process.poll() is not None:
            break
        kills += 1
        end(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
    assert kills >= 1
    assert process.returncode == 0
    assert results(tmp_path / "killed") == expected
