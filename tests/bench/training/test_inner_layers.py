"""How methods reach inside networks: whole-set inference with rows beside the images, and branches within a step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.models import build
from bench.spec import RunSpec
from bench.training.images.image_store import ImageStore
from bench.training.method_task import MethodTask, TrainingPart
from bench.training.networks import PassCounter, TrainedNetwork
from bench.training.precision import Precision

CPU = torch.device("cpu")
SAMPLES = 12


def network(precision: str = "fp32", model: str = "cnn-small") -> TrainedNetwork:
    module = build(model, num_classes=3, in_chans=1, image_size=(8, 8), seed=0)
    return TrainedNetwork(module, Precision(precision, CPU), PassCounter())


def task_of(subject: TrainedNetwork) -> MethodTask:
    images = torch.randint(0, 256, (SAMPLES, 8, 8, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    store = ImageStore(images, [0.5], [0.25])
    labels = torch.arange(SAMPLES) % 3
    spec = RunSpec(
        method="ce",
        data_set="nothing",
        data_sha256="0" * 64,
        noise="none",
        model="cnn-small",
        epochs=1,
        batch_size=4,
        learning_rate=0.01,
    )
    return MethodTask(TrainingPart(store, labels, 3, store, labels), spec, [subject], {})


def rows_beside(module: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
    assert not module.training and len(images) == len(rows)
    return torch.cat([images.flatten(1)[:, :1], rows.float().unsqueeze(1)], dim=1)


def test_rows_along_follow_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.training.method_task.inference_batch", lambda device, size: 5)
    subject = network()
    task = task_of(subject)
    index = torch.tensor([7, 0, 0, 11, 3, 5, 9])
    along = torch.arange(SAMPLES) * 10
    everything = task.infer(output=rows_beside, along=along, units=2.5)
    assert torch.equal(everything[:, 1], along.float())
    assert subject.pass_counter.forward == 2.5 * SAMPLES
    assert torch.equal(task.infer(index=index, output=rows_beside, along=along), everything[index])
    assert subject.module.training


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_branch_moves_no_statistic_and_its_gradient_flows(precision: str) -> None:
    subject = network(precision)
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in subject.module.named_buffers()}
    result = subject.through(lambda module, batch: module(batch), images, units=4)
    assert result.dtype == torch.float32 and subject.module.training
    assert all(torch.equal(before[name], value) for name, value in subject.module.named_buffers())
    assert (subject.pass_counter.forward, subject.pass_counter.backward) == (24, 0)
    torch.autograd.backward(result.sum())
    assert all(weight.grad is not None for weight in subject.parameters())


def failing(module: nn.Module, images: Tensor) -> Tensor:
    raise ValueError("no such stage")


def test_a_branch_that_fails_leaves_the_network_as_it_was() -> None:
    subject = network()
    with pytest.raises(ValueError, match="no such stage"):
        subject.through(failing, torch.zeros(2, 1, 8, 8))
    assert subject.module.training


@pytest.mark.parametrize("model", ["cnn-small", "preact-resnet18"])
def test_from_any_stage_comes_what_the_classifier_is_given(model: str) -> None:
    module = network(model=model).module.eval()
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = module.forward_head(module.forward_features(images), pre_logits=True)
    for entry in module.feature_info:
        pooled = module.forward_from(module.forward_to(images, entry["module"]), entry["module"], pre_logits=True)
        torch.testing.assert_close(pooled, expected)
