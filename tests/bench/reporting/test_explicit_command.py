"""The command under tables that planning can't check: every value named, paths taken from what was typed."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.worker import load_file
from bench.planning.plan import Plan
from bench.reporting.command_line import TypedCommand
from bench.reporting.explicit_command import explicit_command
from bench.spec import RunSpec

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
make = fake.make
several = fake.several
FIVE = fake.FIVE
LOWER = fake.LOWER


def typed_for(records: list[dict[str, Any]], **options: Any) -> TypedCommand:
    """A request whose plan are the runs of these records."""
    return TypedCommand(options, Plan(tuple(RunSpec(**record["spec"]) for record in records), ()))


def options_of(command: str) -> dict[str, str]:
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "bench", "run"]
    return dict(zip(words[4::2], words[5::2], strict=True))


def test_a_made_command_names_what_makes_the_setting() -> None:
    records = [*several("gce", FIVE, parameters={"q": 0.7}, imbalance=0.1), *several("ce", LOWER, imbalance=0.1)]
    command = explicit_command(records)
    assert command == (
        "python -m bench run --methods 'ce,gce[q=0.7]' --dataset digits --noise sym --rate 0.4 --model cnn-small "
        "--epochs 30 --batch-size 64 --schedule cosine --augment none --precision fp32 --protocol shared-lr --lr 0.05 "
        "--weight-decay 0 --imbalance 0.1 --seeds 5"
    )


def test_rows_and_seeds_that_one_request_can_not_ask_for_get_lines_of_their_own() -> None:
    records = [*several("ce", FIVE), *several("anl", FIVE, weight_decay=0.001), make("ce", 7, 0.5, noise_seed=0)]
    commands = [options_of(line) for line in explicit_command(records).splitlines()]
    assert [(line["--methods"], line["--seeds"], line.get("--noise-seed")) for line in commands] == [
        ("ce", "5", None),
        ("ce", "7:8", "0"),
        ("anl", "5", None),
        ("anl", "7:8", "0"),
    ]


def test_a_typed_command_is_shown_where_it_plans_every_row() -> None:
    ce, gce = several("ce", FIVE), several("gce", FIVE)
    typed = typed_for([*ce, *gce], methods=["all"], out="elsewhere", download=False, plugin=["p.py"])
    assert explicit_command([*ce, *gce], typed) == "python -m bench run --methods all --plugin p.py"
    assert explicit_command(ce[:3], typed) == "python -m bench run --methods all --plugin p.py"
    assert "--methods ce,gce" in explicit_command([*ce, *gce], typed_for(ce, methods=["ce"]))
    assert "--seeds 5" in explicit_command(ce, typed_for(ce[:3], methods=["ce"], seeds="3"))


def test_an_older_version_of_a_method_needs_no_command() -> None:
    old, new = several("ce", FIVE), several("ce", LOWER[:2], method_version=2)
    assert explicit_command([*old, *new], typed_for(new, methods=["ce"])) == "python -m bench run --methods ce"


@pytest.mark.parametrize("file", [None, "found.toml"])
def test_rows_that_a_study_chose_come_from_its_file_or_from_no_command(file: str | None) -> None:
    records = several("gce", FIVE, privileges=("tuned=30",), learning_rate=0.2)
    typed = None if file is None else typed_for(several("ce", FIVE), recipes=file)
    command = explicit_command(records, typed)
    assert ("--recipes found.toml" in command) is (file is not None) and "--lr" not in command
    assert bool(command) is (file is not None)


def test_a_made_command_keeps_the_paths_that_were_typed() -> None:
    records = several("ce", FIVE, data_set="table:index.csv", noise="matrix:t.csv", rate=None, noise_sha256="a")
    typed = typed_for(
        several("gce", FIVE), dataset="table:photos/index.csv", noise=["matrix:deep/t.csv"], plugin=["p.py"]
    )
    options = options_of(explicit_command(records, typed))
    assert (options["--methods"], options["--dataset"]) == ("ce", "table:photos/index.csv")
    assert (options["--noise"], options["--plugin"]) == ("matrix:deep/t.csv", "p.py")
    assert "--rate" not in options


def test_rows_of_two_sources_of_papers_recipes_get_lines_of_their_own() -> None:
    anl = several("ce", FIVE, protocol="paper", recipe_source="anl")
    apl = several("gce", LOWER, protocol="paper", recipe_source="apl")
    lines = [options_of(line) for line in explicit_command([*anl, *apl]).splitlines()]
    assert [(line["--methods"], line["--protocol"]) for line in lines] == [("ce", "paper:anl"), ("gce", "paper:apl")]
    older = options_of(explicit_command(several("ce", FIVE, protocol="paper")))
    assert older["--protocol"] == "paper"


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ("matrix:maps/t.csv", "matrix:t.csv"),
        ("SEAL:maps/p.npz", "instance-learned:p.npz"),
        ("pmd[form=clean,type=2]:maps/p.npz", "pmd[type=2]:p.npz"),
        ("pmd[type=1]:maps/p.npz", "pmd:p.npz"),
    ],
)
def test_a_noise_keeps_its_path_however_it_was_typed(typed: str, recorded: str) -> None:
    records = several("ce", FIVE, noise=recorded)
    others = ["sym", "pmd[type=3]:elsewhere/p.npz", "bad:elsewhere/p.npz", "nonsense:p.npz", "column:p.npz"]
    request = typed_for(records[:1], methods=["ce"], noise=[*others, typed])
    assert options_of(explicit_command(records, request))["--noise"] == typed
    elsewhere = typed_for(records[:1], methods=["ce"], noise=others)
    assert options_of(explicit_command(records, elsewhere))["--noise"] == recorded
