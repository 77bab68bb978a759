"""The columns of the tables beside the main one: noise detection, costs, rows at equal compute, excluded rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.leaderboard import cells
from bench.leaderboard.cells import Cell, compute_choice
from bench.leaderboard.columns import (
    ACCURACY,
    BOARD,
    DIFFERENCE,
    INTERVAL,
    METHOD,
    PRIVILEGES,
    RANK,
    REPLICATES,
    SECONDS,
    Column,
    interval_value,
)
from bench.leaderboard.formatting import (
    format_count,
    format_interval,
    format_mean_and_std,
    format_number,
    format_percent,
)
from bench.leaderboard.measurements import measure, provenance, run_operations
from bench.leaderboard.model import ComputeChoice

NAME = replace(METHOD, cell=cells.name_cell, short=None, short_cell=None, explained="")

DETECTION: Sequence[Column] = (
    Column("selector.rank", "#", cells.detection_rank_cell, value=lambda row: row.detection_rank),
    NAME,
    Column(
        "selector.auroc",
        "AUROC",
        lambda _, row: format_mean_and_std(row.auroc),
        read=measure("selector", "auroc"),
        bold=True,
        explained="- **AUROC** is the chance that a wrong label looks more suspicious than a right one (50: a coin's), "
        "by the method's own probability that a label is right (*estimate*), or else by the loss. It ranks; bold as "
        "above.",
    ),
    Column(
        "selector.interval",
        "95 % interval",
        lambda _, row: format_interval(row.auroc),
        value=lambda row: interval_value(row.auroc),
        optional=True,
        drop=3,
    ),
    Column(
        "selector.n",
        "n",
        lambda _, row: str(len(row.aurocs)),
        value=lambda row: len(row.aurocs),
        optional=True,
        drop=8,
    ),
    Column(
        "selector.average_precision",
        "average precision",
        read=measure("selector", "average_precision"),
        optional=True,
        drop=4,
        explained="**average precision** is that of finding the wrong labels from the most suspicious down.",
    ),
    Column(
        "selector.auroc_noisy_classes",
        "AUROC in noisy classes",
        read=measure("selector", "auroc_noisy_classes"),
        optional=True,
        drop=5,
        explained="**in noisy classes** leaves out samples whose given label is a class that neither gives nor gets "
        "wrong labels.",
    ),
    Column(
        "selector.average_precision_noisy_classes",
        "AP in noisy classes",
        read=measure("selector", "average_precision_noisy_classes"),
        optional=True,
        drop=9,
    ),
    Column(
        "selector.precision",
        "precision",
        read=measure("selector", "precision"),
        optional=True,
        drop=1,
        explained="- **precision** is the share of kept samples whose label is right,",
    ),
    Column(
        "selector.recall",
        "recall",
        read=measure("selector", "recall"),
        optional=True,
        drop=1,
        explained="**recall** the share of right labels that are kept: of the method's own *set*, or else of as many "
        "least suspicious samples as there are right labels (then both are equal).",
    ),
    Column(
        "selector.corrected",
        "corrected",
        read=measure("selector", "corrected"),
        optional=True,
        drop=2,
        explained="- **corrected** is the share of wrong labels that the method's soft targets (*targets*), or else "
        "its prediction, put right;",
    ),
    Column(
        "selector.damaged",
        "damaged",
        read=measure("selector", "damaged"),
        optional=True,
        drop=2,
        explained="**damaged** the share of right labels that they put wrong.",
    ),
    Column("selector.source", "its own", cells.detection_source_cell, left=True, optional=True, drop=6),
    replace(PRIVILEGES, optional=True, drop=7, explained=""),
    Column("selector.kept_source"),
    Column("selector.corrected_source"),
    Column("selector.std", value=lambda row: None if row.auroc is None else row.auroc.std),
    Column("selector.may_be_best", value=lambda row: row.may_detect_best),
)

COSTS: Sequence[Column] = (
    Column("units", "units", lambda _, row: format_number(row.means.get("units"))),
    NAME,
    replace(ACCURACY, explained=""),
    # a difference between rows of this table, which has no place in a row's JSON
    Column(
        "",
        "over the row above",
        cells.gain_cell,
        drop=1,
        explained="**over the row above** is the\npaired difference with its interval.",
    ),
    Column(
        "forward",
        "forward + backward",
        cells.passes_cell,
        read=measure("forward_per_sample_epoch"),
        of_run=True,
        optional=True,
        drop=6,
        explained="**forward + backward** splits the units into passes;",
    ),
    Column(
        "flops",
        "TFLOP / run",
        lambda _, row: format_number(row.means.get("flops"), 1e12),
        read=run_operations,
        of_run=True,
        optional=True,
        drop=4,
        explained="**TFLOP / run** is\n10^12 operations in matrix products over a whole run's training.",
    ),
    replace(SECONDS, short=None, drop=2, explained=""),
    Column(
        "images_per_second",
        "images / s",
        lambda _, row: format_count(row.means.get("images_per_second")),
        read=provenance("images_per_second"),
        of_run=True,
        optional=True,
        drop=5,
        explained="Of the machine that ran it, **images / s** are the\ntraining set's images that went by in a second "
        "of training,",
    ),
    Column(
        "peak_memory_bytes",
        "MiB",
        lambda _, row: format_count(row.means.get("peak_memory_bytes"), 2**20),
        read=provenance("peak_memory_bytes"),
        of_run=True,
        optional=True,
        drop=3,
        explained="and **MiB** is the most memory that a run took: on a card\nits tensors, else the whole process, "
        "which may have had other runs before.",
    ),
    Column("backward", read=measure("backward_per_sample_epoch"), of_run=True),
    Column("flops_forward", read=measure("flops_forward"), of_run=True),
    Column("flops_forward_backward", read=measure("flops_forward_backward"), of_run=True),
)


def _of_choice(
    key: str,
    title: str,
    value: Callable[[ComputeChoice], float],
    form: Callable[[float], str] = str,
    cell: Cell | None = None,
    drop: int = 0,
) -> Column:
    """A column of what was chosen for a row at equal compute."""
    return Column(
        key,
        title,
        cell or (lambda _, row: form(value(compute_choice(row)))),
        value=lambda row: value(compute_choice(row)),
        drop=drop,
    )


EQUAL_COMPUTE: Sequence[Column] = (
    RANK,
    replace(METHOD, short=None, short_cell=None),
    ACCURACY,
    replace(INTERVAL, short=None, drop=5),
    replace(REPLICATES, drop=7),
    replace(DIFFERENCE, drop=3),
    _of_choice("epochs", "epochs", lambda choice: choice.epochs),
    _of_choice("members", "members", lambda choice: choice.members),
    _of_choice("run_units", "units / run", lambda choice: choice.units, format_number, drop=1),
    _of_choice("allowance", "", lambda choice: choice.allowance),
    _of_choice("unused", "unused", lambda choice: choice.unused, format_percent),
    _of_choice("noisy_holdout", "noisy hold-out", lambda choice: choice.score.mean, cell=cells.held_out_cell, drop=2),
    _of_choice("noisy_holdout_error", "", lambda choice: choice.score.error),
    _of_choice("noisy_holdout_labels", "", lambda choice: choice.score.labels),
    _of_choice("tried", "tried", lambda choice: choice.tried, drop=6),
    _of_choice("beyond_allowance", "", lambda choice: choice.beyond),
    _of_choice("unfinished", "", lambda choice: choice.unfinished),
    _of_choice("search_units", "search", lambda choice: choice.search, format_number, drop=4),
    replace(PRIVILEGES, drop=8),
)

EXCLUDED: Sequence[Column] = (
    replace(METHOD, cell=cells.full_label_cell, bold=False),
    replace(ACCURACY, bold=False),
    REPLICATES,
    PRIVILEGES,
    Column("reason", "why it stands here", lambda _, row: row.reason, value=lambda row: row.reason or None, left=True),
)

ROW_COLUMNS: Sequence[Column] = (*BOARD, *DETECTION, *COSTS, *EXCLUDED)
"""The columns whose values every row has."""
