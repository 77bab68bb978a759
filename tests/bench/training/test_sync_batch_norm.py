"""`--sync-batch-norm`: who may ask for it, what it changes, and what boards say of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from bench.cli.main import main
from bench.execution.worker import load_file
from bench.leaderboard import tables
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.registry import load_method
from bench.reporting.explicit_command import explicit_command
from bench.spec import RunSpec
from bench.system.errors import UsageError
from bench.training.images.image_store import ImageStore
from bench.training.method_task import TrainingPart
from bench.training.trainer import Trainer

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")


def planned(device: str, processes: int, **typed: Any) -> RunSpec:
    """The one run of a request on a machine that there needn't be."""
    request = Request.typed(methods="ce", seeds="1", **typed)
    facts = replace(
        gather_facts(validate_request(Request.typed(methods="ce", seeds="1"))), device=device, processes=processes
    )
    (spec,) = make_plan(request, facts).specs
    return spec


def test_it_is_part_of_the_identity_only_where_it_is_used() -> None:
    plain, synchronised = planned("cuda", 2), planned("cuda", 2, sync_batch_norm=True)
    assert "sync_batch_norm" not in plain.canonical()
    assert synchronised == plain.model_copy(update={"sync_batch_norm": True})
    assert synchronised.run_id != plain.run_id and synchronised.setting_id != plain.setting_id


@pytest.mark.parametrize(
    ("device", "processes", "words"), [("cpu", 2, "CUDA devices only"), ("cuda", 1, "torchrun --nproc-per-node 2")]
)
def test_with_nobody_to_share_statistics_it_is_a_wrong_request(device: str, processes: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        planned(device, processes, sync_batch_norm=True)


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--methods", "ce", "--device", "cpu", "--sync-batch-norm"]) == 2
    assert "--sync-batch-norm" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_boards_name_it_and_type_it_again() -> None:
    records = fake.several("ce", fake.FIVE, world_size=2, sync_batch_norm=True)
    records += fake.several("ce", fake.LOWER, world_size=2)
    (board,) = tables.build_report(records).boards
    by_heading = {table.heading.rpartition(" · ")[2]: table for table in board.tables}
    assert set(by_heading) == {"synchronised batch normalisation", "batch statistics of each process"}
    for words, table in by_heading.items():
        assert any(f"2 processes, {words}" in line for line in table.description)
        runs = [run for run in records if RunSpec(**run["spec"]).setting_id == table.setting_id]
        command = explicit_command(runs)
        assert command.startswith("torchrun --nproc-per-node 2 -m bench run")
        assert ("--sync-batch-norm" in command) == words.startswith("synchronised")


def test_the_networks_layers_become_synchronised_ones_with_the_same_weights() -> None:
    store = ImageStore(torch.zeros(4, 8, 8, 1, dtype=torch.uint8), [0.5], [0.25], 0)
    labels = torch.tensor([0, 1, 2, 3])
    part = TrainingPart(store, labels, 4, store, labels)
    spec = RunSpec(**fake.SETTING, method="ce-ema", world_size=2)
    trainers = [
        Trainer(load_method("ce-ema")(), each, part, torch.device("cpu"))
        for each in (spec, spec.model_copy(update={"sync_batch_norm": True}))
    ]
    plain, synchronised = ([*trainer.networks, *trainer.task.averages] for trainer in trainers)
    for one, other in zip(plain, synchronised, strict=True):
        kinds = {type(layer) for layer in other.module.modules()}
        assert nn.SyncBatchNorm in kinds and nn.BatchNorm2d not in kinds
        assert nn.SyncBatchNorm not in {type(layer) for layer in one.module.modules()}
        left, right = one.module.state_dict(), other.module.state_dict()
        assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
