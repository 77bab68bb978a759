"""A spec's identity: what later releases add to it changes no older run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.spec import ADDED_LATER, RunSpec, run_spec

PUBLISHED = Path(__file__).parents[3] / "leaderboards" / "published" / "records"
SMALL: dict[str, Any] = {
    "method": "ce",
    "data_set": "digits",
    "data_sha256": "d" * 64,
    "noise": "none",
    "model": "cnn-small",
    "epochs": 3,
    "batch_size": 64,
    "learning_rate": 0.05,
}


@pytest.mark.parametrize("file", sorted(PUBLISHED.glob("*.jsonl")), ids=lambda file: file.name[:20])
def test_published_records_keep_their_ids(file: Path) -> None:
    """Read and written again by this release, every published spec has the id that it was published with."""
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert RunSpec(**record["spec"]).run_id == record["run_id"]


def test_there_are_published_records() -> None:
    assert sum(1 for _ in PUBLISHED.glob("*.jsonl")) >= 4


def test_what_came_later_stands_at_its_default() -> None:
    assert {name: RunSpec.model_fields[name].default for name in ADDED_LATER} == ADDED_LATER


def test_a_later_field_is_written_only_where_it_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `world_size` were new: ids and tables of one process are those of before it, others are their own."""
    monkeypatch.setattr(run_spec, "ADDED_LATER", {"world_size": 1})
    alone, two = RunSpec(**SMALL), RunSpec(**SMALL, world_size=2)
    assert "world_size" not in alone.model_dump(mode="json") and "world_size" not in alone.canonical()
    assert "world_size" not in alone.setting()
    assert two.model_dump(mode="json")["world_size"] == 2 and two.setting()["world_size"] == 2
    assert alone.run_id != two.run_id and alone.setting_id != two.setting_id
    for spec in (alone, two):
        assert RunSpec(**spec.model_dump(mode="json")) == spec
        assert RunSpec(**json.loads(spec.canonical())).run_id == spec.run_id
