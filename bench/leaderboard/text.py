"""Tables for a terminal: as many columns as fit its width, the most needed ones first."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from bench.leaderboard import numbers
from bench.leaderboard.columns import (
    Column,
    effort,
    equal_columns,
    finder_columns,
    frontier_columns,
    moved,
    singles,
    told,
)
from bench.leaderboard.markdown import COSTS, EQUAL, FINDERS, best_by_accuracy, best_set_sentence
from bench.leaderboard.model import EqualCompute, Report, Row, Table

GAP = "  "
NARROWEST = 40
CONTROL = "†"
STAR = "*"


class Line(NamedTuple):
    """A line of text, and whether it should stand out where the terminal can do that."""

    text: str
    strong: bool = False


def as_text(report: Report, asked: Collection[str] | None = None, width: int | None = None) -> str:
    """The lines of `as_lines` as one text; `width` None stands for the terminal's."""
    width = shutil.get_terminal_size().columns if width is None else width
    return "\n".join(line.text for line in as_lines(report, asked, width)) + "\n"


def as_lines(report: Report, asked: Collection[str] | None, width: int) -> list[Line]:
    """The tables of the settings in `asked` (ids; None: all) in at most `width` columns.

    A star stands before rows that may be the best. Parameters are left out where a method has one row. Cells are never
    cut: a table whose columns that may go have all gone, and that still doesn't fit, is wider.
    """
    width = max(NARROWEST, width)
    lines = _wrapped(
        f"Accuracy in percent at {report.rule.words} ± standard deviation. best: the best epoch on the test set (an "
        "oracle); mem.: wrong labels memorised; s: seconds a run; nets: single networks (and how far apart); n/v/u: "
        "networks, views, units of work (plain cross-entropy: 1/1/3).",
        width,
        "",
    )
    for board in report.boards:
        for table in board.tables:
            if asked is None or table.setting_id in asked:
                lines += [Line(""), *_table(board.data_set, table, width)]
        for equal in board.equal_compute or ():
            if asked is None or equal.setting_id in asked:
                lines += [Line(""), *_equal(board.data_set, equal, width)]
    return lines


def _table(data_set: str, table: Table, width: int) -> list[Line]:
    lines = [Line(line.text, True) for line in _wrapped(f"{data_set} · {table.heading}", width, "")]
    plain, informed = table.standing("ranked", "yardstick"), table.standing("informed")
    sentence = best_set_sentence(table).replace("**", "").replace("(in bold)", f"({STAR})")
    legend = f"{CONTROL}: a control." if any(row.control for row in plain + informed) else ""
    lines += [*_wrapped(f"{sentence} {legend}".strip(), width, ""), Line("")]
    if plain:
        lines += _grid(_columns(table), plain, width)
    else:
        lines.append(Line("No complete row yet."))
    if informed:
        lines += [Line(""), Line("Told more than the noisy labels, not ranked:")]
        lines += _grid(_columns(table, informed=True), informed, width)
    if table.finders:
        lines += [Line(""), Line(f"{FINDERS}, at the last epoch:")]
        lines += _grid(finder_columns(table), table.finders, width, lambda row: row.may_find_best)
    if len(table.frontier) > 1:
        lines += [Line(""), Line(f"{COSTS}; no cheaper row is as good as one of these:")]
        lines += _grid(frontier_columns(table), table.frontier, width)
    for title, items in (
        ("Not compared:", [_apart(row) for row in table.standing("apart")]),
        ("Left out:", [f"{each['method']}: {each['reason']}" for each in table.left_out]),
    ):
        if items:
            lines += [Line(""), Line(title), *(line for item in items for line in _wrapped(item, width))]
    notes = [*table.same, *table.caveats]
    return lines + [Line("")] * bool(notes) + [line for note in notes for line in _wrapped(note, width)]


def _equal(data_set: str, table: EqualCompute, width: int) -> list[Line]:
    """A table at equal compute."""
    lines = [Line(line.text, True) for line in _wrapped(f"{data_set} · {EQUAL}: {table.heading}", width, "")]
    lines += [line for text in table.description for line in _wrapped(text, width, "")]
    sentence = best_set_sentence(table).replace("**", "")
    lines += [*_wrapped(sentence, width, ""), Line("")]
    ranked, informed = table.standing("ranked"), table.standing("informed")
    lines += _grid(equal_columns(table), ranked, width) if ranked else [Line("No row to rank.")]
    if informed:
        lines += [Line(""), Line("Told more than the noisy labels, not ranked:")]
        lines += _grid(equal_columns(table, informed=True), informed, width)
    items = [f"left out: {each['method']}: {each['reason']}" for each in table.left_out]
    return [*lines, Line(""), *(line for text in [*items, *table.notes] for line in _wrapped(text, width))]


def _apart(row: Row) -> str:
    known = "" if row.accuracy is None else f" ({numbers.mean_and_std(row.accuracy)}, n = {row.accuracy.n})"
    return f"{row.label}{known}: {row.reason}"


def _columns(table: Table, informed: bool = False) -> list[Column]:
    """The columns of a board that a terminal has room for, under short titles."""
    tied = {row.rank for row in table.rows if row.rank and sum(row.rank == each.rank for each in table.rows) > 1}

    def rank(row: Row) -> str:
        return numbers.NOTHING if row.rank is None else f"{row.rank}{'=' if row.rank in tied else ''}"

    def method(row: Row) -> str:
        return f"{STAR if row.may_be_best else ' '} {row.name}{f' {CONTROL}' * row.control}"

    def to_leader(row: Row) -> str:
        return "leader" if row.label == table.leader else numbers.difference(row.behind)

    return [
        *([] if informed else [Column("#", rank)]),
        Column("  method", method, left=True),
        Column("accuracy", lambda row: numbers.mean_and_std(row.accuracy)),
        Column("95 %", lambda row: numbers.interval(row.accuracy), goes=2),
        Column("n", lambda row: str(len(row.accuracies)), goes=1),
        Column("to leader", to_leader, goes=6),
        Column("best", lambda row: numbers.percent(row.means.get("best_test")), goes=4),
        Column("mem.", lambda row: numbers.percent(row.means.get("memorised")), goes=3),
        Column("worst", lambda row: numbers.percent(row.means.get("worst_class")), goes=7),
        Column("s", lambda row: numbers.seconds(row.means.get("seconds")), goes=5),
        Column("nets", singles, goes=8),
        Column("moved", moved, goes=10),
        Column("n/v/u", lambda row: effort(row).replace(" ", ""), goes=9),
        Column("told", told, left=True),
    ]


def _wrapped(text: str, width: int, indent: str = GAP) -> list[Line]:
    further = indent * 2
    found = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
    return [Line(each) for each in found]


def _grid(
    shown: Sequence[Column],
    rows: Sequence[Row],
    width: int,
    may_be_best: Callable[[Row], bool] = best_by_accuracy,
) -> list[Line]:
    """Header and rows, after the columns that go first have gone until the rest fits."""
    kept = [column for column in shown if any(column.cell(row) not in (numbers.NOTHING, "") for row in rows)]
    while True:
        cells = [[column.title for column in kept], *([column.cell(row) for column in kept] for row in rows)]
        widths = [max(len(line[index]) for line in cells) for index in range(len(kept))]
        going = max(kept, key=lambda column: column.goes)
        if sum(widths) + len(GAP) * (len(kept) - 1) <= width or not going.goes:
            break
        kept.remove(going)
    texts = [
        GAP.join(
            cell.ljust(size) if column.left else cell.rjust(size)
            for column, cell, size in zip(kept, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]
    return [Line(texts[0]), *(Line(text, may_be_best(row)) for text, row in zip(texts[1:], rows, strict=True))]
