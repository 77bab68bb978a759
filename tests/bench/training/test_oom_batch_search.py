"""Where memory runs out: pieces of an inference, and the largest batch that fits."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.registry import load_method
from bench.spec import RunSpec
from bench.training.images.image_store import ImageStore
from bench.training.inference import ChunkSize
from bench.training.method_task import TrainingPart
from bench.training.oom_batch_search import ROOM, STEPS_UP, largest_batch_that_fits, with_room
from bench.training.outcome import OutOfMemory
from bench.training.trainer import Trainer

FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."


class Machine:
    """Something that takes `most` images at once; notes what was asked of it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[int] = []

    def fits(self, batch: int) -> bool:
        self.asked.append(batch)
        return batch <= self.most

    def double(self, values: Tensor, more: Tensor | None = None) -> Tensor:
        if not self.fits(len(values)):
            raise RuntimeError(FULL)
        return 2 * values if more is None else values + more


@given(failed=st.integers(1, 100_000), most=st.integers(0, 100_000))
def test_the_largest_batch_fits_and_no_much_larger_one_does(failed: int, most: int) -> None:
    there = Machine(min(most, failed - 1))
    found = largest_batch_that_fits(failed, there.fits)
    assert all(2 <= batch < failed for batch in there.asked)
    assert len(there.asked) <= failed.bit_length() + STEPS_UP
    if found is None:
        assert there.most < 4
    else:
        assert there.fits(found)
        assert found >= min(there.most, failed // 2) / 2
    if there.most >= 64 and found is not None:
        assert found >= 0.8 * there.most - 8


@given(fitting=st.integers(2, 100_000))
def test_the_advised_batch_leaves_room_and_not_much(fitting: int) -> None:
    advised = with_room(fitting)
    assert 1 <= advised < fitting
    assert advised <= fitting * (ROOM - 1) / ROOM or advised == 1
    assert advised >= fitting * (ROOM - 1) / ROOM - 9


AFTER_A_LACK_OF_PAGES_FOR_CODE = r"""
import re, resource
from pathlib import Path
import torch
from bench.training.oom_batch_search import search_largest_batch

def step(batch):
    layer(torch.zeros(batch, 3, 32, 32)).sum().backward()

layer = torch.nn.Conv2d(3, 32, 3)
free = resource.getrlimit(resource.RLIMIT_DATA)
data = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (data + (1 << 20), free[1]))
try:
    step(64)
except RuntimeError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_DATA, free)
print(search_largest_batch(64, torch.device("cpu"), step))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's data")
def test_a_step_that_found_no_room_for_its_code_spoils_no_smaller_one() -> None:
    """In the thread in which oneDNN once had no pages for its code it can never make code again."""
    done = subprocess.run(
        [sys.executable, "-c", AFTER_A_LACK_OF_PAGES_FOR_CODE],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    error, largest = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert "could not create" in error or "memory" in error
    assert int(largest) >= 56


@settings(max_examples=30, deadline=None)  # each failure collects garbage
@given(total=st.integers(1, 50), most=st.integers(1, 60))
def test_pieces_give_what_the_whole_gives(total: int, most: int) -> None:
    chunk_size, there = ChunkSize(), Machine(most)
    rows = torch.arange(2 * total).view(total, 2)
    assert torch.equal(chunk_size.apply(there.double, rows), 2 * rows)
    assert (chunk_size.limit is None) == (total <= most)
    failures = sum(asked > most for asked in there.asked)
    assert torch.equal(chunk_size.apply(there.double, rows, rows), 2 * rows)
    assert sum(asked > most for asked in there.asked) == failures, "what didn't fit once isn't tried again"
    done = [asked for asked in there.asked if asked <= most]
    assert sum(done) == 2 * total, "no image is done twice"


def test_pieces_raise_what_is_no_lack_of_memory_and_what_no_piece_helps() -> None:
    def wrong(rows: Tensor) -> Tensor:
        raise RuntimeError("size mismatch")

    chunk_size = ChunkSize()
    with pytest.raises(RuntimeError, match="size mismatch"):
        chunk_size.apply(wrong, torch.zeros(4))
    assert chunk_size.limit is None
    with pytest.raises(RuntimeError, match="can't allocate"):
        chunk_size.apply(Machine(0).double, torch.zeros(4))


def trainer_of(method: str, batch: int, most: int) -> Trainer:
    """A trainer of 100 small images whose steps take at most `most` images."""
    images = torch.zeros((100, 8, 8, 1), dtype=torch.uint8)
    store = ImageStore(images, [0.5], [0.25])
    spec = RunSpec(
        method=method,
        data_set="nothing",
        data_sha256="0" * 64,
        noise="none",
        model="cnn-small",
        epochs=2,
        batch_size=batch,
        learning_rate=0.01,
    )
    labels = torch.arange(100) % 4
    part = TrainingPart(store, labels, 4, store, labels)
    trainer = Trainer(load_method(method)(), spec, part, torch.device("cpu"))
    loss = trainer.method.loss

    def limited(given: Any) -> Tensor:
        if len(given.labels) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return loss(given)

    trainer.method.loss = limited  # type: ignore[method-assign]
    return trainer


@pytest.mark.parametrize("method", ["ce", "gjs", "dividemix"])
def test_a_step_that_does_not_fit_names_the_batch_that_does(method: str) -> None:
    with pytest.raises(
        OutOfMemory,
        match=r"^out of memory: a batch of 64 doesn't fit into .* the largest that did is 24: type --batch-size 21",
    ):
        list(trainer_of(method, 64, 24).epochs())


def test_where_nothing_fits_no_batch_is_named() -> None:
    with pytest.raises(OutOfMemory) as failed:
        list(trainer_of("ce", 64, 1).epochs())
    assert "the largest" not in str(failed.value) and "type a smaller --batch-size" in str(failed.value)


def test_other_failures_of_a_step_stay_what_they_are() -> None:
    trainer = trainer_of("ce", 32, 32)

    def broken(step: Any) -> Tensor:
        raise RuntimeError("size mismatch")

    trainer.method.loss = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="size mismatch"):
        list(trainer.epochs())
