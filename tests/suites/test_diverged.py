"""A learning rate beyond all bounds ends in a divergence, also where a method checks its own numbers first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.records.store import Store
from bench.training.outcome import Diverged
from bench.training.run import run_spec


@pytest.mark.parametrize("name", ["ce", "volminnet"])
def test_an_endless_learning_rate_diverges(name: str, make: Any, tmp_path: Path) -> None:
    spec, runtime = make(name, learning_rate=1e30, gradient_clip=None)
    with pytest.raises(Diverged, match="diverged in epoch 1"):
        run_spec(spec, runtime, Store(tmp_path), lambda done, total: None)
