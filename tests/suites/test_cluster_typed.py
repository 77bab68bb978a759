"""Ray as a user types it: `run --executor ray` on this machine, Ctrl-C, and wrong requests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.execution.ray import connect
from bench.system.errors import UsageError

HOME = Path(__file__).resolve().parents[2]
DATA = "synthetic[classes=4,size=8,train=96,test=24]"
COMMAND = ("-m", "bench", "run", "--dataset", DATA, "--precision", "fp32", "--device", "cpu")
WITHOUT_RAY = "import sys; sys.modules['ray'] = None; from bench.__main__ import main; main()"
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")


def environment(**more: str) -> dict[str, str]:
    """This process's, with the checkout on the path and no cluster named."""
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return kept | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"} | more


def typed(folder: Path, *words: str, start: tuple[str, ...] = COMMAND, **more: str) -> subprocess.CompletedProcess[str]:
    """Type a command in `folder`."""
    command = [sys.executable, *start, *words]
    return subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=240, check=False
    )


def results(folder: Path) -> dict[str, Any]:
    """Every record without its provenance."""
    found = [json.loads(path.read_text()) for path in folder.glob("*/record.json")]
    return {record.pop("run_id"): record for record in found if record.pop("provenance")}


@pytest.mark.parametrize("typed_mode", [None, "disabled"])
def test_a_cluster_of_this_machine_lets_nobody_else_in(typed_mode: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is put back after the test
        monkeypatch.delenv(name)
    if typed_mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", typed_mode)
    seen: list[dict[str, str]] = []
    ray = SimpleNamespace(init=lambda **options: seen.append(dict(os.environ)))
    monkeypatch.setattr(connect, "import_ray", lambda: ray)
    connect.connect_to_ray(None)
    connect.connect_to_ray("local")
    tokens = {variables.get("RAY_AUTH_TOKEN") for variables in seen}
    if typed_mode is not None:
        assert [variables["RAY_AUTH_MODE"] for variables in seen] == ["disabled"] * 2 and tokens == {None}
    else:
        assert [variables["RAY_AUTH_MODE"] for variables in seen] == ["token"] * 2
        assert all(token is not None and len(token) == 64 for token in tokens)


@needs_ray
@pytest.mark.slow
def test_ray_on_this_machine_makes_the_records_that_local_processes_make(tmp_path: Path) -> None:
    study = ("--methods", "ce,dividemix", "--seeds", "2", "--epochs", "3", "--jobs", "2")
    done = typed(tmp_path, *study, "--executor", "ray", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert {row["method"] for row in json.loads(done.stdout)["settings"][0]["rows"]} >= {"ce", "dividemix"}
    # the display is ours alone: no word of Ray's
    assert "[4/4]" in done.stderr and "ray" not in done.stderr.lower().replace("executor ray", ""), done.stderr
    assert typed(tmp_path, *study, "--out", "local").returncode == 0
    assert results(tmp_path / "runs") == results(tmp_path / "local") and len(results(tmp_path / "runs")) == 4
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name.startswith(".driver")] == []
    # what is stored starts no cluster
    began = time.monotonic()
    again = typed(tmp_path, *study, "--executor", "ray", RAY_TMPDIR=str(tmp_path / "ray"))
    assert again.returncode == 0 and not (tmp_path / "ray").exists() and time.monotonic() - began < 60


@needs_ray
@pytest.mark.slow
def test_ctrl_c_leaves_checkpoints_and_no_process(tmp_path: Path) -> None:
    study = ("--methods", "ce", "--seeds", "2", "--epochs", "5000", "--jobs", "2")
    process = subprocess.Popen(
        [sys.executable, *COMMAND, *study, "--executor", "ray"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("runs/*/checkpoint.pt"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < 5, said
    assert process.returncode == 130 and "2 of 2 runs are left" in said and "Traceback" not in said
    # both have given their claims up, so they ended by themselves, with their checkpoints
    assert len(list(tmp_path.glob("runs/*/checkpoint.pt"))) == 2 and not list(tmp_path.glob("runs/*/claim.json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--executor", "cloud"), "--executor cloud"),
        (("--ray-address", "auto"), "--ray-address is for --executor ray"),
        (("--gpus-per-run", "0.5"), "--gpus-per-run is for --executor ray"),
        (("--executor", "ray", "--gpus-per-run", "2"), "a run trains on one GPU"),
        (("--executor", "ray", "--gpus-per-run", "0"), "over 0 and at most 1"),
        (("--executor", "ray", "--gpus-per-run", "nan"), "--gpus-per-run nan"),
        pytest.param(("--executor", "ray", "--gpus-per-run", "0.5"), "leave it or --device cpu out", marks=needs_ray),
        pytest.param(("--executor", "ray", "--ray-address", "nowhere"), "must be auto or HOST:PORT", marks=needs_ray),
        pytest.param(
            ("--executor", "ray", "--ray-address", "ray://head:10001"), "Type the command on a machine", marks=needs_ray
        ),
        pytest.param(("--executor", "ray", "--ray-address", "127.0.0.1:1"), "no cluster answers", marks=needs_ray),
    ],
)
def test_wrong_requests_say_what_to_type(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ended = typed(tmp_path, *words)
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    ended = typed(tmp_path, *COMMAND[2:], "--executor", "ray", start=("-c", WITHOUT_RAY))
    assert ended.returncode == 2 and "pip install 'lnl-bench[ray]'" in ended.stderr


def test_not_under_torchrun(tmp_path: Path) -> None:
    ended = typed(tmp_path, "--executor", "ray", **TORCHRUN)
    assert ended.returncode == 2 and "not under torchrun" in ended.stderr


@needs_ray
def test_a_card_is_chosen_by_ray(tmp_path: Path) -> None:
    ended = typed(tmp_path, "--executor", "ray", "--ray-address", "auto", start=(*COMMAND[:-1], "cuda:1"))
    assert ended.returncode == 2 and "Type --device cuda" in ended.stderr


@pytest.fixture
def somebody_else() -> Iterator[str]:
    """An address that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@needs_ray
def test_an_address_that_is_no_cluster_is_not_waited_for_for_ever(
    somebody_else: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "SECONDS_TO_CONNECT", 3.0)
    began = time.monotonic()
    with pytest.raises(UsageError, match="is it a Ray cluster's address"):
        connect.connect_to_ray(somebody_else)
    assert time.monotonic() - began < 30
