"""Shards: every run in exactly one part, the same parts on every machine, none much dearer than another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.execution.worker import load_file
from bench.planning.shards import Shard, parse_shard, plan_name, slurm_shard, split_plan
from bench.spec import RunSpec
from bench.system.errors import UsageError

fake = load_file(Path(__file__).parents[1] / "fake_runners.py")
SPECS: list[RunSpec] = [
    fake.spec_for(seed, method, epochs)
    for seed in range(6)
    for method, epochs in (("ce", 1), ("gce", 1), ("dividemix", 7), ("elr", 30))
]

subsets = st.lists(st.sampled_from(SPECS), max_size=len(SPECS), unique_by=lambda spec: spec.run_id)


def epochs(spec: RunSpec) -> float:
    return spec.epochs


@given(subsets, st.integers(1, 9), st.randoms(use_true_random=False))
def test_the_parts_are_the_plan_whatever_its_order(specs: list[RunSpec], count: int, chance: Any) -> None:
    parts = split_plan(specs, epochs, count)
    assert len(parts) == count
    assert sorted(spec.run_id for part in parts for spec in part) == sorted(spec.run_id for spec in specs)
    shuffled = chance.sample(specs, len(specs))
    assert [{spec.run_id for spec in part} for part in split_plan(shuffled, epochs, count)] == [
        {spec.run_id for spec in part} for part in parts
    ]
    for number, part in enumerate(parts, start=1):
        assert Shard(number, count).of(specs, epochs) == part
        assert list(part) == [spec for spec in specs if spec in part]


@given(subsets, st.integers(1, 9))
def test_no_two_parts_differ_by_more_than_one_run(specs: list[RunSpec], count: int) -> None:
    loads = [sum(map(epochs, part)) for part in split_plan(specs, epochs, count)]
    assert max(loads) - min(loads) <= max(map(epochs, specs), default=0)


def test_equal_runs_are_one(tmp_path: Path) -> None:
    parts = split_plan([*SPECS, *SPECS], epochs, 2)
    assert sum(map(len, parts)) == len(SPECS)


def test_a_plan_is_named_by_its_runs() -> None:
    assert plan_name(SPECS) == plan_name([*reversed(SPECS), SPECS[0]])
    assert plan_name(SPECS) != plan_name(SPECS[1:])


@pytest.mark.parametrize(("text", "shard"), [("1/1", Shard(1, 1)), ("4/4", Shard(4, 4)), (" 2 / 10 ", Shard(2, 10))])
def test_a_shard_as_typed(text: str, shard: Shard) -> None:
    assert parse_shard(text, {}) == shard


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "1.0/4", "1/10001", "slurmy"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shard 1/4"):
        parse_shard(text, {})


def task(number: int, ids: list[int], step: int = 1) -> dict[str, str]:
    """SLURM's variables in one task of an array of these ids."""
    values = {"ID": number, "MIN": min(ids), "MAX": max(ids), "COUNT": len(ids), "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@given(st.integers(0, 50), st.integers(1, 20), st.integers(1, 7), st.booleans())
def test_the_tasks_of_an_array_are_its_shards(first: int, count: int, step: int, as_list: bool) -> None:
    ids = [first + step * place for place in range(count)]
    found = [parse_shard("slurm", task(number, ids, 1 if as_list else step)) for number in ids]
    assert found == [Shard(number, count) for number in range(1, count + 1)]


@given(st.sets(st.integers(0, 12), min_size=1))
def test_a_list_of_tasks_is_divided_or_some_task_refuses(ids: set[int]) -> None:
    found = []
    for number in sorted(ids):
        try:
            found.append(slurm_shard(task(number, sorted(ids))))
        except UsageError as error:
            assert "even step" in str(error)
            found.append(None)
    assert found == [Shard(number, len(ids)) for number in range(1, len(ids) + 1)] or None in found


def test_an_old_slurm_that_tells_no_count() -> None:
    environment = task(7, [1, 3, 5, 7, 9], 2)
    del environment["SLURM_ARRAY_TASK_COUNT"]
    assert slurm_shard(environment) == Shard(4, 5)


@pytest.mark.parametrize(
    ("environment", "match"),
    [
        ({}, "no task of a SLURM array. Submit the script by sbatch --array=1-4, or type --shard 1/4"),
        ({"SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID=x is no whole number"),
        (task(9, [1, 2, 3]), "can't tell its place"),
    ],
)
def test_outside_an_array_slurm_is_refused(environment: dict[str, str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        parse_shard("slurm", environment)
