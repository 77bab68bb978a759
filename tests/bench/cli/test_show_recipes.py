"""A method's page: many recipes, and what the method declares; and the note of a search on what is declared."""

from __future__ import annotations

import json

import pytest

from bench import registry
from bench.cli.commands.tune import note_held_label_users
from bench.cli.main import main
from bench.cli.pages import DITTO, _without_repeats


def test_what_the_row_above_says_is_a_ditto_mark_and_the_rest_stays() -> None:
    rows = [["a", "any", "q=1", "x", "s"], ["a", "sym", "q=2", "x", "s"], ["b", "any", "q=2", "x", "t"]]
    assert _without_repeats(rows) == [
        rows[0],
        ["a", "sym", "q=2", DITTO, DITTO],
        ["b", "any", "q=2", DITTO, "t"],
    ]
    assert _without_repeats([]) == []


@pytest.mark.parametrize(("name", "uses"), [("confident-learning", True), ("forward-estimated", True), ("gce", False)])
def test_a_methods_page_says_whether_it_trains_by_held_out_labels(
    name: str, uses: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "method", name]) == 0
    assert ("its noisy labels choose an epoch within training" in capsys.readouterr().out) == uses
    assert main(["show", "method", name, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["uses_held_labels"] is uses


def test_a_search_says_which_methods_train_by_the_labels_that_it_chooses_by(capsys: pytest.CaptureFixture[str]) -> None:
    note_held_label_users(["ce", "forward-estimated", "confident-learning"], registry.methods())
    note_held_label_users(["ce"], registry.methods())
    assert capsys.readouterr().err == (
        "note: confident-learning and forward-estimated choose an epoch within training by the hold-out's noisy "
        "labels, so for them accuracy on these isn't quite unseen.\n"
    )
