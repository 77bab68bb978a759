"""A method's page with many recipes."""

from __future__ import annotations

from bench.cli.pages import DITTO, _without_repeats


def test_what_the_row_above_says_is_a_ditto_mark_and_the_rest_stays() -> None:
    rows = [["a", "any", "q=1", "x", "s"], ["a", "sym", "q=2", "x", "s"], ["b", "any", "q=2", "x", "t"]]
    assert _without_repeats(rows) == [
        rows[0],
        ["a", "sym", "q=2", DITTO, DITTO],
        ["b", "any", "q=2", DITTO, "t"],
    ]
    assert _without_repeats([]) == []
