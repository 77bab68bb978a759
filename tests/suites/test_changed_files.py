"""Files that change between the plan and the run: the run fails with the file's name, and trains on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.execution.backends import make_runtimes
from bench.memory.job_limits import JobLimits
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.records.store import Store
from bench.training.noisy_data import _load
from bench.training.run import run_spec
from datasets.interface import DataError

PLUGIN = """
from methods.interface import Method
from methods.losses import cross_entropy

class Mine(Method):
    name = "mine"
    summary = "a method of a test"
    source = "none"

    def losses(self, logits, labels):
        return cross_entropy(logits, labels)
"""


def matrix(rate: float) -> str:
    rows = [[1 - rate if i == j else rate / 9 for j in range(10)] for i in range(10)]
    return "\n".join(",".join(map(str, row)) for row in rows)


def write_images(folder: Path, shift: int = 0) -> None:
    chance = np.random.Generator(np.random.Philox(7))
    rows = ["path,label"]
    for number in range(40):
        pixels = chance.integers(0, 255 - shift, (8, 8), dtype=np.uint8) + np.uint8(shift)
        Image.fromarray(pixels).save(folder / f"{number}.bmp")
        rows.append(f"{number}.bmp,{'ab'[number % 2]}")
    (folder / "t.csv").write_text("\n".join(rows))


def swap_labels(folder: Path) -> None:
    table = folder / "t.csv"
    table.write_text(table.read_text().replace(",a", ",?").replace(",b", ",a").replace(",?", ",b"))


CHANGES: dict[str, tuple[dict[str, Any], Callable[[Path], Any], str]] = {
    "matrix": (
        {"noise": ["matrix:m.csv"]},
        lambda here: (here / "m.csv").write_text(matrix(0.6)),
        r"--noise matrix:m.csv has changed",
    ),
    "labels": (
        {"labels": "l.csv"},
        lambda here: (here / "l.csv").write_text("\n".join(["1"] * 1400)),
        r"--labels l.csv has changed",
    ),
    "table": ({"dataset": "table:t.csv", "noise": ["sym"]}, swap_labels, r"--dataset table:t.csv has changed"),
    "image": (
        {"dataset": "table:t.csv", "noise": ["sym"]},
        lambda here: write_images(here, 9),
        "--dataset table:t.csv",
    ),
    "streamed image": (
        {"dataset": "table:t.csv", "noise": ["sym"], "images": "disk"},
        lambda here: write_images(here, 9),
        "--dataset table:t.csv has changed",
    ),
    "plugin": (
        {"methods": ["mine"], "plugin": ["p.py"], "noise": ["sym"]},
        lambda here: (here / "p.py").write_text(PLUGIN.replace("cross_entropy(logits, labels)", "0 * logits.sum(1)")),
        r"--plugin .*p.py has changed",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_file_that_changes_after_the_plan_is_not_trained_on(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, change, reason = CHANGES[what]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry.lookup, "_plugins", ())
    (tmp_path / "m.csv").write_text(matrix(0.3))
    (tmp_path / "l.csv").write_text("\n".join(str(number % 10) for number in range(1400)))
    (tmp_path / "p.py").write_text(PLUGIN)
    write_images(tmp_path)
    registry.load_plugins(options.get("plugin", ()))
    typed = {"methods": ["ce"], "seeds": "1", "epochs": 1, "model": "cnn-small", "batch_size": 32} | options
    request = Request.typed(**typed)
    facts = gather_facts(validate_request(request))
    (spec,) = make_plan(request, facts).specs
    runtime = make_runtimes(request, facts, JobLimits(jobs=1, threads=1))(spec)
    store = Store(tmp_path / "o")
    change(tmp_path)
    _load.cache_clear()  # as in a worker, which has read nothing yet
    with pytest.raises(DataError, match=reason):
        run_spec(spec, runtime, store, lambda done, total: None)
    assert not store.has(spec.run_id)
