"""A damaged checkpoint, or one that doesn't fit, costs time and never changes a record."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.records.store import Store
from bench.training.checkpoint import FORMAT, SEAL, find_damage
from bench.training.outcome import PauseReached
from bench.training.run import run_spec


def quiet(done: int, total: int) -> None:
    """No progress."""


def content(record: dict[str, Any] | None) -> dict[str, Any]:
    assert record is not None
    return {key: value for key, value in record.items() if key != "provenance"}


class Paused:
    """A run with its record, and the bytes of a checkpoint of it."""

    def __init__(self, make: Any, folder: Path, name: str) -> None:
        self.spec, runtime = make(name, epochs=3)
        self.runtime, self.folder = runtime, folder
        whole = Store(folder / "whole")
        run_spec(self.spec, runtime, whole, quiet)
        self.record = content(whole.read(self.spec.run_id))
        torn = Store(folder / "torn")
        with pytest.raises(PauseReached):
            run_spec(self.spec, runtime.model_copy(update={"pause_at": 0.5}), torn, quiet)
        self.path = torn.checkpoint_path(self.spec.run_id)
        self.checkpoint = self.path.read_bytes()

    def continue_from(self, checkpoint: bytes) -> tuple[dict[str, Any], list[int]]:
        """The record of a run that meets `checkpoint`, and the numbers of epochs that it reported."""
        store = Store(self.folder / "torn")
        self.path.write_bytes(checkpoint)
        epochs: list[int] = []
        run_spec(self.spec, self.runtime, store, lambda done, total: epochs.append(done))
        record = content(store.read(self.spec.run_id))
        store.record_path(self.spec.run_id).unlink()
        return record, epochs


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], Paused]:
    made: list[Paused] = []

    def get(make: Any) -> Paused:
        if not made:
            made.append(Paused(make, tmp_path_factory.mktemp("paused"), "elr"))
        return made[0]

    return get


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"bit at {share:.0%}": lambda data, at=share: flipped(data, int(len(data) * at)) for share in (0.1, 0.5, 0.9)},
    "bit of the hash": lambda data: flipped(data, len(data) - 5),
    "zeroed block": lambda data: data[:8192] + bytes(4096) + data[12288:],
    "cut off": lambda data: data[:-4096],
    "without its hash, a bit": lambda data: flipped(data[: -len(SEAL) - 32], len(data) // 2),
    "empty": lambda data: b"",
    "text": lambda data: b"nothing",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside(
    how: str, make: Any, paused: Callable[[Any], Paused], capsys: pytest.CaptureFixture[str]
) -> None:
    run = paused(make)
    record, epochs = run.continue_from(DAMAGES[how](run.checkpoint))
    assert record == run.record and epochs == [0, 1, 2, 3]
    assert "checkpoint.pt can't be used and is set aside as checkpoint.corrupt-" in capsys.readouterr().err


@pytest.mark.parametrize("earlier", [False, True])
def test_a_sound_checkpoint_is_continued(earlier: bool, make: Any, paused: Callable[[Any], Paused]) -> None:
    """Those of earlier releases have no hash, and the checksums of their zip file hold."""
    run = paused(make)
    record, epochs = run.continue_from(run.checkpoint[: -len(SEAL) - 32] if earlier else run.checkpoint)
    assert record == run.record and epochs == [2, 3]


def change(state: Any, *place: Any, to: Any = None) -> None:
    """Put `to` into nested state, or drop what is there."""
    for key in place[:-1]:
        state = state[key]
    if to is None:
        del state[place[-1]]
    else:
        state[place[-1]] = to


def first_weight(state: dict[str, Any]) -> torch.Tensor:
    weights: torch.Tensor = next(iter(state["trainer"]["networks"][0].values()))
    return weights


MISFITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing but a format": lambda state: [state.clear(), state.update(format=FORMAT, trainer={})],
    "no threads": lambda state: change(state, "threads"),
    "no curves": lambda state: change(state, "curves"),
    "no memory of the method": lambda state: state["trainer"]["states"].clear(),
    "a network less": lambda state: state["trainer"]["networks"].clear(),
    "epoch of another type": lambda state: change(state, "trainer", "epoch", to="2"),
    "weights that are no numbers": lambda state: first_weight(state).fill_(float("nan")),
    "weights of another shape": lambda state: change(
        state, "trainer", "networks", 0, next(iter(state["trainer"]["networks"][0])), to=torch.zeros(3)
    ),
    "momentum of another shape": lambda state: change(
        state, "trainer", "optimizer", "state", 0, "momentum_buffer", to=torch.zeros(3)
    ),
    "no settings of the optimiser": lambda state: change(state, "trainer", "optimizer", "param_groups", 0, "lr"),
    "clock of another type": lambda state: change(state, "clock", to=[1]),
}


@pytest.mark.parametrize("how", MISFITS)
def test_a_checkpoint_that_does_not_fit_is_set_aside(
    how: str, make: Any, paused: Callable[[Any], Paused], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = paused(make)
    (tmp_path / "sound").write_bytes(run.checkpoint)
    state = torch.load(tmp_path / "sound", weights_only=True)
    MISFITS[how](state)
    torch.save(state, tmp_path / "misfit")
    assert find_damage(tmp_path / "misfit") is None
    record, epochs = run.continue_from((tmp_path / "misfit").read_bytes())
    assert record == run.record and epochs == [0, 1, 2, 3]
    assert "can't be used and is set aside" in capsys.readouterr().err


def test_a_run_goes_on_without_room_for_a_checkpoint(
    make: Any, paused: Callable[[Any], Paused], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = paused(make)
    write, most = os.write, len(run.checkpoint) // 2

    def write_little(handle: int, data: Any) -> int:
        if os.fstat(handle).st_size + len(data) > most:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_little)
        record, _ = run.continue_from(b"")
    assert record == run.record
    said = capsys.readouterr().err
    assert said.count("can't be written: No space left on device. The run goes on without") == 1
    assert [path.name for path in run.path.parent.glob(".*.tmp")] == []
