"""The columns of the tables beside the main one: noise detection, costs, rows at equal compute, excluded rows.

A list a table, with entries as in `bench.leaderboard.columns`: `DETECTION`, `COSTS`, `EQUAL_COMPUTE`, `EXCLUDED`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bench.leaderboard import cells, columns
from bench.leaderboard.cells import compute_choice
from bench.leaderboard.columns import ACCURACY, METHOD, PRIVILEGES, REPLICATES, SECONDS, Column
from bench.leaderboard.formatting import format_count, format_interval, format_mean_and_std, format_number
from bench.leaderboard.measurements import measure, provenance, run_operations
from bench.leaderboard.model import ComputeChoice

NAME = replace(METHOD, cell=lambda _, row: cells.mark_control(row.name, row), short=None, short_cell=None, explained="")


def _detection(measured: str, title: str, drop: int = 0) -> Column:
    """A column of one measure of noise detection, in percent."""
    read = measure("selector", measured)
    return Column(f"selector.{measured}", title, read=read, optional=True, drop=drop)


DETECTION: Sequence[Column] = (
    Column("selector.rank", "#", cells.rank_cell("detection_rank"), value=lambda row: row.detection_rank),
    NAME,
    replace(_detection("auroc", "AUROC"), cell=lambda _, row: format_mean_and_std(row.auroc), bold=True).explain(
        "- **AUROC** is the chance that a wrong label looks more suspicious than a right one (50: a coin's), "
        "by the method's own probability that a label is right (*estimate*), or else by the loss. It ranks; bold as "
        "above."
    ),
    Column(
        "selector.interval",
        "95 % interval",
        lambda _, row: format_interval(row.auroc),
        value=lambda row: columns.interval_value(row.auroc),
        optional=True,
        drop=3,
    ),
    Column("selector.n", "n", form=str, value=lambda row: len(row.aurocs), optional=True, drop=8),
    _detection("average_precision", "average precision", drop=4).explain(
        "**average precision** is that of finding the wrong labels from the most suspicious down."
    ),
    _detection("auroc_noisy_classes", "AUROC in noisy classes", drop=5).explain(
        "**in noisy classes** leaves out samples whose given label is a class that neither gives nor gets wrong labels."
    ),
    _detection("average_precision_noisy_classes", "AP in noisy classes", drop=9),
    _detection("precision", "precision", drop=1).explain(
        "- **precision** is the share of kept samples whose label is right,"
    ),
    _detection("recall", "recall", drop=1).explain(
        "**recall** the share of right labels that are kept: of the method's own *set*, or else of as many "
        "least suspicious samples as there are right labels (then both are equal)."
    ),
    _detection("corrected", "corrected", drop=2).explain(
        "- **corrected** is the share of wrong labels that the method's soft targets (*targets*), or else "
        "its prediction, put right;"
    ),
    _detection("damaged", "damaged", drop=2).explain("**damaged** the share of right labels that they put wrong."),
    Column("selector.source", "its own", cells.detection_source_cell, left=True, optional=True, drop=6),
    replace(PRIVILEGES, optional=True, drop=7, explained=""),
    Column("selector.kept_source"),
    Column("selector.corrected_source"),
    Column("selector.std", value=lambda row: None if row.auroc is None else row.auroc.std),
    Column("selector.may_be_best", value=lambda row: row.may_detect_best),
)


def _cost(key: str, title: str, cell: cells.Cell | None = None, **style: Any) -> Column:
    """A column of what a run takes, the same whichever epoch is chosen."""
    return Column(key, title, cell, of_run=True, optional=True, **style)


COSTS: Sequence[Column] = (
    Column("units", "units", form=format_number),
    NAME,
    replace(ACCURACY, explained=""),
    # a difference between rows of this table, which has no place in a row's JSON
    Column("", "over the row above", cells.gain_cell, drop=1).explain(
        "**over the row above** is the\npaired difference with its interval."
    ),
    _cost("forward", "forward + backward", cells.passes_cell, read=measure("forward_per_sample_epoch"), drop=6).explain(
        "**forward + backward** splits the units into passes;"
    ),
    _cost("flops", "TFLOP / run", form=lambda value: format_number(value, 1e12), read=run_operations, drop=4).explain(
        "**TFLOP / run** is\n10^12 operations in matrix products over a whole run's training."
    ),
    replace(SECONDS, short=None, drop=2, explained=""),
    _cost("images_per_second", "images / s", form=format_count, read=provenance("images_per_second"), drop=5).explain(
        "Of the machine that ran it, **images / s** are the\ntraining set's images that went by in a second "
        "of training,"
    ),
    _cost(
        "peak_memory_bytes",
        "MiB",
        form=lambda value: format_count(value, 2**20),
        read=provenance("peak_memory_bytes"),
        drop=3,
    ).explain(
        "and **MiB** is the most memory that a run took: on a card\nits tensors, else the whole process, "
        "which may have had other runs before."
    ),
    Column("backward", read=measure("backward_per_sample_epoch"), of_run=True),
    Column("flops_forward", read=measure("flops_forward"), of_run=True),
    Column("flops_forward_backward", read=measure("flops_forward_backward"), of_run=True),
)


def _of_choice(key: str, title: str, value: Callable[[ComputeChoice], float], **style: Any) -> Column:
    """A column of what was chosen for a row at equal compute."""
    return Column(key, title, value=lambda row: value(compute_choice(row)), **style)


EQUAL_COMPUTE: Sequence[Column] = (
    columns.RANK,
    replace(METHOD, short=None, short_cell=None),
    ACCURACY,
    replace(columns.INTERVAL, short=None, drop=5),
    replace(REPLICATES, drop=7),
    replace(columns.DIFFERENCE, drop=3),
    _of_choice("epochs", "epochs", lambda choice: choice.epochs, form=str),
    _of_choice("members", "members", lambda choice: choice.members, form=str),
    _of_choice("run_units", "units / run", lambda choice: choice.units, form=format_number, drop=1),
    _of_choice("allowance", "", lambda choice: choice.allowance),
    _of_choice("unused", "unused", lambda choice: choice.unused),
    _of_choice("noisy_holdout", "noisy hold-out", lambda choice: choice.score.mean, cell=cells.held_out_cell, drop=2),
    _of_choice("noisy_holdout_error", "", lambda choice: choice.score.error),
    _of_choice("noisy_holdout_labels", "", lambda choice: choice.score.labels),
    _of_choice("tried", "tried", lambda choice: choice.tried, form=str, drop=6),
    _of_choice("beyond_allowance", "", lambda choice: choice.beyond),
    _of_choice("unfinished", "", lambda choice: choice.unfinished),
    _of_choice("search_units", "search", lambda choice: choice.search, form=format_number, drop=4),
    replace(PRIVILEGES, drop=8),
)

EXCLUDED: Sequence[Column] = (
    replace(METHOD, cell=lambda _, row: cells.mark_control(row.label, row), bold=False),
    replace(ACCURACY, bold=False),
    REPLICATES,
    PRIVILEGES,
    Column("reason", "why it stands here", lambda _, row: row.reason, value=lambda row: row.reason or None, left=True),
)

ROW_COLUMNS: Sequence[Column] = (*columns.BOARD, *DETECTION, *COSTS, *EXCLUDED)
"""The columns whose values every row has."""
