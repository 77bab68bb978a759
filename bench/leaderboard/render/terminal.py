"""Tables for a terminal: as many columns as fit its width, the most needed ones first."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from bench.leaderboard import formatting
from bench.leaderboard.columns import (
    Column,
    detection_columns,
    effort_cell,
    equal_columns,
    format_move,
    frontier_columns,
    privileges_cell,
    single_networks_cell,
)
from bench.leaderboard.model import EqualCompute, Report, Row, Table
from bench.leaderboard.render.markdown import COSTS, DETECTION, EQUAL, best_by_accuracy, best_set_sentence

GAP = "  "
NARROWEST = 40
CONTROL = "†"
STAR = "*"


class TerminalLine(NamedTuple):
    """A line of text, and whether it should stand out where the terminal can do that."""

    text: str
    strong: bool = False


def report_as_text(report: Report, asked: Collection[str] | None = None, width: int | None = None) -> str:
    """The lines of `as_lines` as one text; `width` None stands for the terminal's."""
    width = shutil.get_terminal_size().columns if width is None else width
    return "\n".join(line.text for line in report_as_lines(report, asked, width)) + "\n"


def report_as_lines(report: Report, asked: Collection[str] | None, width: int) -> list[TerminalLine]:
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
                lines += [TerminalLine(""), *_table(board.data_set, table, width)]
        for equal in board.equal_compute or ():
            if asked is None or equal.setting_id in asked:
                lines += [TerminalLine(""), *_equal(board.data_set, equal, width)]
    return lines


def _table(data_set: str, table: Table, width: int) -> list[TerminalLine]:
    lines = [TerminalLine(line.text, True) for line in _wrapped(f"{data_set} · {table.heading}", width, "")]
    plain, informed = table.standing("ranked", "yardstick"), table.standing("informed")
    sentence = best_set_sentence(table).replace("**", "").replace("(in bold)", f"({STAR})")
    legend = f"{CONTROL}: a control." if any(row.control for row in plain + informed) else ""
    lines += [*_wrapped(f"{sentence} {legend}".strip(), width, ""), TerminalLine("")]
    if plain:
        lines += _grid(_columns(table), plain, width)
    else:
        lines.append(TerminalLine("No complete row yet."))
    if informed:
        lines += [TerminalLine(""), TerminalLine("Told more than the noisy labels, not ranked:")]
        lines += _grid(_columns(table, informed=True), informed, width)
    if table.finders:
        lines += [TerminalLine(""), TerminalLine(f"{DETECTION}, at the last epoch:")]
        lines += _grid(detection_columns(table), table.finders, width, lambda row: row.may_find_best)
    if len(table.frontier) > 1:
        lines += [TerminalLine(""), TerminalLine(f"{COSTS}; no cheaper row is as good as one of these:")]
        lines += _grid(frontier_columns(table), table.frontier, width)
    for title, items in (
        ("Not compared:", [_apart(row) for row in table.standing("apart")]),
        ("Left out:", [f"{each['method']}: {each['reason']}" for each in table.left_out]),
    ):
        if items:
            lines += [
                TerminalLine(""),
                TerminalLine(title),
                *(line for item in items for line in _wrapped(item, width)),
            ]
    notes = [*table.same, *table.caveats]
    return lines + [TerminalLine("")] * bool(notes) + [line for note in notes for line in _wrapped(note, width)]


def _equal(data_set: str, table: EqualCompute, width: int) -> list[TerminalLine]:
    """A table at equal compute."""
    lines = [TerminalLine(line.text, True) for line in _wrapped(f"{data_set} · {EQUAL}: {table.heading}", width, "")]
    lines += [line for text in table.description for line in _wrapped(text, width, "")]
    sentence = best_set_sentence(table).replace("**", "")
    lines += [*_wrapped(sentence, width, ""), TerminalLine("")]
    ranked, informed = table.standing("ranked"), table.standing("informed")
    lines += _grid(equal_columns(table), ranked, width) if ranked else [TerminalLine("No row to rank.")]
    if informed:
        lines += [TerminalLine(""), TerminalLine("Told more than the noisy labels, not ranked:")]
        lines += _grid(equal_columns(table, informed=True), informed, width)
    items = [f"left out: {each['method']}: {each['reason']}" for each in table.left_out]
    return [*lines, TerminalLine(""), *(line for text in [*items, *table.notes] for line in _wrapped(text, width))]


def _apart(row: Row) -> str:
    known = "" if row.accuracy is None else f" ({formatting.format_mean_and_std(row.accuracy)}, n = {row.accuracy.n})"
    return f"{row.label}{known}: {row.reason}"


def _columns(table: Table, informed: bool = False) -> list[Column]:
    """The columns of a board that a terminal has room for, under short titles."""
    tied = {row.rank for row in table.rows if row.rank and sum(row.rank == each.rank for each in table.rows) > 1}

    def rank(row: Row) -> str:
        return formatting.DASH if row.rank is None else f"{row.rank}{'=' if row.rank in tied else ''}"

    def method(row: Row) -> str:
        return f"{STAR if row.may_be_best else ' '} {row.name}{f' {CONTROL}' * row.control}"

    def to_leader(row: Row) -> str:
        return "leader" if row.label == table.leader else formatting.format_difference(row.behind)

    return [
        *([] if informed else [Column("#", rank)]),
        Column("  method", method, left=True),
        Column("accuracy", lambda row: formatting.format_mean_and_std(row.accuracy)),
        Column("95 %", lambda row: formatting.format_interval(row.accuracy), goes=2),
        Column("n", lambda row: str(len(row.accuracies)), goes=1),
        Column("to leader", to_leader, goes=6),
        Column("best", lambda row: formatting.format_percent(row.means.get("best_test")), goes=4),
        Column("mem.", lambda row: formatting.format_percent(row.means.get("memorised")), goes=3),
        Column("worst", lambda row: formatting.format_percent(row.means.get("worst_class")), goes=7),
        Column("s", lambda row: formatting.format_seconds(row.means.get("seconds")), goes=5),
        Column("nets", single_networks_cell, goes=8),
        Column("moved", format_move, goes=10),
        Column("n/v/u", lambda row: effort_cell(row).replace(" ", ""), goes=9),
        Column("told", privileges_cell, left=True),
    ]


def _wrapped(text: str, width: int, indent: str = GAP) -> list[TerminalLine]:
    further = indent * 2
    found = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )
    return [TerminalLine(each) for each in found]


def _grid(
    shown: Sequence[Column],
    rows: Sequence[Row],
    width: int,
    may_be_best: Callable[[Row], bool] = best_by_accuracy,
) -> list[TerminalLine]:
    """Header and rows, after the columns that go first have gone until the rest fits."""
    kept = [column for column in shown if any(column.cell(row) not in (formatting.DASH, "") for row in rows)]
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
    return [
        TerminalLine(texts[0]),
        *(TerminalLine(text, may_be_best(row)) for text, row in zip(texts[1:], rows, strict=True)),
    ]
