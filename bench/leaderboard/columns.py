"""The columns of a board, for Markdown and terminal alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.leaderboard import formatting, ranking
from bench.leaderboard.model import ComputeChoice, EqualCompute, Row, Table
from bench.spec.privileges import describe_privilege
from bench.stats import summary

Cell = Callable[[Row], str]
WIDEST_LABEL = 60
"""Characters of a method and its parameters in a table's cell."""


@dataclass(frozen=True)
class Column:
    """A title, what stands in a row's cell, and how early it goes when a terminal is narrow (0: never)."""

    title: str
    cell: Cell
    goes: int = 0
    left: bool = False
    bold: bool = False


def table_columns(table: Table, informed: bool = False) -> list[Column]:
    """The columns of a table's ranked part, or of its informed part, which has no ranks."""

    def share(name: str) -> Cell:
        return lambda row: formatting.format_percent(row.means.get(name))

    first = [] if informed else [Column("#", rank_cell(table.rows))]
    first += (
        [Column("against shared-lr", format_move)]
        if any(ranking.moved_far(row) for row in table.rows) and not informed
        else []
    )
    return [
        *first,
        Column("method", lambda row: method_name(method_cell(row), row), left=True, bold=True),
        Column("accuracy", lambda row: formatting.format_mean_and_std(row.accuracy), bold=True),
        Column("95 % interval", lambda row: formatting.format_interval(row.accuracy), goes=5),
        Column("n", lambda row: str(len(row.accuracies)), goes=1),
        Column("to leader", difference_to_leader(table.leader), goes=3),
        Column(
            "best on test (oracle)",
            lambda row: formatting.format_percent(row.means.get("best_test"), formatting.row_decimals(row)),
            8,
        ),
        Column("gap", lambda row: formatting.format_percent(row.gap, formatting.row_decimals(row)), goes=2),
        Column("memorised", share("memorised"), goes=4),
        Column("learnt", share("learnt"), goes=10),
        Column("worst class", share("worst_class"), goes=9),
        Column("single nets", single_networks_cell, goes=11),
        Column("nets / views / units", effort_cell, goes=12),
        Column("s / run", lambda row: formatting.format_seconds(row.means.get("seconds")), goes=6),
        Column("told", privileges_cell, goes=7 if not informed else 0, left=True),
        Column("assumes", lambda row: format_words(row.assumes), goes=13, left=True),
    ]


def format_move(row: Row) -> str:
    """How far a row moved under the shared grid, if far."""
    return ranking.describe_move(row.moved) if row.moved is not None and ranking.moved_far(row) else formatting.DASH


def detection_columns(table: Table) -> list[Column]:
    """The columns of the table of who finds the wrong labels: those that any of its rows has something for."""
    ranks = [row.finder_rank for row in table.rows if row.finder_rank]

    def rank(row: Row) -> str:
        return (
            f"{row.finder_rank}{'=' if ranks.count(row.finder_rank) > 1 else ''}"
            if row.finder_rank
            else formatting.DASH
        )

    def share(name: str) -> Cell:
        return lambda row: formatting.format_percent(row.selector.get(name))

    shown = [
        Column("#", rank),
        Column("method", lambda row: method_name(row.name, row), left=True, bold=True),
        Column("AUROC", lambda row: formatting.format_mean_and_std(row.auroc), bold=True),
        Column("95 % interval", lambda row: formatting.format_interval(row.auroc), goes=3),
        Column("n", lambda row: str(len(row.aurocs)), goes=8),
        Column("average precision", share("average_precision"), goes=4),
        Column("AUROC in noisy classes", share("auroc_noisy_classes"), goes=5),
        Column("AP in noisy classes", share("average_precision_noisy_classes"), goes=9),
        Column("precision", share("precision"), goes=1),
        Column("recall", share("recall"), goes=1),
        Column("corrected", share("corrected"), goes=2),
        Column("damaged", share("damaged"), goes=2),
        Column("its own", detection_parts, goes=6, left=True),
        Column("told", privileges_cell, goes=7, left=True),
    ]
    always = ("#", "method", "AUROC")
    return [
        column
        for column in shown
        if column.title in always or any(column.cell(row) != formatting.DASH for row in table.finders)
    ]


def frontier_columns(table: Table) -> list[Column]:
    """The columns of the rows that no cheaper row matches."""
    cheaper = dict(zip([row.label for row in table.frontier[1:]], table.frontier, strict=False))

    def gain(row: Row) -> str:
        before = cheaper.get(row.label)
        pairs = [] if before is None else summary.paired_differences(row.accuracies, before.accuracies)
        return formatting.format_difference(summary.summarise(pairs)) if pairs else formatting.DASH

    shown = [
        Column("units", lambda row: formatting.format_number(row.means.get("units"))),
        Column("method", lambda row: method_name(row.name, row), left=True, bold=True),
        Column("accuracy", lambda row: formatting.format_mean_and_std(row.accuracy), bold=True),
        Column("over the row above", gain, goes=1),
        Column("forward + backward", passes_cell, goes=6),
        Column("TFLOP / run", lambda row: formatting.format_number(row.means.get("flops"), 1e12), goes=4),
        Column("s / run", lambda row: formatting.format_seconds(row.means.get("seconds")), goes=2),
        Column("images / s", lambda row: formatting.format_count(row.means.get("images_per_second")), goes=5),
        Column("MiB", lambda row: formatting.format_count(row.means.get("peak_memory_bytes"), 2**20), goes=3),
    ]
    always = ("units", "method", "accuracy", "over the row above", "s / run")
    return [
        column
        for column in shown
        if column.title in always or any(column.cell(row) != formatting.DASH for row in table.frontier)
    ]


def equal_columns(table: EqualCompute, informed: bool = False) -> list[Column]:
    """The columns of a table at equal compute."""

    def choice(row: Row) -> ComputeChoice:
        return table.choices[row.label]

    first = [] if informed else [Column("#", rank_cell(table.rows))]
    return [
        *first,
        Column("method", lambda row: method_name(method_cell(row), row), left=True, bold=True),
        Column("accuracy", lambda row: formatting.format_mean_and_std(row.accuracy), bold=True),
        Column("95 % interval", lambda row: formatting.format_interval(row.accuracy), goes=5),
        Column("n", lambda row: str(len(row.accuracies)), goes=7),
        Column("to leader", difference_to_leader(table.leader), goes=3),
        Column("epochs", lambda row: str(choice(row).epochs)),
        Column("members", lambda row: str(choice(row).members)),
        Column("units / run", lambda row: formatting.format_number(choice(row).units), goes=1),
        Column("unused", lambda row: formatting.format_percent(table.unused(row))),
        Column("noisy hold-out", lambda row: held_out_cell(choice(row)), goes=2),
        Column("tried", lambda row: str(choice(row).tried), goes=6),
        Column("search", lambda row: formatting.format_number(choice(row).search), goes=4),
        Column("told", privileges_cell, goes=8 if not informed else 0, left=True),
    ]


def excluded_columns() -> list[Column]:
    """The columns of the rows that can't be compared."""
    return [
        Column("method", lambda row: method_name(row.label, row), left=True),
        Column("accuracy", lambda row: formatting.format_mean_and_std(row.accuracy), goes=1),
        Column("n", lambda row: str(len(row.accuracies)), goes=2),
        Column("told", privileges_cell, goes=3, left=True),
        Column("why it stands here", lambda row: row.reason, left=True),
    ]


def rank_cell(rows: Sequence[Row]) -> Cell:
    """A row's rank, such as "2" or "2=" where it shares it; a dash for rows without one."""
    ranks = [row.rank for row in rows if row.rank]
    return lambda row: f"{row.rank}{'=' if ranks.count(row.rank) > 1 else ''}" if row.rank else formatting.DASH


def difference_to_leader(leader: str | None) -> Cell:
    """A row's paired difference to the leader."""
    return lambda row: "leader" if row.label == leader else formatting.format_difference(row.behind)


def held_out_cell(choice: ComputeChoice) -> str:
    """Accuracy on noisy held-out labels and its standard error, such as "58.4 ± 1.3"."""
    places = formatting.percent_decimals(choice.score.error)
    mean, error = choice.score.mean, choice.score.error
    return f"{formatting.format_percent(mean, places)} ± {formatting.format_percent(error, places)}"


def method_cell(row: Row) -> str:
    """The label, or the name alone where all parameters would make the column too wide; see `parameters_apart`."""
    return row.label if len(row.label) <= WIDEST_LABEL else row.name


def long_parameter_lists(table: Table | EqualCompute) -> list[str]:
    """The labels that the table's cells don't hold in full."""
    return [
        row.label for row in table.rows if not row.derived and row.standing != "apart" and method_cell(row) != row.label
    ]


def format_words(names: Sequence[str]) -> str:
    """Names with spaces in place of underscores, or a dash."""
    return ", ".join(name.replace("_", " ") for name in names) or formatting.DASH


def method_name(name: str, row: Row) -> str:
    """A row's name with the mark of a control."""
    return f"{name} (control)" if row.control else name


def privileges_cell(row: Row) -> str:
    """What a row was told beyond noisy labels, or a dash."""
    return ", ".join(map(describe_privilege, row.needs)) or formatting.DASH


def detection_parts(row: Row) -> str:
    """What of finding wrong labels is the method's own: its estimate, its kept set, its targets; or a dash."""
    own = {
        "estimate": row.selector.get("source") == "clean_probability",
        "set": row.selector.get("kept_source") == "selected",
        "targets": row.selector.get("corrected_source") == "soft_targets",
    }
    return ", ".join(name for name, is_own in own.items() if is_own) or formatting.DASH


def single_networks_cell(row: Row) -> str:
    """Accuracy of the single networks, and how far they lie apart in a run, such as "85.2 (1.3)"."""
    mean, spread = row.means.get("single_networks"), row.means.get("network_spread")
    return (
        formatting.DASH if mean is None else f"{formatting.format_percent(mean)} ({formatting.format_percent(spread)})"
    )


def passes_cell(row: Row) -> str:
    """Forward and backward passes of an image and epoch, such as "6 + 2"."""
    forward, backward = row.means.get("forward"), row.means.get("backward")
    if forward is None or backward is None:
        return formatting.DASH
    return f"{formatting.format_number(forward)} + {formatting.format_number(backward)}"


def effort_cell(row: Row) -> str:
    """Networks, views, and forward/backward units of an image and epoch, such as "2 / 2 / 12"."""
    parts = [row.means.get(name) for name in ("networks", "views", "units")]
    if all(value is None for value in parts):
        return formatting.DASH
    return " / ".join(map(formatting.format_number, parts))
