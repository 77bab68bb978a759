"""Tables for a terminal: as many columns as fit its width, the most needed ones first."""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from typing import NamedTuple

from bench.leaderboard.columns import BOARD
from bench.leaderboard.formatting import DASH
from bench.leaderboard.model import Report, Table
from bench.leaderboard.sections import Section, selected_tables, short_introduction, table_sections, table_title

GAP = "  "
NARROWEST = 40


class TerminalLine(NamedTuple):
    """A line of text, and whether it should stand out where the terminal can do that."""

    text: str
    strong: bool = False


def report_as_lines(report: Report, setting_ids: Collection[str] | None, width: int) -> list[TerminalLine]:
    """The tables of the settings in `setting_ids` (None: all) in at most `width` columns.

    A star stands before rows that may be the best. Parameters are left out where a method has one row. Cells are never
    cut: a table whose columns that may go have all gone, and that still doesn't fit, is wider.
    """
    width = max(NARROWEST, width)
    hints = "; ".join(f"{column.short_title}: {column.hint}" for column in BOARD if column.hint)
    lines = _wrap_text(f"Accuracy in percent at {report.rule.words} ± standard deviation. {hints}.", width)
    for data_set, table in selected_tables(report, setting_ids):
        lines += [TerminalLine(""), *_table_lines(data_set, table, width)]
    return lines


def _table_lines(data_set: str, table: Table, width: int) -> list[TerminalLine]:
    title = _wrap_text(f"{data_set} · {table_title(table)}", width)
    lines = [TerminalLine(line.text, strong=True) for line in title]
    for text in short_introduction(table):
        lines += _wrap_text(text, width)
    for section in table_sections(table):
        if content := _section_lines(table, section, width):
            title_lines = [TerminalLine(section.short_title)] if section.short_title else []
            lines += [TerminalLine(""), *title_lines, *content]
    return lines


def _section_lines(table: Table, section: Section, width: int) -> list[TerminalLine]:
    """A section without its title; empty where a terminal doesn't show it."""
    if section.text:
        return [TerminalLine(section.text)]
    if section.rows and section.short_lines is None:
        return _grid(table, section, width)
    listed = section.lines if section.short_lines is None else section.short_lines
    return [line for text in listed for line in _wrap_text(text, width, GAP)]


def _wrap_text(text: str, width: int, indent: str = "") -> list[TerminalLine]:
    lines = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent * 2, break_long_words=False, break_on_hyphens=False
    )
    return [TerminalLine(line) for line in lines]


def _grid(table: Table, section: Section, width: int) -> list[TerminalLine]:
    """Header and rows of the columns that hold something, without those that go first until the rest fits."""
    columns = [
        column
        for column in section.columns
        if column.short_title and any(column.short_text(table, row) not in (DASH, "") for row in section.rows)
    ]
    while True:
        cells = [
            [column.short_title for column in columns],
            *([column.short_text(table, row) for column in columns] for row in section.rows),
        ]
        widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
        first_to_go = max(columns, key=lambda column: column.drop)
        if sum(widths) + len(GAP) * (len(columns) - 1) <= width or not first_to_go.drop:
            break
        columns.remove(first_to_go)
    texts = [
        GAP.join(
            cell.ljust(size) if column.left else cell.rjust(size)
            for column, cell, size in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]
    rows = [TerminalLine(text, section.best(row)) for text, row in zip(texts[1:], section.rows, strict=True)]
    return [TerminalLine(texts[0]), *rows]
