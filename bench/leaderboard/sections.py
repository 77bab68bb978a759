"""The sections of a table, as Markdown and terminal draw them; `table_sections` decides which there are.

A `Section` has a title and either columns with rows or lines of text; the renderers draw it and decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from bench.leaderboard.cells import CONTROL, STAR
from bench.leaderboard.columns import BOARD, Column
from bench.leaderboard.detail_columns import COSTS, DETECTION, EQUAL_COMPUTE, EXCLUDED
from bench.leaderboard.formatting import format_mean_and_std
from bench.leaderboard.model import EqualComputeTable, Report, Row, Table
from bench.stats.summary import LEAST_REPLICATES

HASH_DIGITS = 12


class Section(NamedTuple):
    """One section: a table of rows, a paragraph or a list of lines, under a title."""

    title: str = ""
    short_title: str = ""
    """In a terminal."""
    columns: Sequence[Column] = ()
    rows: Sequence[Row] = ()
    best: Callable[[Row], bool] = attrgetter("may_be_best")
    """Whether a row stands out."""
    text: str = ""
    lines: Sequence[str] = ()
    short_lines: Sequence[str] | None = None
    """A terminal's lines in place of rows or lines; None: the same as in Markdown."""


def selected_tables(report: Report, setting_ids: Collection[str] | None) -> Iterator[tuple[str, Table]]:
    """(data set, table) of the settings in `setting_ids` (None: all); tables at equal compute last."""
    for board in report.boards:
        for table in (*board.tables, *(board.equal_compute or ())):
            if setting_ids is None or table.setting_id in setting_ids:
                yield board.data_set, table


def table_title(table: Table) -> str:
    """The heading, with the kind of table in front of it."""
    return f"At equal compute: {table.heading}" if isinstance(table, EqualComputeTable) else table.heading


def best_set_sentence(table: Table) -> str:
    """The number of rows that may be the best; an empty text where that can't be said."""
    ranked = table.rows_with("ranked")
    if table.best_set is None:
        if len(ranked) < 2 or len(table.replicates) < LEAST_REPLICATES:
            return ""
        return "Which row may be the best can't be said."
    size = len(table.best_set)
    rows = "1 row stands out as the best" if size == 1 else f"{size} rows may be the best"
    return f"**{rows}**, of {len(ranked)} ranked ones over {len(table.replicates)} replicates (in bold)."


def short_introduction(table: Table) -> list[str]:
    """The lines between title and rows in a terminal: of a main table how to read its marks, else the description."""
    sentence = best_set_sentence(table).replace("**", "")
    if isinstance(table, EqualComputeTable):
        return [*table.description, sentence]
    controls = any(row.control for row in table.rows_with("ranked", "reference", "privileged"))
    legend = f"{CONTROL}: a control." if controls else ""
    return [f"{sentence.replace('(in bold)', f'({STAR})')} {legend}".strip()]


def table_sections(table: Table) -> Iterator[Section]:
    """The sections below a table's introduction, in order; none is empty but for the last, the notes."""
    equal = isinstance(table, EqualComputeTable)
    columns = EQUAL_COMPUTE if equal else BOARD
    if rows := table.rows_with("ranked", "reference"):
        yield Section(columns=columns, rows=rows)
    else:
        yield Section(text="No row to rank." if equal else "No complete row yet.")
    if rows := table.rows_with("privileged"):
        unranked = [replace(column, drop=0 if column.key == "needs" else column.drop) for column in columns[1:]]
        yield Section("Told more than the noisy labels", "Told more than the noisy labels, not ranked:", unranked, rows)
    if not equal:
        yield from _detail_sections(table)
    left_out = [f"{entry['method']}: {entry['reason']}" for entry in table.left_out]
    notes = [*table.identical, *table.caveats]
    if left_out:
        yield Section("Left out", "Left out:", lines=left_out, short_lines=() if equal else left_out)
    short_left_out = [f"left out: {line}" for line in left_out if equal]
    yield Section(lines=[*notes, *_hashes(table)], short_lines=[*short_left_out, *notes])


def _detail_sections(table: Table) -> Iterator[Section]:
    """Noise detection, costs, and the rows that can't be compared."""
    if rows := table.detection_rows:
        title = "Who finds the wrong labels"
        yield Section(title, f"{title}, at the last epoch:", DETECTION, rows, attrgetter("may_detect_best"))
    if len(rows := table.frontier) > 1:
        title = "What accuracy costs"
        yield Section(title, f"{title}; no cheaper row is as good as one of these:", COSTS, rows)
    if rows := table.rows_with("excluded"):
        lines = [f"{row.label}{_known_accuracy(row)}: {row.reason}" for row in rows]
        yield Section("Not compared", "Not compared:", EXCLUDED, rows, short_lines=lines)


def _known_accuracy(row: Row) -> str:
    return "" if row.accuracy is None else f" ({format_mean_and_std(row.accuracy)}, n = {row.accuracy.n})"


def _hashes(table: Table) -> list[str]:
    """The hashes of the noisy labels by replicate, in a sentence; empty where none is known."""
    if not table.labels_sha256:
        return []
    one_seed = all(seeds.noise_seed == seeds.split_seed == seeds.seed for seeds in table.labels_sha256)
    parts = [
        f"{seeds.noise_seed if one_seed else seeds} `{sha[:HASH_DIGITS]}`" for seeds, sha in table.labels_sha256.items()
    ]
    by = "noise seed" if one_seed else "replicate"
    return [f"Labels (SHA-256, by {by}): {(', ' if one_seed else '; ').join(parts)}"]
