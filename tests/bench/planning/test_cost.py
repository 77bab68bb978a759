"""Expected costs: what methods and models declare holds, and what stored runs took foretells what others will."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import registry
from bench.execution.worker import load_file
from bench.models import MODELS
from bench.models.flops import flops_per_image
from bench.planning.cost import DeclaredCosts, TimeForecast, forecast_seconds, sample_records
from bench.records.compact import read_jsonl
from bench.records.store import Store
from bench.spec import RunSpec

HOME = Path(__file__).resolve().parents[3]
fake = load_file(Path(__file__).parents[1] / "fake_runners.py")
COSTS = DeclaredCosts(
    {
        "ce": {"networks": 1},
        "twice": {"networks": 2},
        "dear": {"networks": 2, "units": 20.0},
        "ensemble": {"networks": "depends on a parameter", "units": 0.0, "units_per": {"members": 3.0}},
    },
    {"mlp": {"megaflops": 2.0}, "timm:NAME": {"megaflops": 100.0}},
)


def took(spec: RunSpec, seconds: float | None) -> dict[str, Any]:
    """A record of a run that took so long."""
    record: dict[str, Any] = fake.record_of(spec, {} if seconds is None else {"seconds": {"total": seconds}})
    return record


def test_a_runs_units_are_those_declared_times_its_epochs() -> None:
    assert COSTS.units(fake.spec_for(method="ce", epochs=5)) == 15
    assert COSTS.units(fake.spec_for(method="twice", epochs=5)) == 30
    assert COSTS.units(fake.spec_for(method="dear", epochs=5)) == 100
    assert COSTS.units(fake.spec_for(method="ensemble", epochs=5, members=4)) == 60
    assert COSTS.units(fake.spec_for(method="of a plugin", epochs=5)) == 15


def test_a_larger_model_is_more_work() -> None:
    spec = fake.spec_for(method="ce", epochs=5)
    assert COSTS.work(spec) == 30
    assert COSTS.work(spec.model_copy(update={"model": "timm:resnet18"})) == 1500


def test_what_methods_declare_is_what_published_runs_measured() -> None:
    costs, ratios = DeclaredCosts(registry.methods(), registry.models()), dict[str, list[float]]()
    for file in sorted((HOME / "leaderboards/published/records").glob("*.jsonl")):
        for record in read_jsonl(file):
            spec = RunSpec.model_validate(record["spec"])
            declared = costs.units(spec) / spec.epochs
            ratios.setdefault(spec.method, []).append(record["measures"]["units_per_sample_epoch"] / declared)
    assert len(ratios) > 40
    assert {name: ratio for name in ratios if not 0.8 < (ratio := statistics.median(ratios[name])) < 1.25} == {}


@pytest.mark.parametrize("name", MODELS)
def test_what_models_declare_is_what_they_compute(name: str) -> None:
    declared = registry.models()[name]["megaflops"]
    assert declared == pytest.approx(flops_per_image(name, (32, 32), 3, 10)[0] / 1e6, rel=0.02)


def test_seconds_go_by_the_same_method_and_scale_with_epochs() -> None:
    records = [took(fake.spec_for(seed, "dear", 10), seconds) for seed, seconds in enumerate([50.0, 100.0, 900.0])]
    todo = [fake.spec_for(seed, "dear", 20) for seed in (7, 8)]
    assert forecast_seconds(todo, records, COSTS) == TimeForecast(400.0, 200.0, by_method=2)
    assert forecast_seconds(todo, records, COSTS).wall(4) == 200.0
    assert forecast_seconds(todo, records, COSTS).wall(1) == 400.0


def test_other_methods_stand_in_by_their_cost_and_strangers_are_unknown() -> None:
    records = [took(fake.spec_for(0, "ce", 10), 30.0)]
    small = fake.spec_for(0, "dear", 10)
    large = small.model_copy(update={"model": "cnn8"})
    assert forecast_seconds([small, large], records, COSTS) == TimeForecast(200.0, 200.0, by_others=1, unknown=1)
    assert forecast_seconds([large], records, COSTS).wall(1) is None


def test_records_without_a_time_or_of_unknown_specs_are_no_ground() -> None:
    strange = took(fake.spec_for(0, "ce"), 5.0)
    strange["spec"]["epochs"] = "many"
    records = [strange, took(fake.spec_for(1, "ce"), None), took(fake.spec_for(2, "gone"), 5.0)]
    assert forecast_seconds([fake.spec_for(3, "ce")], records, COSTS) == TimeForecast(unknown=1)


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=9), st.integers(1, 9))
def test_a_run_is_expected_to_take_what_its_like_took(seconds: list[float], runs: int) -> None:
    records = [took(fake.spec_for(seed, "ce"), value) for seed, value in enumerate(seconds)]
    forecast = forecast_seconds([fake.spec_for(100 + seed, "ce") for seed in range(runs)], records, COSTS)
    assert runs * min(seconds) * 0.999 <= forecast.seconds <= runs * max(seconds) * 1.001


def test_a_forecast_opens_few_records_and_some_of_every_method(tmp_path: Path) -> None:
    store = Store(tmp_path)
    specs = [fake.spec_for(seed, method) for method in ("ce", "dear") for seed in range(5)]
    elsewhere = fake.spec_for(99, "ce")
    for spec in [*specs, elsewhere]:
        store.write_record(took(spec, 1.0))
    stored = {spec.run_id for spec in specs}
    read = list(sample_records(specs, stored, store, most=4))
    assert [record["spec"]["method"] for record in read] == ["ce", "dear", "ce", "dear"]
    everything = {record["run_id"] for record in sample_records(specs, stored, store)}
    assert everything == {*stored, elsewhere.run_id}


def test_members_cost_as_many_times_as_much() -> None:
    spec = fake.spec_for(0, "ce")
    assert COSTS.units(spec.model_copy(update={"members": 3})) == 3 * COSTS.units(spec)
