"""`perf` measures what it says, and refuses what it can't."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.cli.commands.perf import check_perf_request, parse_step_modes
from bench.cli.main import main
from bench.models import build
from bench.models.flops import flops_per_image
from bench.perf.figures import COLUMNS, STEP_MODE_COLUMNS
from bench.perf.step_times import FEWEST_PAIRS, WARM_UP, Workload, time_steps
from bench.perf.timing import PairProgress, median, time_alternately

CPU = torch.device("cpu")
TINY = ["--models", "cnn-small", "--image-size", "8", "--batch-size", "8", "--pairs", "6", "--threads", "1"]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60))
def test_a_medians_interval_holds_it_and_lies_in_the_range(values: list[float]) -> None:
    found = median(np.array(values))
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


def test_a_medians_interval_covers_it_in_95_of_100_samples() -> None:
    draws = np.random.default_rng(0).exponential(size=(2000, 50))
    hits = [found.low <= np.log(2) <= found.high for found in map(median, draws)]
    assert 0.95 <= np.mean(hits) <= 0.99


def test_things_take_turns_and_nobody_is_always_first() -> None:
    calls: list[str] = []
    things = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    seconds = time_alternately(things, 6, CPU, warm_up=0)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 6, "b": 6, "c": 6}
    assert "".join(calls) == "abcbcacab" * 2
    assert all((values >= 0).all() for values in seconds.values())


def test_flops_are_those_of_the_matrix_products() -> None:
    forward, both = flops_per_image("cnn8", (32, 32), 3, 10)
    expected = 0
    network = build("cnn8", num_classes=10, in_chans=3, image_size=32, seed=0)
    shapes: dict[Any, int] = {}
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(lambda one, _, out: shapes.__setitem__(one, out.shape[2:].numel()))
    network.eval()(torch.zeros(1, 3, 32, 32))
    for layer, positions in shapes.items():
        expected += 2 * layer.weight.numel() * positions
    assert forward == expected
    # backward is twice the forward, less the gradient towards the images
    assert 2.9 * forward < both < 3 * forward


def test_steps_are_timed_in_pairs() -> None:
    work = Workload("cnn-small", size=8, channels=1, batch=4, augmentation="crop1")
    times = time_steps(work, 7, CPU)
    assert {name: len(values) for name, values in times.seconds.items()} == {
        "core": 7,
        "bare": 7,
        "bare with clip": 7,
    }
    assert all((values > 0).all() for values in times.seconds.values())
    assert times.over("bare").value == pytest.approx(np.median(times.seconds["core"] / times.seconds["bare"]))


def test_the_pairs_end_with_the_time_but_a_few_are_always_there() -> None:
    work = Workload("cnn-small", size=8, channels=1, batch=4, augmentation="crop1")
    heard: list[int] = []
    times = time_steps(work, 40, CPU, limit=0.0, report=heard.append)
    assert {len(values) for values in times.seconds.values()} == {FEWEST_PAIRS}
    assert heard == list(range(1, WARM_UP + FEWEST_PAIRS + 1))
    assert len(time_steps(work, 7, CPU, limit=3600.0).seconds["core"]) == 7


def test_progress_is_said_now_and_then_with_the_time_left() -> None:
    said: list[str] = []
    now = [0.0]
    progress = PairProgress("cnn8", 60, 12, said.append, clock=lambda: now[0])
    for turn in range(1, 8):
        now[0] += 4.0
        progress(turn)
    assert said == [
        "perf: cnn8, 3 of 60 turns; about 0:04:36 left for it",
        "perf: cnn8, 6 of 60 turns; about 0:04:24 left for it",
    ]
    progress.limit = 40.0
    now[0] = 38.0
    progress(10)
    assert said[-1] == "perf: cnn8, 10 of 60 turns; about 0:00:48 left for it"


def test_the_default_is_small_on_a_cpu_and_bounded_in_time() -> None:
    defaults = {"batch_size": "128", "image_size": "32", "precision": "fp32", "augment": "none", "steps": "auto"}
    request = check_perf_request({**defaults, "device": "cpu"})
    assert request.models == ("cnn-small",) and request.limit < 60
    typed = check_perf_request({**defaults, "device": "cpu", "pairs": "9", "models": "cnn8"})
    assert (typed.models, typed.pairs, typed.limit) == (("cnn8",), 9, np.inf)


def test_perf_prints_a_table_and_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", *TINY]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name, _ in COLUMNS)
    assert main(["perf", *TINY, "--format", "json", "--precision", "fp32"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["precision"], found["threads"], found["batch"]) == ("fp32", 1, 8)
    assert found["matrix_peak_gigaflops"] > 0
    (figures,) = found["models"]
    assert figures["model"] == "cnn-small"
    assert [way["steps"] for way in figures["ways"]] == ["eager"]
    assert 0 < figures["share_of_matrix_peak"] < 1
    assert figures["over_bare"]["low"] <= figures["over_bare"]["value"] <= figures["over_bare"]["high"]


@pytest.mark.slow
def test_perf_puts_the_ways_to_run_a_step_beside_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_step_modes("all", "cpu") == ("eager", "compiled")
    assert parse_step_modes("compiled,auto", "cpu") == ("compiled", "eager")
    arguments = [*TINY, "--steps", "eager,compiled", "--device", "cpu", "--precision", "fp32"]
    assert main(["perf", *arguments, "--format", "json"]) == 0
    eager, compiled = json.loads(capsys.readouterr().out)["models"][0]["ways"]
    assert (eager["steps"], compiled["steps"]) == ("eager", "compiled")
    assert eager["compile_seconds"] == 0 < compiled["compile_seconds"]
    assert main(["perf", *arguments]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name, _ in STEP_MODE_COLUMNS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "cnn88"], "Did you mean cnn8"),
        (["--models", ","], "list models"),
        (["--models", "cnn-small", "--image-size", "7"], "cnn-small needs 8"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--pairs", "many"], "--pairs many"),
        (["--threads", "100000"], "--threads 100000"),
        (["--precision", "fp8"], "--precision fp8"),
        (["--precision", "fp16", "--device", "cpu"], "fp16 needs a CUDA device"),
        (["--augment", "flop"], "did you mean flip"),
        (["--steps", "quick"], "Type some of eager, graph, compiled"),
        (["--steps", "graph", "--device", "cpu"], "graphs need a CUDA device"),
        (["--steps", ","], "--steps all"),
    ],
)
def test_bad_requests_say_what_to_type(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
