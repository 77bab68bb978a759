"""What a run's record says it cost, and how boards show that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.worker import load_file
from bench.leaderboard import tables
from bench.leaderboard.render import markdown, structured
from bench.models import flops
from bench.models.flops import cached_flops, flops_per_image
from bench.records.compact import compact_record
from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.training.run import run_spec

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
several, only_table, by_label, of = fake.several, fake.only_table, fake.by_label, fake.of
Record = dict[str, Any]

COST = {
    "units_per_sample_epoch": 3.0,
    "forward_per_sample_epoch": 1.0,
    "backward_per_sample_epoch": 1.0,
    "flops_forward": 1_000_000,
    "flops_forward_backward": 3_000_000,
}


@pytest.fixture
def forgetful() -> Iterator[None]:
    """A process that has counted nothing yet."""
    flops_per_image.cache_clear()
    cached_flops.cache_clear()
    yield
    flops_per_image.cache_clear()
    cached_flops.cache_clear()


@pytest.mark.parametrize("model", ["cnn-small", "cnn8", "preact-resnet18", "resnet18"])
def test_operations_counted_on_shapes_are_those_of_the_network(model: str) -> None:
    assert flops_per_image(model, (32, 32), 3, 10) == flops._count(model, (32, 32), 3, 10, "cpu")


def test_operations_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    asked = ("cnn-small", (8, 8), 1, 10)
    counted = cached_flops(*asked, tmp_path)
    assert counted == flops_per_image(*asked)
    cached_flops.cache_clear()
    monkeypatch.setattr(flops, "flops_per_image", None)
    assert cached_flops(*asked, tmp_path) == counted
    for sidecar in (tmp_path / "flops").iterdir():
        sidecar.write_text("{")
    monkeypatch.undo()
    cached_flops.cache_clear()
    assert cached_flops(*asked, tmp_path) == counted


def test_a_layer_without_a_shape_rule_is_counted_for_real(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    devices = []

    def count(model: str, size: tuple[int, int], channels: int, classes: int, device: str) -> tuple[int, int]:
        devices.append(device)
        if device == "meta":
            raise NotImplementedError
        return 1, 3

    monkeypatch.setattr(flops, "_count", count)
    assert flops_per_image("cnn-small", (8, 8), 1, 10) == (1, 3)
    assert devices == ["meta", "cpu"]


def test_plain_training_is_one_pass_there_and_back(tmp_path: Path) -> None:
    spec = RunSpec(
        method="ce",
        data_set="synthetic[classes=4,size=8,train=80,test=24]",
        data_sha256="tiny",
        noise="sym",
        rate=0.4,
        model="cnn-small",
        epochs=2,
        batch_size=32,
        learning_rate=0.05,
    )
    store = Store(tmp_path)
    runtime = Runtime(data_source=spec.data_set, noise_source="sym", cache=str(tmp_path / "cache"))
    run_spec(spec, runtime, store, lambda done, total: None)
    record = store.read(spec.run_id)
    assert record is not None
    assert {name: record["measures"][name] for name in COST} == COST | dict(
        zip(("flops_forward", "flops_forward_backward"), flops_per_image("cnn-small", (8, 8), 3, 4), strict=True)
    )
    assert record["provenance"]["images_per_second"] > 0
    assert record["provenance"]["peak_memory_bytes"] > 0
    assert compact_record(record)["provenance"]["images_per_second"] > 0


def priced(accuracy: float, name: str, **measures: Any) -> list[Record]:
    records = several(name, (accuracy, accuracy + 0.01), measures=COST | measures)
    for record in records:
        record["provenance"] |= {"images_per_second": 12_345.6, "peak_memory_bytes": 300 * 2**20}
    return records


def test_boards_show_passes_operations_speed_and_memory() -> None:
    dear = {"units_per_sample_epoch": 8.0, "forward_per_sample_epoch": 4.0, "backward_per_sample_epoch": 2.0}
    report = tables.build_report([*priced(0.5, "ce"), *priced(0.6, "gce", **dear)])
    costs = markdown.report_as_markdown(report).partition("What accuracy costs")[2]
    titles, _, cheap, dearer = costs.strip().splitlines()[:4]
    assert [each.strip() for each in titles.strip("|").split("|")][4:] == [
        "forward + backward",
        "TFLOP / run",
        "s / run",
        "images / s",
        "MiB",
    ]
    # 1,260 images, 30 epochs: one forward at 1 MFLOP and one backward at 2
    assert [each.strip() for each in cheap.strip("|").split("|")][4:] == ["1 + 1", "0.113", "2.0", "12,346", "300"]
    assert "4 + 2" in dearer
    (setting,) = structured.report_as_json(report)["settings"]
    row = setting["rows"][-1]
    assert row["flops"] == pytest.approx(3e6 * 1260 * 30)
    assert (row["forward"], row["backward"], row["images_per_second"]) == (1, 1, 12_345.6)


def test_records_from_before_costs_were_kept_still_make_a_board() -> None:
    units = {"units_per_sample_epoch": 6.0}
    report = tables.build_report([*several("ce", (0.5, 0.6)), *several("gce", (0.7, 0.8), measures=units)])
    costs = markdown.report_as_markdown(report).partition("What accuracy costs")[2]
    assert "forward + backward" not in costs and "TFLOP" not in costs
    row = by_label(only_table(report))["ce"]
    assert row.means["flops"] is None and row.means["forward"] is None
    assert structured.report_as_csv(report).count("\n") == 4


def test_operations_of_a_run_are_unknown_where_a_part_is() -> None:
    spec = several("ce", (0.5,))[0]["spec"]
    record = of(RunSpec(**spec), 0.5)
    record["measures"] |= COST | {"flops_forward": None}
    (row,) = [row for row in only_table(tables.build_report([record])).rows if not row.derived]
    assert row.means["flops"] is None
