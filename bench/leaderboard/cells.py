"""Texts in the cells of a table that take more than formatting one number. A cell is a function of table and row.

The functions stand in the order of the board's columns, which `bench.leaderboard.columns` lists.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.leaderboard.formatting import (
    DASH,
    format_difference,
    format_number,
    format_percent,
    percent_decimals,
    row_decimals,
)
from bench.leaderboard.model import ComputeChoice, Row, Table
from bench.spec.privileges import describe_privilege
from bench.stats.summary import paired_differences, summarise

Cell = Callable[[Table, Row], str]

STAR = "*"
"""Marks rows that may be the best in a terminal."""
CONTROL = "†"
"""Marks controls in a terminal."""
WIDEST_LABEL = 60
"""Characters of a method and its parameters in a table's cell."""


def rank_cell(name: str) -> Cell:
    """The rank of this name, such as "2" or "2=" where rows share it; a dash for rows without one."""

    def cell(table: Table, row: Row) -> str:
        rank, ranks = getattr(row, name), [getattr(other, name) for other in table.rows]
        return DASH if rank is None else f"{rank}{'=' if ranks.count(rank) > 1 else ''}"

    return cell


def move_cell(table: Table, row: Row) -> str:
    """The move under the shared grid, if far: "up 5", "down 4"; else a dash."""
    return describe_move(row) if row.moved_far else DASH


def describe_move(row: Row) -> str:
    """ "up 5", "down 4"."""
    moved = row.moved or 0
    return f"{'up' if moved > 0 else 'down'} {abs(moved)}"


def method_label(row: Row) -> str:
    """The label, or the name alone where all parameters would make the column too wide."""
    return row.label if len(row.label) <= WIDEST_LABEL else row.name


def long_labels(table: Table) -> list[str]:
    """The labels that the table's cells don't hold in full."""
    rows = [row for row in table.rows if not row.derived and row.status != "excluded"]
    return [row.label for row in rows if method_label(row) != row.label]


def starred_name_cell(table: Table, row: Row) -> str:
    """The name as a terminal marks it: a star before rows that may be the best, a sign behind controls."""
    return f"{STAR if row.may_be_best else ' '} {row.name}{f' {CONTROL}' * row.control}"


def mark_control(name: str, row: Row) -> str:
    """A row's name, with the mark of a control."""
    return f"{name} (control)" if row.control else name


def difference_cell(table: Table, row: Row) -> str:
    """The paired difference to the leader."""
    return "leader" if row.label == table.leader else format_difference(row.difference_to_leader)


def gain_cell(table: Table, row: Row) -> str:
    """The paired difference to the next cheaper row of the frontier; a dash for the cheapest."""
    frontier = table.frontier
    place = frontier.index(row)
    pairs = paired_differences(row.accuracies, frontier[place - 1].accuracies) if place else []
    return format_difference(summarise(pairs)) if pairs else DASH


def audited_cell(table: Table, row: Row) -> str:
    """Accuracy by audited test labels where the table shows it; else a dash."""
    return format_percent(row.means.get("audited"), row_decimals(row)) if table.audited else DASH


def single_networks_cell(table: Table, row: Row) -> str:
    """Accuracy of the single networks and their spread within a run, such as "85.2 (1.3)"."""
    mean, spread = row.means.get("single_networks"), row.means.get("network_spread")
    return DASH if mean is None else f"{format_percent(mean)} ({format_percent(spread)})"


def effort_cell(table: Table, row: Row) -> str:
    """Networks, views, and forward/backward units of an image and epoch, such as "2 / 2 / 12"."""
    parts = [row.means.get(name) for name in ("networks", "views", "units")]
    return DASH if all(value is None for value in parts) else " / ".join(map(format_number, parts))


def passes_cell(table: Table, row: Row) -> str:
    """Forward and backward passes of an image and epoch, such as "6 + 2"."""
    forward, backward = row.means.get("forward"), row.means.get("backward")
    if forward is None or backward is None:
        return DASH
    return f"{format_number(forward)} + {format_number(backward)}"


def privileges_cell(table: Table, row: Row) -> str:
    """The privileges in words, or a dash."""
    return ", ".join(map(describe_privilege, row.needs)) or DASH


def assumptions_cell(table: Table, row: Row) -> str:
    """The assumptions in words, or a dash."""
    return ", ".join(name.replace("_", " ") for name in row.assumes) or DASH


def detection_source_cell(table: Table, row: Row) -> str:
    """The parts of noise detection that the method gives itself: its estimate, its kept set, its targets; or a dash."""
    sources = {
        "estimate": row.selector.get("source") == "clean_probability",
        "set": row.selector.get("kept_source") == "selected",
        "targets": row.selector.get("corrected_source") == "soft_targets",
    }
    return ", ".join(name for name, by_method in sources.items() if by_method) or DASH


def held_out_cell(table: Table, row: Row) -> str:
    """Accuracy on noisy held-out labels and its standard error, such as "58.4 ± 1.3"."""
    score = compute_choice(row).score
    decimals = percent_decimals(score.error)
    return f"{format_percent(score.mean, decimals)} ± {format_percent(score.error, decimals)}"


def compute_choice(row: Row) -> ComputeChoice:
    """The choice of a row of a table at equal compute; TypeError for rows of other tables."""
    if row.choice is None:
        raise TypeError(f"{row.label} is no row of a table at equal compute")
    return row.choice
