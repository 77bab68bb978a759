"""The backend that a request names, and the lines of JSON that events become."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.execution import events
from bench.execution.backends import BACKENDS, open_backend
from bench.execution.events import decode_event, encode_event
from bench.execution.torchrun import TorchrunBackend
from bench.planning.request import Request
from bench.system.errors import UsageError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}


@pytest.fixture
def under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "torchrun"])
def test_a_request_opens_the_backend_that_it_names_and_the_help_lists_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cli.main import main

    with open_backend(Request(executor=name)) as backend:
        assert (
            BACKENDS[name].endswith(f":{type(backend).__name__}") and backend.processes == 1 and not backend.is_follower
        )
    for command in ("run", "tune"):
        assert main([command, "--help"]) == 0
        assert f"{name}:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cloud", "torchrun", ""])
def test_other_names_are_refused_with_the_choices(name: str) -> None:
    with (
        pytest.raises(UsageError, match=f"^--executor {name}: must be 'local' or 'ray'$"),
        open_backend(Request(executor=name)),
    ):
        pass


@pytest.mark.usefixtures("under_torchrun")
def test_torchrun_needs_no_name_and_takes_no_other() -> None:
    with open_backend(Request(dry_run=True)) as backend:
        assert type(backend) is TorchrunBackend and backend.processes == 2
        assert backend.is_follower and backend.follow() == 0
    with pytest.raises(UsageError, match="--executor ray: not under torchrun"), open_backend(Request(executor="ray")):
        pass


@pytest.mark.parametrize(
    "event",
    [
        events.RunStarted("a"),
        events.EpochProgress("a", 1, 2),
        events.RunFinished("a", None),
        events.RunPaused("a", 3),
        events.RunFailed("a", "läuft nicht\nweiter", hopeless=True, worker_ends=True, advice="x"),
        events.RunBusy("a"),
        events.RunStopped("a"),
        events.WorkerLost("a", "died", "last words\n"),
        events.WorkerOutput("a line"),
    ],
)
def test_an_event_comes_back_from_its_line(event: events.Event) -> None:
    line = encode_event(event)
    assert "\n" not in line and decode_event(line + "\n") == event
    with pytest.raises(ValueError):
        decode_event(line[:-1])


def test_local_runs_import_no_module_of_ray() -> None:
    code = (
        "import sys; from bench.cli.commands import run, tune; from bench.execution.backends import open_backend; "
        "from bench.planning.request import Request; open_backend(Request()).__enter__(); "
        "print({'ray', 'bench.execution.ray', 'bench.cli.commands.dry_run'} & set(sys.modules))"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "set()\n"
