"""Tables for a terminal: as many columns as fit its width, the most needed ones first."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Collection, Sequence

from bench.leaderboard.columns import Column, apart_columns, columns
from bench.leaderboard.markdown import best_set_sentence
from bench.leaderboard.model import Report, Row, Table

GAP = "  "
NARROWEST = 40


def as_text(report: Report, asked: Collection[str] | None = None, width: int | None = None) -> str:
    """The tables of the settings in `asked` (ids; None: all) in at most `width` columns (None: the terminal's).

    A star stands before rows that may be the best. Cells are never cut: a table whose columns that may go have all
    gone, and that still doesn't fit, is wider.
    """
    width = max(NARROWEST, shutil.get_terminal_size().columns if width is None else width)
    parts = [f"Ranked by {report.rule.words}."]
    parts += [
        _table(board.data_set, table, width)
        for board in report.boards
        for table in board.tables
        if asked is None or table.setting_id in asked
    ]
    return "\n\n".join(parts) + "\n"


def _table(data_set: str, table: Table, width: int) -> str:
    lines = [f"{data_set} · {table.heading}"]
    sentence = best_set_sentence(table).replace("**", "").replace("(in bold)", "(*)")
    lines += [*textwrap.wrap(sentence, width), ""]
    plain = table.standing("ranked", "yardstick")
    lines += _grid(columns(table, short_names=True), plain, width) if plain else ["No complete row yet."]
    informed, apart = table.standing("informed"), table.standing("apart")
    if informed:
        lines += ["", "Told more than the noisy labels, not ranked:"]
        lines += _grid(columns(table, informed=True, short_names=True), informed, width)
    if apart:
        lines += ["", "Not compared:"]
        shown = [column for column in apart_columns() if column.title != "why it stands here"]
        for line, row in zip(_grid(shown, apart, width)[1:], apart, strict=True):
            lines += [line, *_wrapped(row.reason, width)]
    if table.left_out:
        lines += ["", "Left out:"]
        for each in table.left_out:
            lines += _wrapped(f"{each['method']}: {each['reason']}", width)
    notes = [*table.same, *table.caveats]
    if notes:
        lines.append("")
        for note in notes:
            lines += _wrapped(note, width)
    return "\n".join(line.rstrip() for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=GAP, subsequent_indent=GAP * 2)


def _grid(shown: Sequence[Column], rows: Sequence[Row], width: int) -> list[str]:
    """Header and rows, after the columns that go first have gone until the rest fits."""
    kept = [column for column in shown if any(column.cell(row) not in ("–", "") for row in rows)]
    while True:
        cells = [[column.title for column in kept]]
        for row in rows:
            star = "* " if row.may_be_best else "  "
            cells.append([(star if column.title == "method" else "") + column.cell(row) for column in kept])
        cells[0] = [("  " if column.title == "method" else "") + column.title for column in kept]
        widths = [max(len(line[index]) for line in cells) for index in range(len(kept))]
        going = max(kept, key=lambda column: column.goes)
        if sum(widths) + len(GAP) * (len(kept) - 1) <= width or not going.goes:
            break
        kept.remove(going)
    return [
        GAP.join(
            cell.ljust(size) if column.left else cell.rjust(size)
            for column, cell, size in zip(kept, line, widths, strict=True)
        )
        for line in cells
    ]
