"""How many runs at a time fit, what is said where fewer do than were asked for, and when torch isn't asked at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.memory import job_limits
from bench.memory.footprint import GPU_CONTEXT, DataSizes, Footprint
from bench.memory.job_limits import JobLimits, MemoryPlace
from bench.planning.facts import Facts
from bench.spec import RunSpec
from bench.system.errors import UsageError
from datasets.interface import Protocol

GIB = 1 << 30
TAKEN = Footprint(process=0, shared=0, data=0, images=0, networks=2 * GIB, step=0, evaluation=0, loading=0)
FACTS = Facts(
    methods={},
    requested=(),
    data_set="nothing",
    data_sha256="0" * 64,
    protocol=Protocol("mnist", "cnn-small", epochs=3, batch_size=64, learning_rate=0.05, weight_decay=1e-4),
    classes=10,
    samples=50_000,
    image_shape=(32, 32, 3),
    noises=(),
    precision="fp32",
    device="cpu",
    cores=8,
    smallest={},
    unsuitable=lambda method, parameters, setting: None,
    stored=(50_000, 10_000),
)


def spec(method: str = "ce", seed: int = 0, batch: int = 128, **fields: Any) -> RunSpec:
    values: dict[str, Any] = {"data_set": "nothing", "data_sha256": "0" * 64, "noise": "sym", "rate": 0.4}
    values |= {"model": "cnn8", "epochs": 2, "learning_rate": 0.1, "batch_size": batch}
    return RunSpec(method=method, seed=seed, **(values | fields))


SPECS = [spec(seed=seed) for seed in range(10)]


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the places that memory is taken from, and what a run of each method takes; returns what was asked."""
    asked: list[str] = []

    def build(places: list[MemoryPlace], taken: Mapping[str, Footprint] | None = None) -> list[str]:
        def footprint(spec: RunSpec, sizes: DataSizes, device: str) -> Footprint:
            asked.append(spec.method)
            return (taken or {}).get(spec.method, TAKEN)

        monkeypatch.setattr(job_limits, "memory_places", lambda device: places)
        monkeypatch.setattr(job_limits, "estimate_footprint", footprint)
        return asked

    return build


def shared(jobs: int | None, specs: list[RunSpec] = SPECS, **facts: Any) -> tuple[JobLimits, list[str]]:
    said: list[str] = []
    return job_limits.limit_jobs(specs, replace(FACTS, **facts), len(specs), jobs, said.append), said


def test_more_jobs_than_memory_are_refused(there: Any) -> None:
    there([MemoryPlace("memory", 7 * GIB)])
    with pytest.raises(UsageError) as refused:
        shared(5)
    assert str(refused.value) == (
        "--jobs 5: 5 runs at a time take about 10.0 GiB of memory (2.0 GiB each: ce on cnn8), and 7.0 GiB are "
        "available. Type --jobs 3"
    )
    assert shared(3) == (JobLimits(3, 2), [])


def test_no_more_runs_than_there_are_count(there: Any) -> None:
    there([MemoryPlace("memory", 7 * GIB)])
    assert shared(5, SPECS[:3])[0].jobs == 3


def test_without_jobs_as_many_run_as_fit(there: Any) -> None:
    there([MemoryPlace("memory", 7 * GIB)])
    made, said = shared(None)
    assert made == JobLimits(3, 2)
    assert said == [
        "note: 3 runs at a time, not 8: one takes about 2.0 GiB of memory (ce on cnn8), and 7.0 GiB are available"
    ]
    there([MemoryPlace("memory", 16 * GIB)])
    assert shared(None) == (JobLimits(8, 1), [])


@pytest.mark.parametrize("jobs", [None, 1])
def test_one_that_does_not_fit_is_tried_with_a_warning(there: Any, jobs: int | None) -> None:
    there([MemoryPlace("memory", GIB)])
    made, said = shared(jobs)
    assert made.jobs == 1
    assert len(said) == 1 and "takes about 2.0 GiB of memory, and 1.0 GiB are available; it is tried" in said[0]
    with pytest.raises(UsageError, match="Type --jobs 1 to try one at a time, or a smaller --batch-size"):
        shared(2)
    assert "--image-size" not in said[0]
    larger = shared(jobs, image_shape=(480, 640, 3))[1][0]
    assert larger.endswith("A smaller --image-size (these are 640 x 480), --batch-size or --model takes less")
    with pytest.raises(UsageError, match=r"or a smaller --image-size \(these are 640 x 480\) or --batch-size$"):
        shared(2, image_shape=(480, 640, 3))


def test_the_largest_run_decides_and_is_named(there: Any) -> None:
    asked = there([MemoryPlace("memory", 10 * GIB)], {"dividemix": replace(TAKEN, networks=5 * GIB)})
    specs = [spec(method, seed) for seed in range(3) for method in ("ce", "dividemix", "gce")]
    with pytest.raises(UsageError, match=r"5.0 GiB each: dividemix on cnn8.* Type --jobs 2"):
        shared(3, specs)
    assert sorted(asked) == ["ce", "dividemix", "gce"], "seeds take the same memory"


def test_a_tuners_many_settings_are_not_all_asked(there: Any) -> None:
    asked = there([MemoryPlace("memory", 7 * GIB)])
    shared(2, [spec("gce", parameters={"q": 0.01 * number}) for number in range(1, 90)])
    assert len(asked) == job_limits.KINDS_PER_METHOD


def test_what_fits_by_far_is_not_asked(there: Any) -> None:
    asked = there([MemoryPlace("memory", 1000 * GIB)])
    assert shared(8) == (JobLimits(8, 1), [])
    assert shared(8, [])[0].jobs == 1
    assert not asked
    shared(8, [spec(model="timm:resnet18")])
    assert asked == ["ce"], "only torch can tell what a network of timm's takes"


def test_a_system_that_does_not_say_is_not_asked(there: Any) -> None:
    asked = there([])
    assert shared(8) == (JobLimits(8, 1), [])
    assert not asked


def test_runs_that_share_a_card_get_a_share_each(there: Any) -> None:
    small = {"ce": replace(TAKEN, process=1 << 20)}
    there([MemoryPlace("cuda:0's memory", 12 * GIB, "on_gpu"), MemoryPlace("memory", 99 * GIB, "beside_gpu")], small)
    assert shared(None, device="cuda") == (JobLimits(1, 8), []), "one at a time unless more are asked for"
    made, said = shared(4, device="cuda")
    assert made == JobLimits(4, 2, 12 * GIB // 4 - GPU_CONTEXT) and not said
    with pytest.raises(UsageError, match=r"of cuda:0's memory .*Type --jobs 4"):
        shared(8, device="cuda")
    on_host = {"ce": replace(TAKEN, process=GIB // 2)}
    there([MemoryPlace("cuda:0's memory", 99 * GIB, "on_gpu"), MemoryPlace("memory", GIB, "beside_gpu")], on_host)
    with pytest.raises(UsageError, match=r"of memory \(512 MiB each.*Type --jobs 2"):
        shared(4, device="cuda")


@given(available=st.integers(1, 1 << 40), own=st.integers(1, 1 << 36), pages=st.integers(0, 1 << 34))
def test_those_that_fit_do_and_one_more_does_not(available: int, own: int, pages: int) -> None:
    taken = replace(TAKEN, networks=0, process=own, shared=pages)
    fit = MemoryPlace("memory", available).fit(taken)
    assert fit == 0 or fit * own + pages <= available
    assert (fit + 1) * own + pages > available
