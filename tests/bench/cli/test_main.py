"""The command line as a user types it: exit codes, one-line mistakes, nothing written, JSON, and no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.cli.main import main
from bench.records.store import Store
from bench.registry import lookup
from bench.spec import RunSpec

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type commands in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(lookup, "_plugins", ())
    return folder


def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("line", ["--help", "run --help", "list --help", "--version"])
def test_help_is_a_result(here: Path, capsys: Captured, line: str) -> None:
    assert main(line.split()) == 0
    out, err = capsys.readouterr()
    assert out
    assert err == ""


def test_help_names_every_option_of_a_request(here: Path, capsys: Captured) -> None:
    from bench.planning.request import Request

    main(["run", "--help"])
    out = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in out for name in Request.model_fields)


@pytest.mark.parametrize("line", ["list methods", "list datasets --format json", "show method gce", "report"])
def test_these_import_neither_torch_nor_scikit_learn(here: Path, line: str) -> None:
    program = (
        "import sys; from bench.cli.main import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    registry.methods()
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split()], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_only_the_first_plan_asks_torch(here: Path, capsys: Captured) -> None:
    line = ["run", "--methods", "all", "--noise", "asym", "--dry-run"]
    assert main(line) == 0
    program = (
        "import sys; from bench.cli.main import main; code = main(sys.argv[1:]);"
        "sys.exit('imported torch' if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *line], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == capsys.readouterr().out


def result(capsys: Captured, line: str) -> Any:
    assert main(line.split()) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("what", ["methods", "datasets", "noises", "models"])
def test_lists_have_the_declared_shape(here: Path, capsys: Captured, what: str) -> None:
    entries = result(capsys, f"list {what} --format json")
    assert entries
    assert all({"name", "aliases", "summary", "source"} <= set(entry) for entry in entries)
    assert not any({"module", "file", "class", "label"} & set(entry) for entry in entries)
    if what == "methods":
        keys = {"name", "default", "low", "high", "search", "source"}
        for entry in entries:
            assert {"needs", "assumes", "networks", "parameters", "recipes"} <= set(entry)
            assert all(keys <= set(parameter) for parameter in entry["parameters"])


def test_show_noise_has_the_declared_shape(here: Path, capsys: Captured) -> None:
    shown = result(capsys, "show noise asym --dataset digits --rate 0.4 --seed 3 --format json")
    expected = {"noise", "dataset", "rate", "classes", "matrix", "pairs", "source", "draw"}
    expected |= {"realised_rate", "labels_sha256"}
    assert expected <= set(shown)
    assert (shown["noise"], shown["dataset"], shown["rate"], shown["draw"]) == ("asym", "digits", 0.4, "exact")
    assert ["7", "1"] in shown["pairs"]
    assert shown["matrix"][7][1] == 0.4
    assert len(shown["labels_sha256"]) == 64
    assert abs(shown["realised_rate"] - 0.2) < 0.01


def test_show_noise_works_without_the_data(here: Path, capsys: Captured) -> None:
    if "cifar10" not in registry.data_sets():
        pytest.fail("cifar10 is not registered")
    shown = result(capsys, "show noise asym --dataset cifar10 --data-root nowhere --format json")
    assert shown["realised_rate"] is None
    assert shown["labels_sha256"] is None
    assert len(shown["matrix"]) == 10
    assert main(["show", "noise", "asym", "--dataset", "cifar10", "--data-root", "nowhere"]) == 0
    assert "without the data" in capsys.readouterr().out


def test_saved_labels_are_those_that_were_shown(here: Path, capsys: Captured) -> None:
    shown = result(capsys, "show noise sym --rate 0.3 --seed 2 --save-labels noisy.json --format json")
    saved = json.loads((here / "noisy.json").read_text())
    assert saved["labels_sha256"] == shown["labels_sha256"]
    planned = result(capsys, "run --labels noisy.json --noise-seed 2 --methods ce --seeds 2 --dry-run --format json")
    specs = [run["spec"] for run in planned["runs"]]
    assert [(spec["noise"], spec["split_seed"], spec["seed"]) for spec in specs] == [("labels", 2, 0), ("labels", 2, 1)]
    assert main(["run", "--labels", "noisy.json", "--methods", "ce", "--dry-run"]) == 2
    assert "seed 2" in capsys.readouterr().err


def test_show_prints_matrix_parameters_and_protocol(here: Path, capsys: Captured) -> None:
    main(["show", "noise", "pairflip", "--dataset", "digits", "--rate", "0.25"])
    assert "0.75" in capsys.readouterr().out
    main(["show", "method", "gce"])
    out = capsys.readouterr().out
    assert "in (0, 1]" in out
    assert "cifar10" in out
    main(["show", "dataset", "digits"])
    assert "cnn-small" in capsys.readouterr().out


def test_a_dry_run_prints_the_plan_and_writes_nothing(here: Path, capsys: Captured) -> None:
    planned = result(capsys, "run --methods ce,gce --noise asym --seeds 2 --dry-run --format json")
    assert [run["spec"]["method"] for run in planned["runs"]] == ["ce", "gce", "ce", "gce"]
    assert planned["left_out"] == []
    assert main(["run", "--methods", "ce", "--dry-run", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("ce,")
    assert main(["run", "--methods", "ce", "--dry-run"]) == 0
    assert "5 runs" in capsys.readouterr().out
    assert list(here.iterdir()) == []


def test_a_dry_run_says_what_is_stored_and_what_the_rest_will_take(here: Path, capsys: Captured) -> None:
    line = "run --methods ce,dividemix --seeds 2 --epochs 4 --dry-run"
    planned = result(capsys, f"{line} --format json")
    assert (planned["stored"], planned["failed"], planned["to_train"]) == (0, 0, 4)
    assert planned["expected"]["seconds"] is None
    assert planned["expected"]["forward_passes"] == pytest.approx(2 * (3 + 21) * 4 * 1400 * 0.9)
    assert main(line.split()) == 0
    assert "expected time: unknown" in capsys.readouterr().out
    specs = [RunSpec.model_validate(run["spec"]) for run in planned["runs"]]
    store = Store(here / "runs")
    for spec in specs[:2]:
        seconds = {"seconds": {"total": 10.0 if spec.method == "ce" else 80.0}}
        nothing: dict[str, Any] = {"curves": {}, "measures": {}}
        store.write_record(
            {"run_id": spec.run_id, "spec": spec.model_dump(mode="json"), "provenance": seconds} | nothing
        )
    store.write_failure(specs[2], "as told")
    planned = result(capsys, f"{line} --format json")
    assert (planned["stored"], planned["failed"], planned["to_train"]) == (2, 1, 2)
    assert [(run["stored"], run["to_train"]) for run in planned["runs"]] == [(True, False)] * 2 + [(False, True)] * 2
    assert planned["expected"]["seconds"] == pytest.approx(90.0)
    assert planned["expected"]["runs_by_own_method"] == 2
    assert main([*line.split(), "--jobs", "2"]) == 0
    out = capsys.readouterr().out
    assert "4 runs: 2 stored, 2 to train; 1 failed before" in out
    assert "expected time: 0:01:20, 2 at a time, going by records of the same method (2 runs)" in out
    assert main([*line.split(), "--when", "never"]) == 0
    assert "4 runs: 2 stored, 0 to train" in capsys.readouterr().out


def test_shards_of_a_dry_run_are_its_plan(here: Path, capsys: Captured) -> None:
    line = "run --methods ce,gce,dividemix --seeds 3 --dry-run --format json"
    whole = result(capsys, line)
    parts = [result(capsys, f"{line} --shard {number}/4") for number in (1, 2, 3, 4)]
    ids = [run["run_id"] for part in parts for run in part["runs"]]
    assert sorted(ids) == sorted(run["run_id"] for run in whole["runs"])
    assert {part["plan"] for part in parts} == {whole["plan"]}
    assert [part["shard"] for part in parts] == [{"number": number, "count": 4} for number in (1, 2, 3, 4)]
    empty = result(capsys, "run --methods ce --seeds 1 --dry-run --format json --shard 2/2")
    assert empty["runs"] == [] and empty["expected"]["forward_passes"] == 0
    for form in ("md", "csv"):
        assert main(["run", "--methods", "ce", "--seeds", "1", "--dry-run", "--shard", "2/2", "--format", form]) == 0


def test_a_shard_that_is_none_is_a_wrong_request(here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    for shard in ("5/4", "four", "slurm"):
        assert main(["run", "--methods", "ce", "--shard", shard]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"error: --shard {shard}: ")
    assert list(here.iterdir()) == []


def test_ctrl_c_is_130(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def interrupt(kind: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(lookup, "_declarations", interrupt)
    assert main(["run"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_doctor_says_what_there_is(here: Path, capsys: Captured) -> None:
    found = result(capsys, "doctor --format json")
    assert found["digits_runs_that_fit_at_least"] >= found["memory_available_bytes"] // (4 << 30)
    assert found["problems"] == []
    assert found["cores"] >= 1
    assert "torch" in found["versions"]
    assert found["jobs"] * found["threads_per_job"] <= found["cores"]
    assert 0 < found["memory_available_bytes"] <= found["memory_total_bytes"]
    assert found["fast_paths"]["mixed precision"].startswith("off: " if found["precision"] == "fp32" else "on")
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "GiB" in text
    assert all(name in text for name in found["fast_paths"])


def test_matrices_of_one_name_keep_their_own_paths(here: Path) -> None:
    from bench.execution.backends import make_runtimes
    from bench.memory.job_limits import JobLimits
    from bench.planning.gather_facts import gather_facts
    from bench.planning.plan import make_plan
    from bench.planning.request import Request
    from bench.planning.validate import validate_request

    for folder, rate in (("a", 0.1), ("b", 0.2)):
        (here / folder).mkdir()
        rows = [[1 - rate if i == j else rate / 9 for j in range(10)] for i in range(10)]
        (here / folder / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    request = Request.typed(methods=["ce"], noise=["matrix:a/t.csv,matrix:b/t.csv"], seeds="1")
    facts = gather_facts(validate_request(request))
    specs = make_plan(request, facts).specs
    assert [spec.noise for spec in specs] == ["matrix:t.csv", "matrix:t.csv"]
    runtime = make_runtimes(request, facts, JobLimits(jobs=1, threads=1))
    assert [runtime(spec).noise_source for spec in specs] == ["matrix:a/t.csv", "matrix:b/t.csv"]
