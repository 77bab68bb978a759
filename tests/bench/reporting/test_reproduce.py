"""Under each table: the shortest command that trains it again, what that leaves out, and which terms are off."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import registry
from bench.cli.boards import print_boards
from bench.cli.main import main
from bench.execution.worker import load_file
from bench.leaderboard.notes import describe_disabled_terms
from bench.planning.facts import PlannedNoise
from bench.planning.gather_facts import gather_facts
from bench.planning.plan import Plan, make_plan
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.records.compact import export_records
from bench.reporting.publish import publish_boards
from bench.reporting.reproduce import shortest_command

Record = dict[str, Any]


fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")


def planned(*requests: dict[str, Any]) -> list[Plan]:
    parsed = [Request.typed(**request) for request in requests]
    return [make_plan(request, gather_facts(validate_request(request))) for request in parsed]


def specs_of(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    return [spec.model_dump(mode="json") for plan in planned(*requests) for spec in plan.specs]


def ids(specs: list[dict[str, Any]]) -> set[str]:
    return {fake.RunSpec(**spec).run_id for spec in specs}


def ids_of_command(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The runs that a command (a line each) would train, by the command line itself."""
    run_ids: set[str] = set()
    for line in command.splitlines():
        words = shlex.split(line)
        assert words[:4] == ["python", "-m", "bench", "run"]
        capsys.readouterr()
        assert main([*words[3:], "--dry-run", "--format", "json"]) == 0
        run_ids |= {run["run_id"] for run in json.loads(capsys.readouterr().out)["runs"]}
    return run_ids


ASKED: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([{}], ["--methods all --dataset digits --noise sym --rate 0.4 --seeds 5"]),
    ([{"methods": "apl,ce"}], ["--methods ce,nce+rce --dataset digits --noise sym --rate 0.4 --seeds 5"]),
    (
        [{"methods": "gce,gce[q=0.5]", "noise": "asym", "rate": "0.2", "seeds": "2:4"}],
        ["--methods 'gce,gce[q=0.5]' --dataset digits --noise asym --rate 0.2 --seeds 2:4"],
    ),
    (
        [{"methods": "all,gce[q=0.5]", "seeds": "2"}],
        ["--methods 'all,gce[q=0.5]' --dataset digits --noise sym --rate 0.4 --seeds 2"],
    ),
    (
        [{"methods": "gjs[scaled=false]", "seeds": "1", "epochs": "3", "hold_out": "0.2"}],
        ["--methods 'gjs[scaled=false]' --dataset digits --noise sym --rate 0.4 --seeds 1 --epochs 3 --hold-out 0.2"],
    ),
    (
        [{"methods": "ce,anl", "noise": "none", "seeds": "1", "weight_decay": "0.01"}],
        ["--methods anl-ce,ce --dataset digits --noise none --seeds 1 --weight-decay 0.01"],
    ),
    (
        [{"methods": "ce", "seeds": "2"}, {"methods": "ce", "seeds": "4:5"}],
        [
            "--methods ce --dataset digits --noise sym --rate 0.4 --seeds 2",
            "--methods ce --dataset digits --noise sym --rate 0.4 --seeds 4:5",
        ],
    ),
    (
        [{"methods": "ce", "seeds": "3", "noise_seed": "1"}],
        ["--methods ce --dataset digits --noise sym --rate 0.4 --seeds 3 --noise-seed 1"],
    ),
    (
        [{"methods": "ce,mae", "seeds": "1"}, {"methods": "gce", "seeds": "1", "lr": "0.2"}],
        [
            "--methods ce,mae --dataset digits --noise sym --rate 0.4 --seeds 1",
            "--methods gce --dataset digits --noise sym --rate 0.4 --seeds 1 --lr 0.2",
        ],
    ),
    (
        [{"methods": "ce", "seeds": "1", "dataset": "synthetic[classes=5,size=16]", "precision": "fp16"}],
        [
            "--methods ce --dataset 'synthetic[classes=5,size=16]' --noise sym --rate 0.4 --precision fp16 --seeds 1",
        ],
    ),
    (
        [{"methods": "ce", "seeds": "1", "train_size": "500", "imbalance": "0.5", "draw": "multinomial"}],
        [
            "--methods ce --dataset digits --noise sym --rate 0.4 --draw multinomial --train-size 500 "
            "--imbalance 0.5 --seeds 1",
        ],
    ),
    (
        [{"methods": "mae", "seeds": "1", "protocol": "paper"}],
        ["--methods mae --dataset digits --noise sym --rate 0.4 --protocol paper --seeds 1"],
    ),
    (
        [{"methods": "ce,nce+rce", "seeds": "1", "protocol": "paper:apl"}],
        ["--methods ce,nce+rce --dataset digits --noise sym --rate 0.4 --protocol paper:apl --seeds 1"],
    ),
    (  # their trainings are equal but for the parameters, so they stand in one table
        [
            {"methods": "ce,nce+rce", "seeds": "1", "protocol": "paper"},
            {"methods": "nce+rce", "seeds": "1", "protocol": "paper:alf"},
        ],
        [
            "--methods ce,nce+rce --dataset digits --noise sym --rate 0.4 --protocol paper --seeds 1",
            "--methods nce+rce --dataset digits --noise sym --rate 0.4 --protocol paper:alf --seeds 1",
        ],
    ),
]


@pytest.mark.parametrize(("requests", "lines"), ASKED)
def test_the_command_is_short_and_plans_the_same_runs(
    requests: list[dict[str, Any]],
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("bench.system.hardware", "bench.planning.gather_facts"):  # where half precision isn't refused
        monkeypatch.setattr(
            f"{module}.resolve_precision", lambda name, device, declared, *_: {"auto": declared}.get(name, name)
        )
    specs = specs_of(*requests)
    command = shortest_command(specs)
    assert command is not None
    assert command.command.splitlines() == [f"python -m bench run {line}" for line in lines]
    assert ids_of_command(command.command, capsys) == ids(specs)


def test_every_published_recipe_is_asked_for_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    data = "synthetic[classes=60,size=8,test=60,train=240]"
    specs = specs_of({"dataset": data, "recipes": "published", "rate": "0.8", "seeds": "1"})
    assert {privilege for spec in specs for privilege in spec["privileges"]} >= {"noise_kind", "noise_rate"}
    command = shortest_command(specs)
    assert command is not None
    assert "--methods all" in command.command and command.command.endswith("--seeds 1 --recipes published")
    assert ids_of_command(command.command, capsys) == ids(specs)


def test_a_row_that_lacks_replicates_is_asked_for_with_all() -> None:
    specs = specs_of({"methods": "ce,gce", "seeds": "3"})
    command, command_for_all = shortest_command(specs[:-1]), shortest_command(specs)
    assert command is not None
    assert command == command_for_all


def test_all_is_not_trusted_where_only_a_method_knows_why_it_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    (plan,) = planned({"noise": "sym", "rate": "1", "seeds": "1"})
    assert [left.method for left in plan.left_out] == ["ce-oracle"]
    named = [spec.model_dump(mode="json") for spec in plan.specs]
    command = shortest_command(named)
    assert command is not None
    assert "ce-oracle" not in command.command and "--methods all" not in command.command
    assert ids_of_command(command.command, capsys) == ids(named)


def test_what_all_leaves_out_stands_under_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plan,) = planned({"seeds": "1"})
    records = [fake.of(spec, 0.5) for spec in plan.specs if spec.method != "forward"]
    monkeypatch.setattr(
        "bench.reporting.recorded_facts._recorded_noise",
        lambda *_: PlannedNoise("sym", "sym", True, gives_matrix=False),
    )
    publish_boards(records, failures=[], boards=tmp_path, select="last")
    shown = (tmp_path / "digits.md").read_text()
    assert "--methods all " in shown
    assert "- forward: it needs transition_matrix, which the noise sym can't give" in shown


@pytest.mark.parametrize(
    "change",
    [
        {"data_set": "table:index.csv"},
        {"data_set": "no-such-data"},
        {"noise": "matrix:confusions.csv"},
        {"noise": "labels", "rate": None},
        {"noise": "column:worse", "rate": None},
        {"method": "a-plugin"},
        {"momentum": 0.5},
        {"identity": 99},
        {"split_seed": 7},
        {"method_version": 99},
        {"parameters": {"gone": 1}},
    ],
)
def test_what_no_short_command_gives_is_left_to_the_long_one(change: dict[str, Any]) -> None:
    specs = [spec | change for spec in specs_of({"methods": "ce", "seeds": "1"})]
    assert shortest_command(specs) is None


def test_paths_are_carried_over_from_what_was_typed() -> None:
    command = shortest_command(specs_of({"methods": "ce", "seeds": "1"}), {"data_root": "my data", "download": True})
    assert command is not None
    assert command.command.endswith("--seeds 1 --data-root 'my data' --download")


@pytest.mark.parametrize(("methods", "typed_stays"), [("ce,gce,mae", True), ("ce", False)])
def test_what_was_typed_stays_where_it_asks_for_the_whole_table(
    methods: str, typed_stays: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (full_plan,) = planned({"methods": "ce,gce,mae", "seeds": "1"})
    (plan,) = planned({"methods": methods, "seeds": "1"})
    typed = f"python -m bench run --methods {methods} --seeds 1"
    published = publish_boards(
        [fake.of(spec, 0.5) for spec in full_plan.specs],
        failures=[],
        boards=tmp_path,
        select="last",
        planned=plan,
        typed={"methods": [methods], "seeds": "1", "out": "runs", "download": False},
    )
    assert published is not None
    print_boards(published, "md", {spec.setting_id for spec in plan.specs})
    short = "python -m bench run --methods ce,gce,mae --dataset digits --noise sym --rate 0.4 --seeds 1"
    for text in (capsys.readouterr().out, (tmp_path / "digits.md").read_text()):
        assert f"```sh\n{typed if typed_stays else short}\n```" in text


def test_boards_are_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    (plan,) = planned({"methods": "ce,gce,mae", "seeds": "1", "epochs": "3", "hold_out": "0.2", "batch_size": "32"})
    records = [fake.of(spec, 0.5) for spec in plan.specs]
    (file,) = export_records(records, tmp_path / "records")
    boards = set()
    for hashes in ("1", "2", "3"):
        command = [sys.executable, "-m", "bench", "report", "--records", str(file), "--boards", hashes]
        environment = os.environ | {"PYTHONHASHSEED": hashes}
        subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
        boards.add((tmp_path / hashes / "digits.md").read_bytes())
    assert len(boards) == 1
    assert b"--batch-size 32 --epochs 3 --hold-out 0.2" in boards.pop()


# Terms that are off ------------------------------------------------------------------------------------------------


def test_a_weight_of_zero_is_said_with_its_source() -> None:
    specs = specs_of({"methods": "nce+agce,nce+ael,nce+mae", "seeds": "2"})
    assert describe_disabled_terms(specs, registry.methods()) == [
        "nce+ael and nce+agce: alpha = 0 in the setting inherited from mnist, so normalised cross-entropy is no part "
        "of them."
    ]


def test_a_typed_weight_of_zero_is_said_without_one_and_names_its_row() -> None:
    specs = specs_of({"methods": "nce+mae,nce+mae[alpha=0]", "seeds": "1"})
    assert describe_disabled_terms(specs, registry.methods()) == [
        "nce+mae [alpha=0]: alpha = 0, so normalised cross-entropy is no part of it."
    ]


def test_a_zero_that_is_no_weight_of_a_term_is_passed_over() -> None:
    entry = {
        "recipes": [],
        "parameters": [
            {"name": "start", "meaning": "epoch at which it starts"},
            {"name": "blend", "meaning": "weight of the label; 0: cross-entropy"},
            {"name": "gamma", "meaning": "weight of the penalty"},
        ],
    }
    specs = [{"method": "own", "data_set": "digits", "parameters": {"start": 0, "blend": 0.0, "gamma": 1.0}}]
    assert describe_disabled_terms(specs, {"own": entry}) == []
    assert describe_disabled_terms(specs, {}) == []
    specs[0]["parameters"] = {"gamma": 0.0}
    assert describe_disabled_terms(specs, {"own": entry}) == ["own: gamma = 0, so penalty is no part of it."]


def test_the_catalogue_says_weight_of_wherever_it_is_one() -> None:
    """The notes above rest on this wording: a weight worded otherwise would be missed."""
    worded = {
        (name, parameter["name"])
        for name, entry in registry.methods().items()
        for parameter in entry["parameters"]
        if not isinstance(parameter["default"], bool)
        and "weight" in parameter["meaning"]
        and not parameter["meaning"].startswith("weight of ")
    }
    # these speak of a weight, a network's or a mixing one, and are none
    assert worded == {
        ("cores2", "delay"),
        ("cores2", "ramp"),
        ("dividemix", "alpha"),
        ("elr+", "average_ramp"),
        ("elr+", "decay"),
        ("elr+", "ramp"),
        ("flsc", "alpha"),
        ("flsc", "erasing_ramp"),
        ("flsc", "erasing_slope"),
        ("focal", "gamma"),
        ("m-correction", "alpha"),
        ("mixnn", "epsilon"),
        ("volminnet", "init"),
    }


def test_commands_need_neither_data_nor_torch(tmp_path: Path) -> None:
    files = tmp_path / "specs.json"
    files.write_text(json.dumps(specs_of({"seeds": "2"})))
    program = (
        "import json, sys; from pathlib import Path; from bench.reporting.reproduce import shortest_command\n"
        f"found = shortest_command(json.loads(Path({str(files)!r}).read_text()))\n"
        "assert found is not None and '--methods all' in found.command, found\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=120)
