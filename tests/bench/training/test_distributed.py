"""Two processes that train one run end where one process ends. This file is also what each process runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, distributed, nn

from bench.models.backbone import Backbone, GlobalPool, convolution
from bench.registry import load_method
from bench.spec import RunSpec
from bench.training import trainer as trainer_module
from bench.training.batch_loader import batch_bounds
from bench.training.distributed import ProcessGroup
from bench.training.images.image_store import ImageStore
from bench.training.method_task import TrainingPart
from bench.training.trainer import Trainer

SAMPLES, CLASSES, SIZE = 45, 4, 8
CPU = torch.device("cpu")
WORKS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("train", "ce", {}),
    ("train", "elr", {}),
    ("train", "sop", {}),
    ("train", "ce-ema", {}),
    ("fit", "dividemix", {}),
    ("fit", "mixnn", {"scope": "bank"}),
)
"""Trained for four epochs, or inferred and fitted once given equal weights."""


def without_batch_norm(name: str, num_classes: int, in_chans: int, image_size: Any, seed: int | None) -> nn.Module:
    """A network whose samples don't meet: what one process computes of a batch, two compute of its halves."""
    with torch.random.fork_rng():
        torch.manual_seed(seed or 0)
        first = nn.Sequential(convolution(in_chans, 8, bias=True), nn.ReLU(), nn.AvgPool2d(2))
        second = nn.Sequential(convolution(8, 8, bias=True), nn.ReLU())
        return Backbone([("stage1", first, 8, 2), ("stage2", second, 8, 2)], GlobalPool(), nn.Linear(8, num_classes))


def posed(method: str, group: ProcessGroup, parameters: dict[str, Any]) -> Trainer:
    """A method ready to train for four epochs on random images that a class pattern runs through."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    images = torch.randint(0, 100, (SAMPLES, SIZE, SIZE, 1), dtype=torch.uint8, generator=generator)
    images[torch.arange(SAMPLES), labels] += 150
    spec = RunSpec(
        method=method,
        data_set="random",
        data_sha256="0" * 64,
        noise="none",
        model="cnn-small",
        augmentation="crop1+flip",
        epochs=4,
        batch_size=10,
        learning_rate=0.1,
        weight_decay=1e-3,
        world_size=group.world_size,
    )
    store = ImageStore(images, [0.5], [0.25], pad=1)
    part = TrainingPart(store, labels, CLASSES, store, labels)
    return Trainer(load_method(method)(**parameters), spec, part, CPU, group=group)


def trained(method: str, group: ProcessGroup, parameters: dict[str, Any]) -> Trainer:
    """The method after its four epochs."""
    trainer = posed(method, group, parameters)
    for _ in trainer.epochs():
        pass
    return trainer


def fitted(method: str, group: ProcessGroup, parameters: dict[str, Any]) -> dict[str, Tensor]:
    """What the method infers and fits at the end of its first epoch, given its first weights."""
    trainer = posed(method, group, parameters)
    for network in trainer.networks:
        network.module.train()
    trainer.method.end_epoch(trainer.phases[0], 0)
    found = {f"state {name}": state for name, state in trainer.task.states.items()}
    kept, targets = trainer.method.selected(), trainer.method.soft_targets()
    assert kept is not None
    assert targets is not None
    return found | {"logits": trainer.task.infer(0), "selected": kept, "targets": targets}


def tensors_of(trainer: Trainer) -> dict[str, Tensor]:
    """Everything that the training left behind, by name."""
    found: dict[str, Tensor] = {f"state {name}": state for name, state in trainer.task.states.items()}
    found |= {f"learned {name}": learned.values.data for name, learned in trainer.task.learned.items()}
    for number, network in enumerate((*trainer.networks, *trainer.task.averages)):
        found |= {f"network {number} {name}": value for name, value in network.module.state_dict().items()}
    return found


def primitives(group: ProcessGroup) -> dict[str, Any]:
    """What each call of Ranks gives on small tensors."""
    mine = group.shard(torch.arange(7))
    led = torch.full((2,), float(group.rank))
    group.broadcast([led])
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.full((3,), 1.0 + group.rank)
    bare = nn.Parameter(torch.zeros(1))
    group.all_reduce_gradients([bare, weight])
    # sample 0: nobody's; 1: process 0 last; 2: process 1 last; 3: both in step 4
    memory = torch.arange(4.0) + 10 * group.rank
    flags = torch.tensor([True, True, False, False]) if group.is_main else torch.tensor([False, False, True, True])
    visited = torch.tensor([0, 3, 0, 4]) if group.is_main else torch.tensor([0, 2, 5, 4])
    group.merge_last_visited([memory, flags], visited)
    return {
        "mine": mine.tolist(),
        "gathered": group.all_gather(mine, 7).tolist(),
        "table": group.all_gather(torch.stack([mine, -mine], dim=1), 7).tolist(),
        "led": led.tolist(),
        "gradient": weight.grad.tolist(),
        "no gradient": bare.grad is None,
        "sum": float(group.all_reduce(torch.tensor(1.0 + group.rank))),
        "largest": group.all_reduce_max([1.0 + group.rank, 0.1 - group.rank], CPU),
        "memory": memory.tolist(),
        "flags": flags.tolist(),
    }


def left_by(kind: str, method: str, parameters: dict[str, Any], group: ProcessGroup) -> dict[str, Tensor]:
    """What one of WORKS leaves behind."""
    if kind == "fit":
        return fitted(method, group, parameters)
    return tensors_of(trained(method, group, parameters))


def process(number: int, folder: Path) -> None:
    """One of two processes: the primitives, then every one of WORKS."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=number, world_size=2)
    group = ProcessGroup(number, 2)
    (folder / f"{number}.json").write_text(json.dumps(primitives(group)))
    trainer_module.build = without_batch_norm  # type: ignore[assignment]
    for kind, method, parameters in WORKS:
        torch.save(left_by(kind, method, parameters, group), folder / f"{kind} {method} {number}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left all that they did."""
    folder = tmp_path_factory.mktemp("together")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, __file__, str(folder), str(number)], env=environment) for number in (0, 1)
    ]
    assert [one.wait(timeout=300) for one in running] == [0, 0]
    return folder


def test_what_processes_tell_one_another(together: Path) -> None:
    first, second = (json.loads((together / f"{number}.json").read_text()) for number in (0, 1))
    assert (first.pop("mine"), second.pop("mine")) == ([0, 2, 4, 6], [1, 3, 5])
    assert first == second
    assert first == {
        "gathered": list(range(7)),
        "table": [[number, -number] for number in range(7)],
        "led": [0, 0],
        "gradient": [3, 3, 3],
        "no gradient": True,
        "sum": 3,
        "largest": [2.0, 0.1],
        "memory": [0, 1, 12, 3],
        "flags": [True, True, True, False],
    }


@pytest.mark.parametrize(("kind", "method", "parameters"), WORKS, ids=[f"{kind} {name}" for kind, name, _ in WORKS])
def test_two_processes_are_as_one(
    kind: str, method: str, parameters: dict[str, Any], together: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes hold the same, to the last bit, and what one process holds, to 1e-5."""
    monkeypatch.setattr(trainer_module, "build", without_batch_norm)
    alone = left_by(kind, method, parameters, ProcessGroup())
    first, second = (torch.load(together / f"{kind} {method} {number}.pt", weights_only=True) for number in (0, 1))
    assert first.keys() == second.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name].double(), value.double(), rtol=0, atol=1e-5), name
    if kind == "fit":
        assert 0 < alone["selected"].double().mean() < 1


@given(st.integers(1, 200), st.integers(2, 50), st.integers(1, 4))
def test_every_process_has_two_samples_of_every_batch_but_of_the_only_one(samples: int, batch: int, size: int) -> None:
    bounds = batch_bounds(samples, max(batch, 2 * size), size)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == samples
    assert all(stop == start for (_, stop), (start, _) in pairwise(bounds))
    if len(bounds) > 1:
        assert min(stop - start for start, stop in bounds) >= 2 * size


@given(st.integers(1, 60), st.integers(1, 5))
def test_shares_are_disjoint_and_make_the_whole(count: int, size: int) -> None:
    values = torch.arange(count)
    shares = [ProcessGroup(number, size).shard(values) for number in range(size)]
    assert sorted(torch.cat(shares).tolist()) == list(range(count))
    assert max(map(len, shares)) == ProcessGroup(0, size).largest_shard(count)


def test_a_rank_outside_its_world_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 2"):
        ProcessGroup(2, 2)


if __name__ == "__main__":
    process(int(sys.argv[2]), Path(sys.argv[1]))
