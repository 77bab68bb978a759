"""The core and every method on a CUDA device, as far as they can be on the CPU as well.

Without a device the CUDA half is skipped; what can be known then is checked on shapes that claim to be on one, and by
operations of which it is known that the host would wait for them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.memory.footprint import DataSizes
from bench.memory.rehearsal import measure_footprint
from bench.models import build
from bench.records.store import Store
from bench.registry import load_method
from bench.training.augmentation import build_augmentation, padding_and_flips
from bench.training.checkpoint import Checkpoint
from bench.training.images.image_sets import ImageSets
from bench.training.images.image_store import ImageStore
from bench.training.method_task import TrainingPart
from bench.training.networks import PassCounter, TrainedNetwork
from bench.training.noisy_data import build_noisy_data, build_trainer
from bench.training.outcome import OutOfMemory
from bench.training.precision import Precision, limit_gpu_memory, prepare_process
from bench.training.run import run_spec
from bench.training.step import Batch, TrainingStep
from bench.training.trainer import Trainer
from methods.interface import Steps

CPU = torch.device("cpu")
CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")],
)
DEVICES = ["cpu", CUDA]

WAITING = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.equal.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.bincount.default,
    torch.ops.aten.repeat_interleave.Tensor,
}
"""Operations whose result's shape or value the host must know."""


@pytest.fixture(autouse=True)
def true_float32() -> Iterator[None]:
    """The settings of a run's process, on one thread."""
    before = torch.get_num_threads()
    prepare_process(1)
    yield
    torch.set_num_threads(before)


class NoWaiting(TorchDispatchMode):
    """Refuses operations that a host would wait for on a card; on a card itself, PyTorch's own check comes on top."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masks = func is torch.ops.aten.index.Tensor and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if func in WAITING or masks:
            raise RuntimeError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


def guard_steps(trainer: Trainer) -> None:
    """Let nothing wait for the device between the first and the last step of a pass."""
    prepare = trainer.batch_loader.steps

    def guarded(*given: Any) -> Iterator[TrainingStep]:
        steps = prepare(*given)
        if trainer.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            with NoWaiting():
                yield from steps
        finally:
            if trainer.device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")

    trainer.batch_loader.steps = guarded  # type: ignore[method-assign]


def first_loss(problem: Any, spec: Any, device: torch.device) -> float:
    """The loss of a run's first step."""
    trainer = build_trainer(problem, spec, device)
    work = trainer.method.passes(trainer.phases[0], 0)[0]
    step = next(iter(trainer.batch_loader.steps(work, trainer.networks, "train", (0, 0, 0))))
    return float(trainer.method.loss(step).detach())


@pytest.mark.parametrize("device", DEVICES)
def test_two_epochs_without_a_wait_between_steps(
    method: str, device: str, make: Any, problem_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it looks at a matrix's values only where that costs nothing, on the CPU
    monkeypatch.setattr("methods.losses._check_transition", lambda transition, classes: None)
    spec, runtime = make(method)
    trainer = build_trainer(problem_of(spec, runtime), spec, torch.device(device))
    guard_steps(trainer)
    done = [epoch.train_loss for epoch in trainer.epochs()]
    assert len(done) >= 2 and all(map(math.isfinite, done))
    tensors = [*trainer.networks[0].parameters(), *trainer.task.states.values(), trainer.batch_loader.store.images]
    assert {tensor.device.type for tensor in tensors} == {device}


def test_the_guard_notices_waits() -> None:
    values = torch.tensor([1.0, 2.0])
    waits = (lambda: float(values[0]), lambda: values[values > 1], lambda: values.nonzero(), lambda: bool(values.any()))
    for wait in waits:
        with pytest.raises(RuntimeError, match="waits"), NoWaiting():
            wait()


@pytest.mark.parametrize("device", [CUDA])
def test_the_first_loss_is_the_processors(method: str, device: str, make: Any, problem_of: Any) -> None:
    """The same weights, order, crops and draws, so the same loss but for the order of sums."""
    spec, runtime = make(method)
    problem = problem_of(spec, runtime)
    expected = first_loss(problem, spec, CPU)
    assert first_loss(problem, spec, torch.device(device)) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_losses_stay_on_their_device(method: str, make: Any, problem_of: Any) -> None:
    """On shapes that claim to be on a card: whatever a method makes on the CPU and mixes in is refused."""
    if torch.version.cuda is None:
        pytest.skip("this build of PyTorch knows no CUDA, not even for shapes")
    spec, runtime = make(method)
    trainer = build_trainer(problem_of(spec, runtime), spec, CPU)
    subject = trainer.method
    work = subject.passes(trainer.phases[-1], 0)[0]
    drawn = work.draws(Steps(1, spec.batch_size), torch.Generator().manual_seed(0))
    learned = [learned.values for learned in trainer.task.learned.values()]
    real = [trainer.task.labels, *trainer.task.states.values(), *learned, *drawn.values()]
    real += [value for value in trainer.task.privileges.values() if torch.is_tensor(value)]
    with FakeTensorMode() as mode:
        fakes: dict[int, Tensor] = {id(value): mode.from_tensor(value).to("cuda") for value in real}
        for name, value in vars(subject).items():
            if id(value) in fakes:
                setattr(subject, name, fakes[id(value)])
        told = trainer.task.privileges
        trainer.task.privileges = {name: fakes.get(id(value), value) for name, value in told.items()}
        draws = {name: fakes[id(value)][0] for name, value in drawn.items()}
        networks = []
        for _ in trainer.networks:
            with torch.device("cuda"):
                module = build(spec.model, num_classes=4, in_chans=3, image_size=8, seed=0)
            networks.append(TrainedNetwork(module, Precision("fp32", torch.device("cuda")), PassCounter()))
        # an average that the loss asks: the shapes of its weights are those of its network
        for average in trainer.task.averages:
            network = networks[trainer.networks.index(average.source)]
            average.module, average.classifier = network.module, network.classifier
        rows = torch.zeros(spec.batch_size, dtype=torch.int64, device="cuda")
        images = torch.zeros(spec.batch_size, 3, 8, 8, device="cuda")
        batches = {name: Batch(rows, rows, [images for _ in stream.views]) for name, stream in work.streams.items()}
        loss = subject.loss(TrainingStep("train", 0, work.learn, draws, batches, networks))
        assert loss.device.type == "cuda" and loss.shape == ()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "name",
    [
        "none",
        "crop4",
        "crop4+flip",
        "crop4+flip+cutout8",
        "rotate20",
        "crop4+flip+autoaugment+randaugment+cutout",
        "randaugment:2:9+crop4+flip+cutout8",
    ],
)
def test_augmentation_is_the_processors(name: str, device: str) -> None:
    """The same pixels for the same draws; where angles are involved, a few may fall to their neighbour."""
    augmentation = build_augmentation(name)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8, generator=generator)
    index = torch.randperm(64, generator=generator)
    draws = augmentation.draws(64, (32, 32), generator)
    results = []
    for where in (CPU, torch.device(device)):
        store = ImageStore(images.to(where), [0.5, 0.4, 0.3], [0.2, 0.25, 0.3], augmentation.pad)
        moved = {key: value.to(where) for key, value in draws.items()}
        results.append(augmentation.apply(store, index.to(where), moved).cpu())
    apart = (results[0] - results[1]).abs() > 1e-5
    assert float(apart.float().mean()) <= (0.01 if "rotate" in name or "rand" in name else 0)


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "bf16"), *[pytest.param("cuda", precision, marks=CUDA.marks) for precision in ("bf16", "fp16")]],
)
def test_low_precision_trains_close_to_float32(device: str, precision: str, make: Any, problem_of: Any) -> None:
    """Finite, in float32 weights and logits, and near the float32 loss."""
    losses = {}
    for name in ("fp32", precision):
        spec, runtime = make("ce", precision=name, epochs=3)
        trainer = build_trainer(problem_of(spec, runtime), spec, torch.device(device))
        losses[name] = [done.train_loss for done in trainer.epochs()]
        logits = trainer.networks[0](trainer.batch_loader.store.plain(torch.arange(4, device=device)))
        assert logits.dtype == torch.float32
        assert all(weight.dtype == torch.float32 for weight in trainer.networks[0].parameters())
    assert losses[precision] == pytest.approx(losses["fp32"], rel=0.1)
    assert losses[precision] != losses["fp32"]


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_comes_back_onto_the_device(
    method: str, device: str, make: Any, problem_of: Any, tmp_path: Path
) -> None:
    """Loaded through the CPU, every tensor is the one that was saved, on the device, and training goes on from it."""
    spec, runtime = make(method, epochs=3)
    problem = problem_of(spec, runtime)
    whole = build_trainer(problem, spec, torch.device(device))
    epochs = whole.epochs()
    next(epochs)
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    checkpoint.save({"trainer": whole})
    continued = build_trainer(problem, spec, torch.device(device))
    assert checkpoint.load({"trainer": continued})
    mine, theirs = flat(continued.state()), flat(whole.state())
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) and mine[name].device.type == device for name in mine)
    rest = [done.train_loss for done in continued.epochs()]
    # convolutions on a card sum in no fixed order, so only the CPU promises every bit
    expected = [done.train_loss for done in epochs]
    assert rest == expected if device == "cpu" else rest == pytest.approx(expected, rel=0.05, abs=0.01)


def flat(state: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor in nested dictionaries and lists, by its path."""
    if torch.is_tensor(state):
        return {name: state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    return {path: tensor for key, value in items for path, tensor in flat(value, f"{name}/{key}").items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("subject", ["ce", "forward-estimated", "ce-oracle"])
def test_a_whole_run_makes_a_record(subject: str, device: str, make: Any, tmp_path: Path) -> None:
    spec, runtime = make(subject)
    store = Store(tmp_path / "runs")
    run_spec(spec, runtime.model_copy(update={"device": device}), store, lambda done, total: None)
    record = store.read(spec.run_id)
    assert record is not None
    assert record["curves"]["train_loss"] and record["provenance"]["peak_memory_bytes"] > 0
    if device == "cuda":
        assert record["provenance"]["device"] == torch.cuda.get_device_name()


def test_a_method_that_waits_or_mixes_devices_is_caught(make: Any, problem_of: Any) -> None:
    """The checks above can fail: a loss that looks at its own value, and one that brings a tensor of the CPU."""
    spec, runtime = make("ce")
    trainer = build_trainer(problem_of(spec, runtime), spec, CPU)
    plain = trainer.method.loss
    trainer.method.loss = lambda step: plain(step) * (2 if plain(step) > 0 else 1)  # type: ignore[method-assign]
    guard_steps(trainer)
    with pytest.raises(RuntimeError, match="waits"):
        list(trainer.epochs())
    if torch.version.cuda is not None:
        with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
            torch.zeros(3, device="cuda") + torch.zeros(3)


@pytest.mark.parametrize("placement", ["host", "disk"])
@pytest.mark.parametrize("device", DEVICES)
def test_images_from_elsewhere_come_without_a_wait_and_are_the_same(
    placement: str, device: str, make: Any, problem_of: Any
) -> None:
    """Every batch of two epochs is the one that images on the device give, bit for bit, and no step waits for it."""
    spec, runtime = make("ce", augmentation="crop1+flip")
    seen: list[list[Tensor]] = []
    for where in ("device", placement):
        problem = problem_of(spec, runtime.model_copy(update={"images": where}))
        with closing(problem.images):
            trainer = build_trainer(problem, spec, torch.device(device))
            # processes that read files start with their first use, once, and draw a seed on the host then
            assert len(list(trainer.part.images.prefetch([torch.arange(2)]))) == 1
            note_batches(trainer, batches := [])
            guard_steps(trainer)
            assert len(list(trainer.epochs())) == 2
        assert {batch.device.type for batch in batches} == {device}
        seen.append(batches)
    assert len(seen[0]) == len(seen[1]) > 4 and all(map(torch.equal, *seen))


def note_batches(trainer: Trainer, batches: list[Tensor]) -> None:
    """Keep what every step was handed."""
    prepare = trainer.batch_loader.steps

    def noted(*given: Any) -> Iterator[TrainingStep]:
        for step in prepare(*given):
            batches.extend([step.index, *step.streams["all"].views])
            yield step

    trainer.batch_loader.steps = noted  # type: ignore[method-assign]


@pytest.mark.parametrize("device", [CUDA])
def test_batches_sent_to_a_busy_card_arrive_whole(device: str) -> None:
    """While the card works off a long queue, batch after batch is sent beside it, and none is overwritten."""
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    gallery = ImageSets({"train": pixels}, (0.5,) * 3, (0.25,) * 3, "host")
    store = gallery.store("train", torch.device(device), *padding_and_flips("crop4+flip"))
    square = torch.randn(4096, 4096, device=device)
    order = [torch.randperm(64)[:48] for _ in range(40)]
    kept = []
    for arrived, places in store.prefetch(iter(order)):
        square = (square @ square).clamp(-1, 1)
        kept.append(arrived.centre(places))
    for index, images in zip(order, kept, strict=True):
        assert torch.equal(images.cpu(), torch.from_numpy(pixels)[index])


@pytest.mark.parametrize("device", [CUDA])
def test_a_batch_that_a_shared_card_does_not_hold_is_named_with_one_that_fits(device: str, make: Any) -> None:
    """A step of a batch that its share of the card can't hold, eager and recorded; then one of what was named."""
    limit_gpu_memory(torch.device(device), 256 << 20)
    try:
        for steps in ("eager", "auto"):
            with pytest.raises(OutOfMemory) as failed:
                list(large_trainer(make, device, 8192, steps).epochs())
            found = re.search(r"doesn't fit into the 256 MiB .* type --batch-size (\d+)", str(failed.value))
            assert found is not None, failed.value
            assert 64 <= int(found[1]) < 8192
            torch.cuda.empty_cache()
            assert len(list(large_trainer(make, device, int(found[1]), "eager").epochs())) == 2
            torch.cuda.empty_cache()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def large_trainer(make: Any, device: str, batch: int, steps: str) -> Trainer:
    """Cross-entropy with cnn8 on 16,384 images of 32 x 32 x 3, which take 48 MiB of the device."""
    spec, _ = make("ce", model="cnn8", batch_size=batch, augmentation="none", strong_augmentation="none")
    images = torch.zeros((16_384, 32, 32, 3), dtype=torch.uint8, device=device)
    store = ImageStore(images, [0.5] * 3, [0.25] * 3)
    labels = torch.arange(len(images), device=device) % 4
    held = ImageStore(images[:16], [0.5] * 3, [0.25] * 3)
    part = TrainingPart(store, labels, 4, held, labels[:16])
    return Trainer(load_method("ce")(), spec, part, torch.device(device), steps=steps)


@pytest.mark.parametrize("device", [CUDA])
def test_inference_goes_on_in_pieces_on_a_full_card(device: str, make: Any) -> None:
    trainer = large_trainer(make, device, 64, "eager")
    trainer.networks[0].module.eval()
    whole = trainer.task.infer()
    assert trainer.task.chunk_size.limit is None
    torch.cuda.empty_cache()
    limit_gpu_memory(torch.device(device), 320 << 20)
    try:
        pieces = trainer.task.infer()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert trainer.task.chunk_size.limit is not None
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("subject", ["ce", "gjs", "co-teaching"])
def test_a_runs_memory_on_a_card_is_about_what_was_estimated(subject: str, device: str, make: Any) -> None:
    """Tensors alone: the context isn't theirs, and what the allocator takes over them is left out."""
    spec, runtime = make(
        subject, model="cnn8", batch_size=64, data_set="synthetic[classes=4,size=32,train=512,test=64]"
    )
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    trainer = build_trainer(build_noisy_data(spec, runtime), spec, torch.device(device), steps="eager")
    list(trainer.epochs())
    peak = torch.cuda.max_memory_allocated() - before
    taken = measure_footprint(spec, DataSizes(4, (32, 32, 3), 576, 512, 64), device)
    assert 0.7 < (taken.images + taken.networks + taken.step) / peak < 1.4
