"""Boards as Markdown, padded so that the raw text reads as a table too."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from bench.leaderboard.columns import (
    Column,
    detection_columns,
    equal_columns,
    excluded_columns,
    frontier_columns,
    long_parameter_lists,
    table_columns,
)
from bench.leaderboard.model import Board, EqualCompute, Report, Row, Table
from bench.leaderboard.render.legend import write_introduction, write_legend
from bench.leaderboard.selection import SelectionRule
from bench.stats.summary import LEAST_REPLICATES

HASH_DIGITS = 12
DETECTION = "Who finds the wrong labels"
COSTS = "What accuracy costs"
EQUAL = "At equal compute"
LONG_PARAMETERS = "All parameters of rows whose name stands alone above:\n\n"


def report_as_markdown(report: Report, asked: Collection[str] | None = None) -> str:
    """The tables of the settings in `asked` (ids; None: all), without the legend that each file ends with."""
    parts = []
    for board in report.boards:
        tables = [table for table in board.tables if asked is None or table.setting_id in asked]
        if tables:
            equal = tuple(table for table in board.equal_compute or () if asked is None or table.setting_id in asked)
            parts.append(_board(Board(board.data_set, tuple(tables), equal), report.rule))
    return "\n".join(parts)


def board_file(board: Board, rule: SelectionRule) -> str:
    """The whole file of a data set."""
    return _board(board, rule) + "\n" + write_legend(rule, bool(board.equal_compute))


def _board(board: Board, rule: SelectionRule) -> str:
    parts = [f"# {escape_markdown(board.data_set)}", write_introduction(rule)]
    parts += [_table(table) for table in board.tables]
    parts += [_equal(table) for table in board.equal_compute or ()]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    parts = [f"## {escape_markdown(table.heading)}", "  \n".join(escape_markdown(line) for line in table.description)]
    plain, informed, apart = (
        table.standing("ranked", "yardstick"),
        table.standing("informed"),
        table.standing("apart"),
    )
    if plain:
        parts += [best_set_sentence(table), _columns_table(table_columns(table), plain)]
    else:
        parts.append("No complete row yet.")
    if informed:
        parts += ["### Told more than the noisy labels", _columns_table(table_columns(table, informed=True), informed)]
    if table.finders:
        parts += [
            f"### {DETECTION}",
            _columns_table(detection_columns(table), table.finders, lambda row: row.may_find_best),
        ]
    if len(table.frontier) > 1:
        parts += [f"### {COSTS}", _columns_table(frontier_columns(table), table.frontier)]
    if apart:
        parts += ["### Not compared", _columns_table(excluded_columns(), apart)]
    if table.left_out:
        parts += [
            "### Left out",
            "\n".join(_item(f"{each['method']}: {each['reason']}") for each in table.left_out),
        ]
    notes = [*table.same, *table.caveats, hashes_sentence(table)]
    parts.append("\n".join(_item(note) for note in notes if note))
    if long := long_parameter_lists(table):
        parts.append(LONG_PARAMETERS + "\n".join(_item(label) for label in long))
    if table.command:
        parts.append(f"Again, from nothing:\n\n```sh\n{table.command}\n```")
    return "\n\n".join(part for part in parts if part)


def _equal(table: EqualCompute) -> str:
    """A table at equal compute."""
    parts = [
        f"## {EQUAL}: {escape_markdown(table.heading)}",
        "  \n".join(escape_markdown(line) for line in table.description),
    ]
    ranked, informed = table.standing("ranked"), table.standing("informed")
    parts += [best_set_sentence(table), _columns_table(equal_columns(table), ranked)] if ranked else ["No row to rank."]
    if informed:
        parts += ["### Told more than the noisy labels", _columns_table(equal_columns(table, informed=True), informed)]
    if table.left_out:
        parts += ["### Left out", "\n".join(_item(f"{each['method']}: {each['reason']}") for each in table.left_out)]
    parts += ["\n".join(_item(note) for note in table.notes)]
    if long := long_parameter_lists(table):
        parts.append(LONG_PARAMETERS + "\n".join(_item(label) for label in long))
    if table.command:
        parts.append(f"Again, from nothing:\n\n```sh\n{table.command}\n```")
    return "\n\n".join(part for part in parts if part)


def best_set_sentence(table: Table | EqualCompute) -> str:
    """How many rows may be the best; an empty text where that can't be said."""
    ranked = table.standing("ranked")
    if table.best_set is None:
        if len(ranked) < 2 or len(table.replicates) < LEAST_REPLICATES:
            return ""
        return "Which row may be the best can't be said."
    size = len(table.best_set)
    which = "1 row stands out as the best" if size == 1 else f"{size} rows may be the best"
    return f"**{which}**, of {len(ranked)} ranked ones over {len(table.replicates)} replicates (in bold)."


def hashes_sentence(table: Table) -> str:
    """The noisy labels' hashes by replicate."""
    if not table.labels_sha256:
        return ""
    single = all(each.noise_seed == each.split_seed == each.seed for each in table.labels_sha256)
    said = [f"{each.noise_seed if single else each} `{sha[:HASH_DIGITS]}`" for each, sha in table.labels_sha256.items()]
    return f"Labels (SHA-256, by {'noise seed' if single else 'replicate'}): " + (", " if single else "; ").join(said)


def escape_markdown(text: str) -> str:
    """Text that Markdown would take for a table's edge, a tag or emphasis, made to stand for itself; in one line."""
    line = " ".join(str(text).split()).replace("\\", "\\\\")
    return re.sub(r"[|<*]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", line)


def _item(text: str) -> str:
    return f"- {text if text.startswith('Labels (') else escape_markdown(text)}"


def best_by_accuracy(row: Row) -> bool:
    """Whether a row may be the best of the board."""
    return row.may_be_best


def _columns_table(
    shown: Sequence[Column], rows: Sequence[Row], may_be_best: Callable[[Row], bool] = best_by_accuracy
) -> str:
    body = [
        [f"**{cell}**" if column.bold and may_be_best(row) else cell for column, cell in zip(shown, cells, strict=True)]
        for row, cells in ((row, [escape_markdown(column.cell(row)) for column in shown]) for row in rows)
    ]
    left = {column.title for column in shown if column.left}
    return markdown_table([column.title for column in shown], body, left)


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
