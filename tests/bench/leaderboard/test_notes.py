"""What stands under a table, and the forms that a report takes."""

from __future__ import annotations

import csv
import io
import json
import re
from itertools import groupby
from pathlib import Path
from types import ModuleType

import pytest

from bench.execution.worker import load_file
from bench.leaderboard.render import markdown, structured
from bench.leaderboard.tables import build_report
from bench.spec import RunSpec

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
make = fake.make
several = fake.several
only_table = fake.only_table
small_board = fake.small_board
FIVE = fake.FIVE
LOWER = fake.LOWER

# Notes under a table -------------------------------------------------------------------------------------------------


def test_identical_runs_are_called_one_method() -> None:
    twins = several("b", FIVE)
    others = several("a", FIVE)
    for record, other in zip(twins, others, strict=True):
        record["measures"] = dict(other["measures"])
    assert only_table(build_report([*others, *twins])).identical == [
        "a and b gave identical runs: here they are one method."
    ]
    twins[0]["measures"]["negative_log_likelihood"] += 0.001
    assert only_table(build_report([*others, *twins])).identical == []
    for record in [*others, *twins]:
        record["measures"]["negative_log_likelihood"] = None
    assert only_table(build_report([*others, *twins])).identical == [], "too little is known to say so"


def test_methods_that_say_so_are_called_the_same() -> None:
    records = several("nce+agce", FIVE, measures={"same_as": ["agce"]})
    (sentence,) = only_table(build_report(records)).identical
    assert sentence == "nce+agce is the same method as agce by its parameters here."


def test_real_noise_with_clean_tests() -> None:
    records = several("ce", FIVE, noise="as-given", rate=None)
    for record in records:
        record["provenance"]["labels"] = "training as given"
        record["measures"]["selector"] = {"auroc": 0.8, "verified": 50, "verified_wrong": 10}
    table = only_table(build_report(records))
    text = " ".join([*table.caveats, *table.description])
    assert "said of the 50 training labels that people looked at again (20.0% found wrong)" in text
    assert "no table says who" not in text and "test images with clean ones" in text and not table.tests_as_given
    records[0]["measures"]["selector"] |= {"verified": 40, "verified_meaning": "doubted by the expert"}
    assert "40 to 50 training labels" in " ".join(only_table(build_report(records)).caveats)
    for record in records:
        record["measures"]["selector"] = {}
    text = " ".join(only_table(build_report(records)).caveats)
    assert "wrong, so no table says who finds the wrong labels, and nothing says which were memorised" in text
    assert "Test labels as given" not in text
    records[0]["provenance"]["labels"] = "as given"
    assert "Test labels as given" in " ".join(only_table(build_report(records)).caveats)


def test_a_second_test_set_has_a_line() -> None:
    records = [*several("ce", FIVE), *several("gce", LOWER)]
    assert "Second test" not in " ".join(only_table(build_report(records)).caveats)
    for place, record in enumerate(records):
        accuracy = 0.5 if place < len(FIVE) else 0.625
        record["measures"]["second_test"] = {"name": "ILSVRC12", "images": 2500, "test_accuracy": accuracy}
    text = " ".join(only_table(build_report(records)).caveats)
    assert "Second test, on 2,500 images of ILSVRC12, at the last epoch: gce 62.5, ce 50.0." in text


def test_noise_on_top_of_real_noise() -> None:
    records = several("ce", FIVE)
    for record in records:
        record["provenance"]["labels"] = "training as given"
    table = only_table(build_report(records))
    assert "an unknown share of which was wrong before" in " ".join(table.caveats) and not table.tests_as_given


def test_caveats_name_what_a_reader_must_know() -> None:
    records = several("anl", FIVE, measures={"assumes": ["balanced_classes"]}, imbalance=0.1)
    records[0]["provenance"] |= {"device": "cuda", "git_dirty": True}
    report = {"left_out": {"test images that are copies of training images": 20, "images that the copy lacks": 1203}}
    records[1]["provenance"]["data_report"] = report
    text = " ".join(only_table(build_report(records, select="holdout")).caveats)
    assert "anl assumes that they are balanced" in text
    assert "140 held-out noisy labels a replicate, 700 in all, fewer than 2,000" in text
    assert "397 images: one of them is 0.25 points" in text
    assert "The data has 20 test images that are copies of training images: what was memorised counts" in text
    assert "1,203 images of the published set are missing in this copy: compare" in text
    assert "Seconds come from cpu with 1 threads and cuda with 1 threads" in text
    assert "1 of 5 runs come from a working tree with uncommitted changes" in text


# Forms ---------------------------------------------------------------------------------------------------------------


def test_json_has_the_documented_keys_and_survives_a_round_trip() -> None:
    document = structured.report_as_json(build_report(small_board()))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document) == {"schema", "select", "settings"}
    (setting,) = document["settings"]
    assert set(setting) >= {
        "dataset", "noise", "rate", "model", "epochs", "protocol", "labels_sha256", "command", "rows", "left_out",
    }  # fmt: skip
    keys = {
        "method", "parameters", "needs", "assumes", "n", "mean", "std", "best_test", "gap", "memorised", "seconds",
        "selector",
    }  # fmt: skip
    assert all(set(row) >= keys for row in setting["rows"])
    assert setting["labels_sha256"] == [f"{seed:064x}" for seed in range(5)]
    first = setting["rows"][0]
    assert (first["method"], first["parameters"], first["rank"]) == ("gce", {"q": 0.7}, 1)
    assert 0 <= first["mean"] <= 1 and first["mean"] == pytest.approx(0.84)
    assert first["selector"]["auroc"] == 0.875 and first["selector"]["precision"] is None


def test_csv_has_a_line_for_each_row() -> None:
    report = build_report([*small_board(), *several("ce", FIVE, rate=0.2)])
    lines = list(csv.DictReader(io.StringIO(structured.report_as_csv(report))))
    assert len(lines) == sum(len(table.rows) for board in report.boards for table in board.tables)
    by_method = {line["method"]: line for line in lines if line["rate"] == "0.4"}
    assert json.loads(by_method["gce"]["parameters"]) == {"q": 0.7}
    assert by_method["forward"]["rank"] == "" and by_method["forward"]["needs"] == "transition_matrix"
    assert float(by_method["gce"]["low"]) < 0.84 < float(by_method["gce"]["high"])
    assert structured.report_as_csv(build_report([])) == ""


def test_only_the_settings_that_were_asked_for_are_printed() -> None:
    records = [*several("ce", FIVE), *several("ce", FIVE, rate=0.2)]
    report, setting_ids = build_report(records), {RunSpec(**records[0]["spec"]).setting_id}
    assert len(structured.report_as_json(report, setting_ids)["settings"]) == 1
    for text in (markdown.report_as_markdown(report, setting_ids), fake.report_as_text(report, setting_ids)):
        assert "sym 0.4" in text and "sym 0.2" not in text


@pytest.mark.parametrize("width", [70, 90, 120, 200])
def test_a_terminal_table_fits_its_width(width: int) -> None:
    text = fake.report_as_text(build_report(small_board()), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert re.search(r"1\s+\* gce\s+84.0 ± 3.2", text)
    assert ("to leader" in text) is (width >= 120)


def test_every_line_of_a_markdown_table_has_the_same_cells() -> None:
    records = [*several("a|b", FIVE), *several("a<b>\n_c_", LOWER)]
    text = markdown.report_as_markdown(build_report(records))
    tables = [list(lines) for inside, lines in groupby(text.splitlines(), lambda line: line.startswith("|")) if inside]
    assert len(tables) == 2  # the board, and who finds the wrong labels
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert len({len(line) for line in lines}) == 1
