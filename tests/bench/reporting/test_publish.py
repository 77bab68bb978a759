"""`report`: records in, boards and short records out, and every row against one method."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.execution.worker import load_file
from bench.leaderboard import comparison, tables
from bench.leaderboard.render import markdown
from bench.planning.recipe_files import shared_recipe_file, write_recipe_file
from bench.records.compact import MOST_BYTES, export_records, read_jsonl, records_file_name
from bench.records.store import Store
from bench.reporting.publish import publish_boards
from bench.spec import SHARED_GRID
from bench.system.errors import UsageError

Record = dict[str, Any]


fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")


def study(n: int = 5) -> list[Record]:
    """Two data sets, two noises, four rows with unlike accuracies."""
    rows = {"ce": 0.70, "gce": 0.80, "mae": 0.75}
    records = [
        fake.make(method, seed, base + 0.01 * ((7 * seed) % 5) / 3, data_set=data_set, noise=noise)
        for data_set in ("digits", "synthetic[classes=20]")
        for noise in ("sym", "asym")
        for method, base in rows.items()
        for seed in range(n)
    ]
    privileges = ("clean_labels",)
    return records + [fake.make("ce-clean", seed, 0.95 + 0.001 * seed, privileges=privileges) for seed in range(n)]


# Export ------------------------------------------------------------------------------------------------------------


def test_each_data_set_has_a_file_of_short_lines(tmp_path: Path) -> None:
    records = study()
    files = export_records(records, tmp_path / "records")
    assert [path.name for path in files] == ["digits.jsonl", records_file_name("synthetic[classes=20]")]
    lines = [line for path in files for line in path.read_bytes().splitlines(keepends=True)]
    assert len(lines) == len(records)
    assert max(map(len, lines)) <= MOST_BYTES
    assert {json.loads(line)["run_id"] for line in lines} == {record["run_id"] for record in records}
    assert {json.loads(line)["spec"]["data_set"] for line in files[0].read_bytes().splitlines()} == {"digits"}


@settings(max_examples=10, deadline=None)
@given(shuffler=st.randoms(use_true_random=False), cut=st.integers(0, 35))
def test_neither_order_nor_parts_change_a_byte(
    tmp_path_factory: pytest.TempPathFactory, shuffler: random.Random, cut: int
) -> None:
    records = study()
    folder = tmp_path_factory.mktemp("records")
    expected = {path.name: path.read_bytes() for path in export_records(records, folder / "whole")}
    mixed = list(records)
    shuffler.shuffle(mixed)
    export_records(mixed[:cut], folder / "parts")
    export_records(mixed[cut // 2 :], folder / "parts")
    assert {path.name: path.read_bytes() for path in (folder / "parts").iterdir()} == expected


def test_a_run_that_is_exported_anew_replaces_its_line_and_no_other(tmp_path: Path) -> None:
    first, second = fake.make("ce", 0, 0.5), fake.make("ce", 1, 0.6)
    (file,) = export_records([first, second], tmp_path)
    again = json.loads(json.dumps(first))
    again["provenance"]["seconds"]["total"] = 99.0
    export_records([again], tmp_path)
    exported = {record["run_id"]: record for record in read_jsonl(file)}
    assert len(exported) == 2
    assert exported[first["run_id"]]["provenance"]["seconds"]["total"] == 99.0
    assert exported[second["run_id"]]["provenance"]["seconds"]["total"] != 99.0


def test_a_broken_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "digits.jsonl"
    file.write_text("no record\n")
    with pytest.raises(UsageError, match=r"digits\.jsonl, line 1"):
        export_records([fake.make("ce", 0, 0.5)], tmp_path)
    assert file.read_text() == "no record\n"


@pytest.mark.parametrize("option", ["--boards", "--export"])
def test_a_file_in_a_folder_s_place_is_refused_before_anything_is_written(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export_records([fake.make("ce", 0, 0.5)], Path("records"))
    Path("taken").touch()
    assert main(["report", "--records", "records/digits.jsonl", option, "taken"]) == 2
    message = capsys.readouterr().err
    assert "taken is a file" in message and f"another {option}" in message and "--out" not in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records", "taken"]


def test_boards_of_short_records_say_what_those_of_whole_ones_do(tmp_path: Path) -> None:
    records = study()
    files = export_records(records, tmp_path)
    short = [record for file in files for record in read_jsonl(file)]
    assert any("left_out" in record for record in short), "the factory's records are too short to lose anything"
    boards = [markdown.report_as_markdown(tables.build_report(runs)) for runs in (records, short)]
    assert boards[0] == boards[1]


def grid_rows(**fields: Any) -> list[Record]:
    """Rows of the shared grid's table of digits: two methods of a newer version than the file has, and one as it is."""
    grid = shared_recipe_file("digits", "cnn-small")
    assert grid is not None
    rates = {name: grid[1].of(name)[0].learning_rate for name in ("ce", "gce", "mae")}
    versions = {"ce": 1, "gce": 2, "mae": 2}
    spec = {"protocol": SHARED_GRID} | fields
    return [
        fake.make(name, seed, 0.7, **({"learning_rate": rate, "method_version": versions[name]} | spec))
        for name, rate in rates.items()
        for seed in range(2)
    ]


def test_a_board_says_which_rows_train_with_what_the_grid_chose_for_an_older_version(tmp_path: Path) -> None:
    note = (
        "Learning rate and weight decay of gce and mae: the grid chose for version 1, and these rows are of version 2."
    )
    published = publish_boards(grid_rows(), failures=(), boards=tmp_path, select="last")
    assert published is not None
    assert note in fake.only_table(published.report).caveats
    assert f"{note}\n" in (tmp_path / "digits.md").read_text()


@pytest.mark.parametrize(
    "fields",
    [{"method_version": 1}, {"learning_rate": 0.123}, {"protocol": "shared"}, {"privileges": ("tuned=30",)}],
)
def test_no_board_says_so_of_rows_that_the_grid_did_not_choose_for(fields: dict[str, Any], tmp_path: Path) -> None:
    published = publish_boards(grid_rows(**fields), failures=(), boards=tmp_path, select="last")
    assert published is not None
    assert not any("the grid chose" in note for _, table in published.report.tables for note in table.caveats)


@pytest.mark.parametrize(("select", "said"), [("holdout", True), ("last", False)])
def test_where_held_out_labels_choose_a_note_names_methods_that_train_by_them(
    select: str, said: bool, tmp_path: Path
) -> None:
    records = [fake.make(name, seed, 0.7) for name in ("ce", "forward-estimated") for seed in range(2)]
    published = publish_boards(records, failures=(), boards=tmp_path, select=select)
    assert published is not None
    notes = fake.only_table(published.report).caveats
    assert any(note.startswith("forward-estimated chooses an epoch within training") for note in notes) == said
    assert not any(note.startswith("ce ") for note in notes)


def test_a_board_says_which_rows_are_of_an_older_version(tmp_path: Path) -> None:
    """Today's code can't train them again."""
    records = [fake.make(name, seed, 0.7, method_version=1) for name in ("ce", "dividemix") for seed in range(2)]
    published = publish_boards(records, failures=(), boards=tmp_path, select="last")
    assert published is not None
    (note,) = (text for text in fake.only_table(published.report).caveats if "an older version" in text)
    assert re.search(r": dividemix \(version 1, now \d+\)\.$", note)
    assert note in (tmp_path / "digits.md").read_text()


def test_a_grid_beside_the_boards_goes_before_the_projects_own(tmp_path: Path) -> None:
    """Its choice is for the version of the rows, so that there is nothing to say."""
    grid = shared_recipe_file("digits", "cnn-small")
    assert grid is not None
    recipes = [recipe.model_copy(update={"method_version": 2}) for recipe in grid[1].recipe]
    write_recipe_file(grid[1].model_copy(update={"recipe": tuple(recipes)}), tmp_path / "tuning" / "shared-digits.toml")
    published = publish_boards(grid_rows(), failures=(), boards=tmp_path, select="last")
    assert published is not None
    assert not any("the grid chose" in note for note in fake.only_table(published.report).caveats)


def test_a_whole_store_becomes_records_and_they_become_boards_with_identical_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs")
    for record in study():
        store.write_record(record)
    assert main(["report", "--out", "runs", "--export", "records"]) == 0
    files = [str(path) for path in sorted(Path("records").iterdir())]
    assert len(files) == 2
    seen = []
    for folder in ("one", "two"):
        assert main(["report", "--records", *files, "--boards", folder, "--export", "records"]) == 0
        seen.append({path.name: path.read_bytes() for path in Path(folder).iterdir()})
    assert seen[0] == seen[1]
    assert set(seen[0]) == {Path(file).with_suffix(".md").name for file in files}
    assert "wrote records/digits.jsonl" in capsys.readouterr().err


# Comparison --------------------------------------------------------------------------------------------------------

accuracies = st.lists(
    st.tuples(st.floats(0, 1, allow_nan=False), st.floats(0, 1, allow_nan=False)), min_size=2, max_size=8
)


@settings(max_examples=40, deadline=None)
@given(pairs=accuracies)
def test_differences_and_their_intervals_equal_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    records = [fake.make("ce", seed, pair[0]) for seed, pair in enumerate(pairs)]
    records += [fake.make("gce", seed, pair[1]) for seed, pair in enumerate(pairs)]
    (compared,) = comparison.compare_rows(tables.build_report(records), "ce")
    (difference,) = [entry for entry in compared.differences if entry.row.method == "gce"]
    values = np.round([other - reference for reference, other in pairs], 12)
    assert difference.summary.n == len(pairs)
    assert difference.summary.mean == pytest.approx(values.mean(), abs=1e-12)
    assert (difference.wins, difference.ties, difference.losses) == (
        (values > 0).sum(),
        (values == 0).sum(),
        (values < 0).sum(),
    )
    if values.std() > 1e-9:
        expected = scipy.stats.t.interval(0.95, len(values) - 1, values.mean(), scipy.stats.sem(values))
        assert (difference.summary.low, difference.summary.high) == pytest.approx(expected, abs=1e-9)


def test_only_common_replicates_are_compared() -> None:
    records = [fake.make("ce", seed, 0.5) for seed in range(3)] + [fake.make("gce", seed, 0.75) for seed in (1, 2, 3)]
    (compared,) = comparison.compare_rows(tables.build_report(records), "ce")
    (difference,) = [entry for entry in compared.differences if entry.row.method == "gce"]
    assert (difference.summary.n, difference.summary.mean, difference.wins) == (2, 0.25, 2)


def test_the_own_best_epoch_is_compared_to_the_last() -> None:
    records = [fake.make("ce", seed, 0.5 + 0.01 * seed) for seed in range(3)]
    (compared,) = comparison.compare_rows(
        tables.build_report(records), "ce", oracle=tables.build_report(records, select="best-test")
    )
    assert compared.best_epoch is not None
    assert compared.best_epoch.summary.mean == pytest.approx(0.1)
    assert "best epoch on the clean test set: +10" in comparison.comparison_as_markdown([compared], "last")


def test_a_method_with_several_rows_is_named_in_full() -> None:
    records = [fake.make("gce", seed, 0.5 + q / 10, parameters={"q": q}) for q in (0.5, 0.7) for seed in range(2)]
    report = tables.build_report(records)
    with pytest.raises(UsageError, match=r"(?s)has 2 rows.*--compare 'gce \[q=0\.5\]'"):
        comparison.compare_rows(report, "gce")
    (compared,) = comparison.compare_rows(report, "gce[q=0.5]")
    assert [entry.row.label for entry in compared.differences] == ["gce [q=0.7]"]
    with pytest.raises(UsageError, match=r"no record is of 'gcee'\. Type --compare gce"):
        comparison.compare_rows(report, "gcee")


def test_comparisons_print_as_markdown_json_and_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export_records(study(), Path("records"))
    line = ["report", "--records", "records/digits.jsonl", "--compare", "ce"]
    assert main(line) == 0
    shown = capsys.readouterr().out
    assert shown.count("against ce") == 2
    assert "| gce" in shown and "+10" in shown and "5/0/0" in shown
    assert main([*line, "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [setting["compared_to"] for setting in value["settings"]] == ["ce", "ce"]
    first = {row["method"]: row for row in value["settings"][0]["rows"]}["gce"]
    assert first["difference"] == pytest.approx(0.1)
    assert first["n"] == first["wins"] == 5
    assert main([*line, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == sum(len(setting["rows"]) for setting in value["settings"])
    assert not Path("leaderboards").exists()


# Terminals ---------------------------------------------------------------------------------------------------------


def on_a_terminal(words: list[str], width: int, folder: Path) -> str:
    """What a command prints on a terminal of so many columns, without its escape codes."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are a matter of POSIX")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "bench", *words]
    environment = os.environ | {"COLUMNS": str(width), "TERM": "xterm"}
    child = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, cwd=folder, env=environment)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's way of saying that nobody is at the other end any more
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert child.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(parts).decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("width", [80, 100])
def test_a_terminal_gets_tables_that_fit_and_a_pipe_the_whole_markdown(width: int, tmp_path: Path) -> None:
    (file, _) = export_records(study(), tmp_path / "records")
    line = ["report", "--records", str(file)]
    shown = on_a_terminal(line, width, tmp_path)
    assert max(map(len, shown.splitlines())) <= width
    heading, *_ = [text for text in shown.splitlines() if text.lstrip().startswith("#")]
    assert ("s" in heading.split()) or width == 80
    assert {"#", "method", "accuracy", "95", "n", "mem."} <= set(heading.split())
    assert re.search(r"^ *1  \* gce  .*\[", shown, re.MULTILINE)
    assert "|" not in shown
    piped = subprocess.run(
        [sys.executable, "-m", "bench", *line], check=True, cwd=tmp_path, capture_output=True, text=True, timeout=120
    ).stdout
    written = (tmp_path / "leaderboards" / "digits.md").read_text()
    assert piped.strip() and written.startswith(piped.strip())
    assert "| **gce**" in piped


@pytest.mark.parametrize("width", [100])
def test_comparisons_fit_a_terminal(width: int, tmp_path: Path) -> None:
    records = [fake.make("gce", seed, 0.8 + 0.01 * seed, parameters={"q": 0.7}) for seed in range(3)]
    records += [fake.make("ce", seed, 0.7) for seed in range(3)]
    (file,) = export_records(records, tmp_path / "records")
    shown = on_a_terminal(["report", "--records", str(file), "--compare", "ce"], width, tmp_path)
    assert max(map(len, shown.splitlines())) <= width
    assert re.search(r"^\| gce +\|", shown, re.MULTILINE)


def test_reports_import_nothing_heavy(tmp_path: Path) -> None:
    (file, _) = export_records(study(), tmp_path / "records")
    program = (
        "import sys; from bench.cli.main import main\n"
        "for more in ([], ['--compare', 'ce'], ['--export', 'more'], ['--format', 'json']):\n"
        f"    assert main(['report', '--records', {str(file)!r}, '--boards', 'boards', *more]) == 0\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, capture_output=True, timeout=120)
