"""A tiny backbone with random weights in a file, so that features take no time."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

TINY = "test_resnet"


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of timm's smallest residual network, as a file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model(TINY).state_dict(), path)
    return path
