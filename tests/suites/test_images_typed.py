"""Images on the device, in memory and on disk, as a user types it: one result, and nothing left running."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PLACEMENTS = ("device", "host", "disk")
SHORT = ["--seeds", "1", "--jobs", "1", "--precision", "fp32", "--model", "cnn-small", "--batch-size", "16"]


def write_photos(folder: Path, count: int = 60) -> Path:
    """A table of JPEG files of two classes, as large as each other."""
    folder.mkdir()
    random = np.random.Generator(np.random.PCG64(0))
    rows = []
    for number in range(count):
        noise = random.integers(0, 120, (18, 20, 3)) + 100 * (number % 2)
        Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number}.jpg")
        rows.append([f"{number}.jpg", ("cat", "dog")[number % 2], "test" if number % 5 == 4 else "train"])
    with (folder / "index.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label", "split"], *rows])
    return folder / "index.csv"


def command(folder: Path, place: str, *options: str) -> list[str]:
    where = ["--out", str(folder / f"runs {place}"), "--boards", str(folder / f"boards {place}")]
    return [sys.executable, "-m", "bench", "run", *SHORT, *options, "--images", place, *where]


def results(folder: Path, place: str) -> tuple[dict[str, Any], set[str]]:
    """Every record without its provenance, by run id, and the placements that provenance names."""
    found, places = {}, set()
    for path in (folder / f"runs {place}").glob("*/record.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        places.add(record.pop("provenance")["images"])
        found[record["run_id"]] = record
    return found, places


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["digits", "table", "synthetic"])
def test_records_are_equal_but_for_where_they_come_from(kind: str, tmp_path: Path) -> None:
    dataset = {
        "digits": "digits",
        "table": "table:" + str(write_photos(tmp_path / "photos")),
        "synthetic": "synthetic[classes=4,size=16,train=120,test=40]",
    }[kind]
    methods = "ce,dividemix" if kind == "table" else "ce"
    options = ["--methods", methods, "--dataset", dataset, "--epochs", "2", "--augment", "crop2+flip"]
    if kind == "digits":
        options += ["--train-size", "200"]
    for place in PLACEMENTS:
        subprocess.run(command(tmp_path, place, *options), check=True, capture_output=True)
    expected, _ = results(tmp_path, "device")
    assert len(expected) == len(methods.split(","))
    for place in PLACEMENTS:
        found, places = results(tmp_path, place)
        assert places == {place}
        assert found == expected


def descendants(parent: int) -> set[int]:
    """Every process below one."""
    found = set()
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | descendants(child)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_process(sent: signal.Signals, tmp_path: Path) -> None:
    table = write_photos(tmp_path / "photos")
    line = command(tmp_path, "disk", "--methods", "ce", "--dataset", f"table:{table}", "--epochs", "2000")
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    below: set[int] = set()
    while time.monotonic() < deadline and len(below) < 2:  # the run's worker, and one that decodes
        assert process.poll() is None
        time.sleep(0.1)
        below = descendants(process.pid)
    assert len(below) >= 2
    time.sleep(1)
    below |= descendants(process.pid)
    os.killpg(process.pid, sent) if sent == signal.SIGINT else process.send_signal(sent)
    process.communicate(timeout=30)
    assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    deadline = time.monotonic() + 8
    while (left := {each for each in below if running(each)}) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def running(process: int) -> bool:
    """Whether a process is there and not just unburied."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_files_that_cannot_be_streamed_are_a_wrong_request(tmp_path: Path) -> None:
    table = write_photos(tmp_path / "photos")
    for number in (3, 8):
        photo = tmp_path / f"photos/{number}.jpg"
        photo.write_bytes(photo.read_bytes()[:-100])
    line = command(tmp_path, "disk", "--methods", "ce", "--dataset", f"table:{table}")
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "2 of 60 images can't be read" in done.stderr and "3.jpg" in done.stderr and "8.jpg" in done.stderr
    assert not (tmp_path / "runs disk").exists()
    plan = subprocess.run([*line, "--dry-run"], capture_output=True, text=True, check=False)
    assert plan.returncode == 0, "planning looks at the beginnings of files only"


def test_a_placement_that_there_is_not(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path, "cloud"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --images cloud: must be 'auto', 'device', 'host' or 'disk'")
