"""Small problems on which every registered method can be put through its paces in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.registry import methods
from bench.spec import RunSpec, Runtime
from bench.training.noisy_data import NoisyData, build_noisy_data, build_trainer

DATA = "synthetic[classes=4,size=8,train=80,test=24]"

Make = Callable[..., tuple[RunSpec, Runtime]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `method` runs once for every registered method, so the next one is tested by existing."""
    if "method" in metafunc.fixturenames:
        metafunc.parametrize("method", sorted(methods()))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Spec and runtime of a tiny run; keyword arguments replace fields of the spec."""

    def build(method: str, **fields: Any) -> tuple[RunSpec, Runtime]:
        declared = methods()[method]
        values: dict[str, Any] = {
            "method": method,
            "parameters": {p["name"]: p["default"] for p in declared["parameters"]},
            "privileges": tuple(sorted(declared["needs"])),
            "data_set": DATA,
            "data_sha256": "tiny",
            "noise": "sym",
            "rate": 0.4,
            "model": "cnn-small",
            "augmentation": "crop1",
            "strong_augmentation": "crop1+cutout",
            "epochs": 2,
            "batch_size": 32,
            "learning_rate": 0.05,
            "weight_decay": 0.0,
            "precision": "fp32",
        } | fields
        spec = RunSpec(**values)
        runtime = Runtime(
            data_source=spec.data_set,
            noise_source=spec.noise,
            cache=str(tmp_path / "cache"),
            threads=1,
            checkpoint_seconds=0.0,
        )
        return spec, runtime

    return build


def train(problem: NoisyData, spec: RunSpec) -> list[dict[str, torch.Tensor]]:
    """Weights of every network (and average) after training `spec` on `problem`."""
    trainer = build_trainer(problem, spec, torch.device("cpu"))
    for _ in trainer.epochs():
        pass
    return [network.module.state_dict() for network in (*trainer.networks, *trainer.task.averages)]


def same(left: list[dict[str, torch.Tensor]], right: list[dict[str, torch.Tensor]]) -> bool:
    """Whether two sets of weights agree bit for bit."""
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(left, right, strict=True)
    )


@pytest.fixture
def weights() -> Callable[[NoisyData, RunSpec], list[dict[str, torch.Tensor]]]:
    """`train`, for tests."""
    return train


@pytest.fixture
def equal() -> Callable[..., bool]:
    """`same`, for tests."""
    return same


@pytest.fixture
def problem_of() -> Callable[[RunSpec, Runtime], NoisyData]:
    """`bench.training.noisy_data.build_noisy_data`, for tests."""
    return build_noisy_data
