"""Options of the command line: each is one that a request has, and what was typed keeps its order."""

from __future__ import annotations

import re

import pytest

from bench.cli.app import app
from bench.cli.main import main
from bench.cli.options import DataOptions, MachineOptions, typed_options
from bench.planning.request import Request
from bench.tuning.request import TuneRequest


def options_in_help(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    assert main([command, "--help"]) == 0
    return {name.replace("-", "_") for name in re.findall(r"^│ --([a-z-]+)", capsys.readouterr().out, re.MULTILINE)}


def test_run_offers_the_options_of_a_request_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert options_in_help("run", capsys) == set(Request.model_fields)


def test_tune_offers_its_own_options_and_some_of_a_request(capsys: pytest.CaptureFixture[str]) -> None:
    offered = options_in_help("tune", capsys) - {"grid"}
    own = {"with" if name == "also" else name for name in TuneRequest.model_fields}
    assert own <= offered
    assert offered - own <= set(Request.model_fields)
    # what a study or the grid says itself
    assert set(Request.model_fields) - offered == {
        "noise_seed", "labels", "protocol", "recipes", "members", "budget", "sync_batch_norm", "when", "shard",
        "test_labels",
    }  # fmt: skip


def test_options_of_a_group_have_no_prefix_and_keep_their_order() -> None:
    line = "run --lr 1 --download --rate 0.2 --rate 0.4 --methods ce"
    _, bound, _ = app.parse_args(line.split(), exit_on_error=False, print_error=False)
    typed = typed_options(bound.arguments)
    assert typed == {"methods": ["ce"], "rate": ["0.2", "0.4"], "lr": "1", "download": True}
    assert list(typed) == ["methods", "rate", "lr", "download"]


def test_options_that_were_not_typed_are_left_out() -> None:
    arguments = {
        "data": DataOptions(noise=["sym"]),
        "seeds": None,
        "machine": MachineOptions(jobs="2"),
        "training": None,
    }
    assert typed_options(arguments) == {"noise": ["sym"], "download": False, "jobs": "2"}
