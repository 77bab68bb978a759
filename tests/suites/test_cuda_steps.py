"""Steps on a CUDA device as graphs, compiled, and shared by two processes. This file is also what each process runs.

Without a device nothing here runs; `test_recorded_steps.py` puts the same recordings to the test on a processor.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from bench.registry import load_method
from bench.spec import RunSpec
from bench.training.distributed import ProcessGroup
from bench.training.images.image_store import ImageStore
from bench.training.method_task import TrainingPart
from bench.training.noisy_data import build_trainer
from bench.training.precision import prepare_process
from bench.training.step import TrainingStep
from bench.training.trainer import Trainer

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]

CUDA = torch.device("cuda")
SUBJECTS = ("ce", "anl-ce", "co-teaching", "elr+", "dividemix", "sop", "volminnet", "ce-ema")
"""One loss, two networks in one pass and in two, streams of two sizes, learned rows, a matrix by Adam, an average."""
NEAR = {"rel": 0.02, "abs": 0.01}
"""Convolutions on a card sum in no fixed order, and training carries their last bits on."""


@pytest.fixture(autouse=True)
def true_float32() -> Iterator[None]:
    """The settings of a run's process."""
    before = torch.get_num_threads()
    prepare_process(1)
    yield
    torch.set_num_threads(before)


def trained(problem: Any, spec: RunSpec, steps: str) -> tuple[Trainer, list[float]]:
    """A run's trainer after its epochs, and its losses."""
    trainer = build_trainer(problem, spec, CUDA, steps=steps)
    return trainer, [done.train_loss for done in trainer.epochs()]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_graph_trains_as_single_steps_do(subject: str, precision: str, make: Any, problem_of: Any) -> None:
    """Batches of seven with a smaller last one; long enough for warm-ups to end."""
    spec, runtime = make(subject, epochs=5, batch_size=7, precision=precision)
    problem = problem_of(spec, runtime)
    single, losses = trained(problem, spec, "eager")
    graph, others = trained(problem, spec, "auto")
    assert (str(single.step_mode), str(graph.step_mode)) == ("eager", "graph")
    assert others[:2] == pytest.approx(losses[:2], **NEAR)
    assert all(map(math.isfinite, others))
    assert graph.steps_replayed > 0 == single.steps_replayed
    assert graph.pass_counter == single.pass_counter
    assert graph.compile_seconds > 0 and graph.seconds > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_run_goes_on_under_another_way(optimizer: str, make: Any, problem_of: Any) -> None:
    """From a checkpoint of single steps with a graph, and the other way round."""
    spec, runtime = make("sop", epochs=4, batch_size=7, optimizer=optimizer, learning_rate=0.005)
    problem = problem_of(spec, runtime)
    _, losses = trained(problem, spec, "eager")
    for ways in (("eager", "graph"), ("graph", "eager")):
        first = build_trainer(problem, spec, CUDA, steps=ways[0])
        epochs = first.epochs()
        begun = [next(epochs).train_loss, next(epochs).train_loss]
        second = build_trainer(problem, spec, CUDA, steps=ways[1])
        second.load_state(first.state())
        assert begun + [done.train_loss for done in second.epochs()] == pytest.approx(losses, rel=0.05, abs=0.02)


def test_nothing_waits_for_the_device_between_replays(make: Any, problem_of: Any) -> None:
    spec, runtime = make("elr+", epochs=2, batch_size=4)
    trainer = build_trainer(problem_of(spec, runtime), spec, CUDA, steps="graph")
    prepare = trainer.batch_loader.steps

    def guarded(*given: Any) -> Iterator[TrainingStep]:
        for number, step in enumerate(prepare(*given)):
            # the recording itself waits once a pass
            torch.cuda.set_sync_debug_mode("error" if number > 4 else "default")
            yield step
        torch.cuda.set_sync_debug_mode("default")

    trainer.batch_loader.steps = guarded  # type: ignore[method-assign]
    try:
        assert len(list(trainer.epochs())) == 2
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.steps_replayed > 0


def test_recordings_share_their_memory(make: Any, problem_of: Any) -> None:
    """Two passes an epoch, each recorded anew: what they hold on the card stays what the first epochs took."""
    spec, runtime = make("elr+", epochs=8, batch_size=7)
    trainer = build_trainer(problem_of(spec, runtime), spec, CUDA, steps="graph")
    held = [torch.cuda.memory_reserved() for _ in trainer.epochs()]
    assert held[-1] <= held[2] + 2**25


@pytest.mark.slow
def test_compiled_networks_under_a_graph_train_as_single_steps_do(make: Any, problem_of: Any) -> None:
    spec, runtime = make("elr+", epochs=2, batch_size=7)
    problem = problem_of(spec, runtime)
    _, losses = trained(problem, spec, "eager")
    compiled, others = trained(problem, spec, "compiled")
    assert str(compiled.step_mode) == "compiled, graph" and compiled.steps_replayed > 0
    assert others == pytest.approx(losses, **NEAR)


def shared(number: int, size: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Two epochs of cross-entropy in one of `size` processes with synchronised statistics; losses and weights."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(4, (40,), generator=generator).to(CUDA)
    images = torch.randint(0, 256, (40, 8, 8, 1), dtype=torch.uint8, generator=generator).to(CUDA)
    spec = RunSpec(
        method="ce",
        data_set="random",
        data_sha256="0" * 64,
        noise="none",
        model="cnn-small",
        epochs=2,
        batch_size=10,
        learning_rate=0.05,
        world_size=size,
        sync_batch_norm=size > 1,
    )
    store = ImageStore(images, [0.5], [0.25], 0)
    part = TrainingPart(store, labels, 4, store, labels)
    trainer = Trainer(load_method("ce")(), spec, part, CUDA, group=ProcessGroup(number, size))
    losses = [done.train_loss for done in trainer.epochs()]
    return losses, {name: value.cpu() for name, value in trainer.networks[0].module.state_dict().items()}


@pytest.mark.slow
def test_two_processes_with_synchronised_statistics_are_as_one(tmp_path: Path) -> None:
    """Both on one card, over gloo, which nccl refuses."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(tmp_path)]
    running = [subprocess.Popen([*command, str(number)], env=environment) for number in (0, 1)]
    assert [one.wait(timeout=200) for one in running] == [0, 0]
    losses, weights = shared(0, 1)
    for number in (0, 1):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        assert found["losses"] == pytest.approx(losses, rel=1e-3)
        for name, value in weights.items():
            assert torch.allclose(found["weights"][name].double(), value.double(), rtol=1e-2, atol=1e-3), name


if __name__ == "__main__":
    folder, this = Path(sys.argv[1]), int(sys.argv[2])
    prepare_process(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=this, world_size=2)
    found = shared(this, 2)
    torch.save({"losses": found[0], "weights": found[1]}, folder / f"{this}.pt")
    distributed.destroy_process_group()
