"""Runs that don't fit into memory, typed: one fails with advice that holds, and the others go on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]
BATCH = 3072
DATA = "synthetic[classes=4,size=32,train=3500,test=200]"
NO_LIMIT = 1 << 40
SPARE = 100 << 20
"""Bytes that what a process takes may differ by from one time to the next."""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
COMMAND = f"run --dataset {DATA} --model cnn-small --epochs 1 --seeds 1 --jobs 1 --precision fp32 --augment none"
LIMITED = """
import resource
from bench.__main__ import main
resource.setrlimit(resource.RLIMIT_DATA, ({most}, {most}))
main()
"""
Done = subprocess.CompletedProcess[str]
Type = Callable[..., Done]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's data")


@pytest.fixture
def typed(tmp_path: Path) -> Type:
    """Types a command line in `tmp_path`; `most` bytes of data may each process hold."""

    def carry_out(line: str, most: int | None = None) -> Done:
        start = ["-m", "bench"] if most is None else ["-c", LIMITED.format(most=most)]
        return subprocess.run(
            [sys.executable, *start, *line.split()],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )

    return carry_out


def most_data(process: int) -> int:
    """Bytes of private data of the process that holds most, among this one and those that it started."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        started = [path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return 0
    data = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")), 0) * 1024
    return max([data, *(most_data(int(child)) for children in started for child in children.split())])


def peak_of(method: str, folder: Path) -> int:
    """Bytes of private data that a run of a method takes under a limit that it never meets, looked up while it trains.

    Under a limit, since the allocator keeps free pages where there is none.
    """
    line = f"{COMMAND} --methods {method} --batch-size {BATCH} --out {method}"
    peak = 0
    with subprocess.Popen(
        [sys.executable, "-c", LIMITED.format(most=NO_LIMIT), *line.split()],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        while command.poll() is None:
            peak = max(peak, most_data(command.pid))
            time.sleep(0.01)
    assert command.returncode == 0
    return peak


def files(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """Every record or failure below a folder, by method."""
    found = [json.loads(path.read_text()) for path in folder.glob(f"*/{name}.json")]
    return {each["spec"]["method"]: each for each in found}


@pytest.mark.slow
def test_a_batch_that_does_not_fit_fails_with_one_that_does_and_the_others_go_on(typed: Type, tmp_path: Path) -> None:
    """`gjs` looks at two views of each image, `ce` at one, so there is a limit between what they take."""
    little, much = peak_of("ce", tmp_path), peak_of("gjs", tmp_path)
    assert much - little > 2 * SPARE, "the two methods take too much alike for a limit between them"
    most = (little + much) // 2
    done = typed(f"{COMMAND} --methods gjs,ce --batch-size {BATCH} --out runs", most)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    out = tmp_path / "runs"
    assert set(files(out, "record")) == {"ce"}
    reason = files(out, "failure")["gjs"]["reason"]
    limit = re.escape(f"{most / 2**30:.1f} GiB")
    found = re.fullmatch(
        rf"out of memory: a batch of {BATCH} doesn't fit into the {limit} that this process may use; the largest that "
        r"did is (\d+): type --batch-size (\d+), or fewer --jobs",
        reason,
    )
    assert found is not None, reason
    assert reason in done.stdout and reason in done.stderr
    largest, advised = int(found[1]), int(found[2])
    assert BATCH // 4 <= advised < largest < BATCH
    again = typed(f"{COMMAND} --methods gjs --batch-size {advised} --out runs", most)
    assert again.returncode == 0, again.stderr


def test_more_jobs_than_memory_are_a_wrong_request(typed: Type, tmp_path: Path) -> None:
    """Batches so large that no machine holds a hundred; found out without taking the memory of one."""
    many = "run --methods ce --dataset synthetic[classes=4,size=64,train=2000,test=100] --model cnn8 --epochs 1"
    done = typed(f"{many} --batch-size 2000 --jobs 99 --seeds 99")
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: --jobs 99: 99 runs at a time take about [\d,.]+ GiB of memory \([\d.]+ GiB each: ce on cnn8\), "
        r"and [\d.]+ GiB are available\. Type --jobs \d+[^\n]*",
        done.stderr.strip().splitlines()[-1],
    ), done.stderr
    assert not (tmp_path / "runs").exists() and not (tmp_path / "leaderboards").exists()
