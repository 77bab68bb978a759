"""Checkpoints: whole or not there, read only in their own format, and nothing is left of a writer that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.records.store import Store
from bench.training.checkpoint import FORMAT, Checkpoint
from bench.training.distributed import ProcessGroup

RUN = "0123456789abcdef"


class Part:
    """A part with any state."""

    def __init__(self, state: Any = None) -> None:
        self.content = state

    def state(self) -> Any:
        return self.content

    def load_state(self, state: Any) -> None:
        self.content = state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / RUN / "checkpoint.pt"


def test_a_checkpoint_is_whole_or_not_there(path: Path) -> None:
    checkpoint, loaded, curves = Checkpoint(path), Part(), Part()
    assert not checkpoint.load({"trainer": loaded})
    checkpoint.save({"trainer": Part({"weights": torch.arange(3.0), "epoch": 2}), "curves": Part([0.5, None])})
    assert checkpoint.load({"trainer": loaded, "curves": curves})
    assert torch.equal(loaded.content["weights"], torch.arange(3.0)) and loaded.content["epoch"] == 2
    assert curves.content == [0.5, None]
    with pytest.raises(Exception, match=r"pickle|local"):
        checkpoint.save({"trainer": Part(lambda: None)})
    assert checkpoint.load({"trainer": loaded})
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint.pt"]
    path.write_bytes(path.read_bytes()[:100])
    before = loaded.content
    assert not checkpoint.load({"trainer": loaded}) and loaded.content is before


@pytest.mark.parametrize("extra", [{"format": FORMAT + 1}, {}])
def test_a_checkpoint_of_another_format_is_as_good_as_none(extra: dict[str, Any], path: Path) -> None:
    path.parent.mkdir()
    torch.save({"threads": 1, "trainer": {}, **extra}, path)
    assert not Checkpoint(path).load({"trainer": Part()})


def test_the_file_has_the_keys_that_it_always_had(path: Path) -> None:
    """A store of an older version continues, and the other way round."""
    parts = {name: Part({"value": 1.5}) for name in ("trainer", "curves", "seconds", "clock")}
    Checkpoint(path).save(parts)
    saved = torch.load(path, weights_only=True)
    assert saved == {"format": 3, "threads": torch.get_num_threads()} | {name: {"value": 1.5} for name in parts}


def test_what_other_code_of_the_method_began_is_not_continued(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = {"methods/gce.py": "1", "methods/losses.py": "2"}, {"methods/gce.py": "1", "methods/losses.py": "3"}
    Checkpoint(path, code=old).save({"trainer": Part(1)})
    assert not Checkpoint(path, code=new).load({"trainer": Part()})
    assert f"changed since {RUN} was begun" in capsys.readouterr().err
    moved = {f"/elsewhere/{name}": code for name, code in old.items()}
    assert all(Checkpoint(path, code=code).load({"trainer": Part()}) for code in (old, moved, None))
    Checkpoint(path).save({"trainer": Part(1)})  # by a release that kept no code
    assert Checkpoint(path, code=new).load({"trainer": Part()})


def test_a_continued_run_has_the_threads_of_the_saved_one(path: Path) -> None:
    threads = torch.get_num_threads()
    Checkpoint(path).save({})
    try:
        torch.set_num_threads(threads + 1)
        assert Checkpoint(path).load({})
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads)


def test_only_the_main_process_writes(path: Path) -> None:
    Checkpoint(path, ProcessGroup(1, 2)).save({"trainer": Part(1)})
    assert not path.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from bench.training.checkpoint import Checkpoint
checkpoint = Checkpoint(Path(sys.argv[1]))
checkpoint.save({})
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save({})
"""


def test_nothing_is_left_of_a_writer_that_was_killed(path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (path.parent / "checkpoint.pt.4711.tmp").write_bytes(b"half")  # the name that versions before 0.1.0 wrote
    (path.parent / "checkpoint.pt.tmp").write_bytes(b"somebody else's")
    assert len(list(path.parent.iterdir())) == 4
    claim = Store(path.parent.parent).claim(RUN)
    assert claim is not None
    with claim:
        names = {entry.name for entry in path.parent.iterdir()}
        assert names == {"checkpoint.pt", "checkpoint.pt.tmp", "claim.json"}
        assert Checkpoint(path).load({})
