"""Fashion-MNIST as Debian ships it: data that nobody prepared for this code."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from datasets.fashion_mnist import FashionMnist
from datasets.interface import Options

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def test_fashion_mnist_where_debian_puts_it(tmp_path: Path) -> None:
    if not DEBIAN.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{DEBIAN} isn't there, and in CI it has to be: .ci/run installs dataset-fashion-mnist")
        pytest.skip("Debian's dataset-fashion-mnist isn't installed (apt-get install dataset-fashion-mnist)")
    data_set = FashionMnist(Options(root=DEBIAN, cache=tmp_path))
    data = data_set.load(0)
    assert data.train.images.shape == (60_000, 28, 28, 1)
    assert data.test.images.shape == (10_000, 28, 28, 1)
    assert np.bincount(data.train.labels).tolist() == [6_000] * 10
    assert data.description.classes[int(data.train.labels[0])].lower().startswith("ankle boot")
    mean = data.train.images.mean() / 255
    assert mean == pytest.approx(data.mean[0], abs=2e-3)
