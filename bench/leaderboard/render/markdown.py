"""Boards as Markdown, padded so that the raw text reads as a table too.

`write_boards` writes the files and `report_as_markdown` prints their tables; `markdown_table` draws
them and those of comparisons and of the shared grid.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from bench.leaderboard.cells import long_labels
from bench.leaderboard.columns import BOARD
from bench.leaderboard.formatting import DASH
from bench.leaderboard.model import Report, Table
from bench.leaderboard.render.legend import say_labels_as_given, write_introduction, write_legend
from bench.leaderboard.sections import Section, best_set_sentence, selected_tables, table_sections, table_title
from bench.leaderboard.selection import SelectionRule
from bench.system.errors import UsageError
from bench.system.files import file_names, write_atomically

_ACTIVE = re.compile(r"`[0-9a-f]+`|[|<*`]|(?<=\])[(\[]|^\[(?=[^\]]*\]:)|!(?=\[)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def report_as_markdown(report: Report, setting_ids: Collection[str] | None = None) -> str:
    """The tables of the settings in `setting_ids` (None: all), without the legend that each file ends with."""
    by_data_set: dict[str, list[Table]] = {}
    for data_set, table in selected_tables(report, setting_ids):
        by_data_set.setdefault(data_set, []).append(table)
    return "\n".join(_format_board(data_set, tables, report.rule) for data_set, tables in by_data_set.items())


def write_boards(report: Report, folder: Path) -> list[Path]:
    """Write a file for each data set, with its legend. Each is there in full or not at all.

    Raises UsageError where that fails, with the files that were there unharmed.
    """
    names = file_names(board.data_set for board in report.boards)
    written = []
    for board in report.boards:
        path = Path(folder) / names[board.data_set]
        tables = [*board.tables, *(board.equal_compute or ())]
        page = f"{_format_board(board.data_set, tables, report.rule)}\n"
        page += write_legend(report.rule, bool(board.equal_compute), _absent_columns(board.tables))
        try:
            write_atomically(path, (say_labels_as_given(page) if _are_tests_as_given(tables) else page).encode())
        except OSError as error:
            raise UsageError(
                f"can't write the leaderboard {path}: {error.strerror}. The records are safe; make room or give "
                "another --boards, then: python -m bench report"
            ) from None
        written.append(path)
    return written


def _absent_columns(tables: Sequence[Table]) -> set[str]:
    """The keys of columns that few boards have, and that have nothing but dashes in these tables."""
    seldom = [column for column in BOARD if column.seldom]
    shown = {
        column.key for column in seldom for table in tables for row in table.rows if column.text(table, row) != DASH
    }
    return {column.key for column in seldom} - shown


def _format_board(data_set: str, tables: Sequence[Table], rule: SelectionRule) -> str:
    parts = [f"# {escape_markdown(data_set)}", write_introduction(rule), *map(_format_table, tables)]
    page = "\n\n".join(parts) + "\n"
    return say_labels_as_given(page) if _are_tests_as_given(tables) else page


def _are_tests_as_given(tables: Iterable[Table]) -> bool:
    return any(table.tests_as_given for table in tables)


def _format_table(table: Table) -> str:
    parts = [
        f"## {escape_markdown(table_title(table))}",
        "  \n".join(map(escape_markdown, table.description)),
        best_set_sentence(table),
    ]
    for section in table_sections(table):
        title = f"### {section.title}" if section.title else ""
        parts += [title, section.text, _section_table(table, section) if section.rows else _items(section.lines)]
    if labels := long_labels(table):
        parts.append(f"All parameters of rows whose name stands alone above:\n\n{_items(labels)}")
    if table.command:
        parts.append(f"Again, from nothing:\n\n{fence_code(table.command, 'sh')}")
    return "\n\n".join(part for part in parts if part)


def _section_table(table: Table, section: Section) -> str:
    """A table of the columns that have a Markdown title; optional ones only where a row has a cell but a dash."""
    columns = [
        column
        for column in section.columns
        if column.title and not (column.optional and all(column.text(table, row) == DASH for row in section.rows))
    ]
    body = []
    for row in section.rows:
        cells = [escape_markdown(column.text(table, row)) for column in columns]
        bold = [column.bold and section.best(row) for column in columns]
        body.append([f"**{cell}**" if strong else cell for cell, strong in zip(cells, bold, strict=True)])
    return markdown_table(
        [column.title for column in columns], body, left={column.title for column in columns if column.left}
    )


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape_markdown(line)}" for line in lines if line)


def escape_markdown(text: str) -> str:
    """Text that Markdown would take for a table's edge, a tag, a link, code or emphasis, made to stand for itself.

    In one line. Brackets alone stay as they are, since rows are full of them: only what follows makes them a link. A
    short hash between backticks, as descriptions have it, stays code.
    """
    line = " ".join(str(text).split()).replace("\\", "\\\\")
    return _ACTIVE.sub(lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", line)


def fence_code(code: str, language: str = "") -> str:
    """A block of code, between fences longer than any run of backticks in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", code)), 0)
    return f"{fence}{language}\n{code}\n{fence}"


def markdown_table(titles: Sequence[str], body: Sequence[Sequence[str]], left: Collection[str] = ()) -> str:
    """A Markdown table of cells that are escaped already; the titles in `left` head left-aligned columns."""
    sides = [title in left for title in titles]
    widths = [max(3, *(len(line[index]) for line in [titles, *body])) for index in range(len(titles))]
    rule = ["-" * width if side else "-" * (width - 1) + ":" for side, width in zip(sides, widths, strict=True)]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if side else cell.rjust(width)
            for side, cell, width in zip(sides, line, widths, strict=True)
        )
        + " |"
        for line in [titles, rule, *body]
    )
