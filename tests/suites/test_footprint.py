"""The memory that a run is estimated to take: what it depends on, that nothing is taken for it, and that it is kept."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.memory.estimate import estimate_footprint
from bench.memory.footprint import DataSizes, Footprint, upper_bound
from bench.memory.rehearsal import measure_footprint
from bench.models import MODELS
from bench.registry import methods
from bench.spec import RunSpec
from bench.system import memory_limits
from bench.training.inference import inference_batch

MEBIBYTE = 1 << 20
SIZES = DataSizes(classes=4, image_shape=(32, 32, 3), stored=12_000, train=10_000, test=2_000)
DIGITS = DataSizes(classes=10, image_shape=(8, 8, 1), stored=1_797, train=1_437, test=360)


def spec(method: str = "ce", **fields: Any) -> RunSpec:
    values: dict[str, Any] = {
        "parameters": {each["name"]: each["default"] for each in methods()[method]["parameters"]},
        "data_set": "nothing",
        "data_sha256": "0" * 64,
        "noise": "sym",
        "rate": 0.4,
        "model": "cnn-small",
        "epochs": 3,
        "batch_size": 64,
        "learning_rate": 0.05,
    }
    return RunSpec(method=method, **(values | fields))


def taken(method: str = "ce", **fields: Any) -> Footprint:
    return measure_footprint(spec(method, **fields), SIZES, "cpu")


def test_a_step_grows_with_its_batch_and_shrinks_with_precision() -> None:
    small, large, low = taken(batch_size=128), taken(batch_size=512), taken(batch_size=512, precision="bf16")
    assert 3.5 < large.step / small.step < 4.5
    assert low.step < 0.8 * large.step
    assert taken(batch_size=512, precision="fp16").step == low.step
    assert large.networks == small.networks and large.evaluation == small.evaluation


def test_networks_count_weights_gradients_momentum_and_averages() -> None:
    one = taken("ce")
    weights = one.networks / 3
    assert taken("ce", optimizer="adam").networks == pytest.approx(4 * weights, rel=0.02)
    assert taken("ce", momentum=0.0).networks == pytest.approx(2 * weights, rel=0.02)
    assert taken("ce-ema").networks == pytest.approx(4 * weights, rel=0.02)
    assert taken("co-teaching").networks == pytest.approx(6 * weights, rel=0.1)


def test_a_step_counts_views_and_networks() -> None:
    one = taken("ce", batch_size=512)
    assert taken("gjs", batch_size=512).step > 1.7 * one.step
    assert taken("ce-ensemble", batch_size=512).step > 1.7 * one.step


def test_members_multiply_networks_and_not_the_step() -> None:
    one, three = taken("elr", batch_size=512), taken("elr", batch_size=512, members=3)
    # one member's gradients at a time
    assert 2.2 * one.networks < three.networks < 3 * one.networks
    assert three.step == pytest.approx(one.step, rel=0.1)


def test_memory_per_sample_counts_with_the_samples() -> None:
    few, many = (
        measure_footprint(spec("elr"), replace(SIZES, train=train), "cpu").networks for train in (1_000, 1_001_000)
    )
    assert many - few == 4 * SIZES.classes * 1_000_000


def test_an_inference_with_an_output_of_the_methods_own_counts() -> None:
    plain, located = (taken("flsc", parameters={"localisation": value, "reduction": "pred"}) for value in (0.0, 0.3))
    assert located.evaluation > 1.1 * plain.evaluation
    assert plain.evaluation == taken("dividemix").evaluation


def test_a_batch_that_no_machine_holds_is_measured_in_none() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = measure_footprint(spec(model="cnn8", batch_size=1_000_000), replace(SIZES, train=1_000_000), "cpu")
    assert found.step > 1 << 40
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 512 * MEBIBYTE


def test_images_count_with_their_border_and_normalised_where_these_are_kept() -> None:
    assert taken(augmentation="none").images < taken(augmentation="crop4").images
    assert taken(augmentation="none").data == SIZES.stored * 32 * 32 * 3
    tiny = measure_footprint(spec(augmentation="none", hold_out=0.0), DIGITS, "cpu").images
    assert tiny == 5 * DIGITS.stored * DIGITS.values


def test_what_runs_is_no_more_than_what_is_known_without_asking(method: str) -> None:
    """Every method, on digits' images; and every network of ours below."""
    known = upper_bound("cnn-small", 64, 1, DIGITS, "cpu")
    assert known is not None and measure_footprint(spec(method), DIGITS, "cpu").on_cpu < known


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize(("dear", "batch"), [("flsc", 128), ("mixup-ensemble", 2048)])
def test_networks_take_no_more_than_what_is_known_without_asking(model: str, dear: str, batch: int) -> None:
    parameters = {"localisation": 0.3, "reduction": "feature"} if dear == "flsc" else {}
    known = upper_bound(model, batch, 1, SIZES, "cpu")
    found = measure_footprint(spec(dear, model=model, batch_size=batch, parameters=parameters), SIZES, "cpu")
    assert known is not None and found.on_cpu < known
    known = upper_bound(model, batch, 1, SIZES, "cuda")
    found = measure_footprint(spec(dear, model=model, batch_size=batch, parameters=parameters), SIZES, "cuda")
    assert known is not None and found.on_gpu < known


def test_timms_networks_are_measured_but_not_known_before() -> None:
    assert upper_bound("timm:resnet18", 64, 1, SIZES, "cpu") is None
    assert taken(model="timm:resnet18").networks > 3 * 40 * MEBIBYTE


def test_a_plug_in_that_looks_at_numbers_is_counted_by_its_views(monkeypatch: pytest.MonkeyPatch) -> None:
    from methods.ce import CrossEntropy

    plain, loss = taken(batch_size=512), CrossEntropy.loss
    monkeypatch.setattr(CrossEntropy, "loss", lambda self, step: loss(self, step) * float(step.labels.sum() >= 0))
    assert taken(batch_size=512).step == pytest.approx(plain.step, rel=0.05)


def test_the_answer_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LNL_BENCH_CACHE", str(tmp_path))
    first = estimate_footprint(spec(seed=1), DIGITS, "cpu")
    monkeypatch.setattr("bench.memory.rehearsal.measure_footprint", None)
    assert estimate_footprint(spec(seed=2, learning_rate=0.1, rate=0.2), DIGITS, "cpu") == first
    with pytest.raises(TypeError):
        estimate_footprint(spec(batch_size=65), DIGITS, "cpu")
    assert len(list((tmp_path / "footprints").glob("*.json"))) == 1


def test_as_many_images_are_inferred_as_is_assumed() -> None:
    import torch

    assert {name: inference_batch(torch.device(name), (32, 32)) for name in memory_limits.INFERENCE_BATCH} == (
        memory_limits.INFERENCE_BATCH
    )
