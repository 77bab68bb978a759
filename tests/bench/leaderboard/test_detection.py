"""The second table: who finds the wrong labels, and on what each number rests."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench.execution.worker import load_file
from bench.leaderboard import tables
from bench.leaderboard.render import markdown, structured
from bench.reporting.explicit_command import explicit_command

fake: ModuleType = load_file(Path(__file__).parents[1] / "fake_records.py")
DETECTION = "Who finds the wrong labels"
OWN = {"source": "clean_probability", "kept_source": "selected", "corrected_source": "soft_targets"}
READ_OFF = {"source": "loss", "kept_source": "lowest", "corrected_source": "prediction"}


def finder(method: str, auroc: float | None, sources: dict[str, str] = READ_OFF, **spec: Any) -> list[dict[str, Any]]:
    """Five replicates whose AUROC scatters a little around `auroc`."""
    records: list[dict[str, Any]] = fake.several(method, fake.FIVE, **spec)
    for place, record in enumerate(records):
        known_auroc = None if auroc is None else auroc + 0.01 * (place - 2)
        shares = {"average_precision": 0.5, "precision": 0.75, "recall": 0.625, "corrected": 0.25, "damaged": 0.125}
        record["measures"]["selector"] = {**sources, "auroc": known_auroc, **shares, "auroc_noisy_classes": None}
    return records


def cells(text: str) -> dict[str, list[str]]:
    """The cells of the second table by method, the first column before it."""
    part = text.split(DETECTION)[1].split("\n\n")[1]
    lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in part.splitlines()]
    return {line[1].strip("*"): line for line in (lines[0], *lines[2:])}


def board() -> list[dict[str, Any]]:
    return [
        *finder("ce", 0.7),
        *finder("elr", 0.9, READ_OFF | {"corrected_source": "soft_targets"}),
        *finder("dividemix", 0.89, OWN),
        *finder("co-teaching", 0.95, OWN, privileges=("noise_rate=0.2",)),
    ]


def test_it_is_ranked_by_auroc_and_says_what_is_the_methods_own() -> None:
    rows = cells(markdown.report_as_markdown(tables.build_report(board())))
    assert list(rows) == ["method", "elr", "dividemix", "ce", "co-teaching"]
    assert rows["method"][2:] == [
        "AUROC", "95 % interval", "n", "average precision", "precision", "recall", "corrected", "damaged", "its own",
        "told",
    ]  # fmt: skip
    assert rows["dividemix"][0] == "2" and rows["dividemix"][2] == "89.0 ± 1.6"
    assert rows["elr"][:3] == ["1", "**elr**", "**90.0 ± 1.6**"]
    assert [rows[name][-2] for name in ("ce", "elr", "dividemix")] == ["–", "targets", "estimate, set, targets"]
    assert (rows["co-teaching"][0], rows["co-teaching"][-1]) == ("–", "noise rate (given 0.2)")
    assert rows["ce"][5:10] == ["50.0", "75.0", "62.5", "25.0", "12.5"]


def test_within_noisy_classes_has_a_column_where_it_is_known() -> None:
    records = finder("ce", 0.7)
    for record in records:
        record["measures"]["selector"]["auroc_noisy_classes"] = 0.5
    rows = cells(markdown.report_as_markdown(tables.build_report(records)))
    assert rows["ce"][rows["method"].index("AUROC in noisy classes")] == "50.0"


def test_no_wrong_labels_no_table() -> None:
    report = tables.build_report(finder("ce", None))
    assert DETECTION not in markdown.report_as_markdown(report) + fake.report_as_text(report, width=200)


def test_old_records_have_dashes_for_what_they_lack() -> None:
    old = {"source": "loss", "auroc": 0.875, "average_precision": 0.5, "precision": None, "recall": None}
    records = [*fake.several("gce", fake.FIVE, measures={"selector": old}), *finder("elr", 0.9)]
    rows = cells(markdown.report_as_markdown(tables.build_report(records)))
    assert rows["gce"][5:] == ["50.0", "–", "–", "–", "–"]
    alone = cells(markdown.report_as_markdown(tables.build_report(records[:5])))
    assert alone["method"] == ["#", "method", "AUROC", "95 % interval", "n", "average precision"]


def test_json_and_csv_hold_what_the_table_shows() -> None:
    report = tables.build_report(board())
    rows = {row["method"]: row for row in structured.report_as_json(report)["settings"][0]["rows"]}
    selector = rows["dividemix"]["selector"]
    assert selector["auroc"] == pytest.approx(0.89) and selector["rank"] == 2 and selector["n"] == 5
    assert selector["interval"][0] < 0.89 < selector["interval"][1]
    assert {name: selector[name] for name in OWN} == OWN and selector["damaged"] == 0.125
    assert rows["co-teaching"]["selector"]["rank"] is None
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(structured.report_as_csv(report)))}
    assert lines["dividemix"]["selector_corrected"] == "0.25"
    assert lines["ce"]["selector_kept_source"] == "lowest"


@pytest.mark.parametrize("width", [70, 100, 200])
def test_a_terminal_shows_as_much_of_it_as_it_has_room_for(width: int) -> None:
    text = fake.report_as_text(tables.build_report(board()), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    part = text.split(DETECTION)[1]
    assert re.search(r"1\s+elr\s+90.0 ± 1.6", part)
    assert ("average precision" in part) is (width >= 100)
    assert ("estimate, set, targets" in part) is (width == 200)


def test_single_networks_stand_beside_the_methods_own_prediction() -> None:
    nets = {"networks": 2, "views": 2, "units_per_sample_epoch": 12.0}
    records = fake.several("dividemix", fake.FIVE, measures=nets | {"network_test_accuracies": [0.8, 0.82]})
    text = markdown.report_as_markdown(tables.build_report([*records, *fake.several("ce", fake.LOWER)]))
    (line,) = [line for line in text.split(DETECTION)[0].splitlines() if "dividemix" in line]
    assert "| 81.0 (2.0) |" in re.sub(" +", " ", line) and "| 2 / 2 / 12 |" in re.sub(" +", " ", line)
    row = structured.report_as_json(tables.build_report(records))["settings"][0]["rows"][0]
    assert (row["single_networks"], row["network_spread"]) == (pytest.approx(0.81), pytest.approx(0.02))


def test_a_made_command_says_the_noise_rate_that_was_given() -> None:
    lines = explicit_command(board()).splitlines()
    assert sum("--noise-rate 0.2" in line for line in lines) == 1
    assert all(("co-teaching" in line) == ("--noise-rate" in line) for line in lines)
