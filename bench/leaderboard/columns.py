"""The columns of a board, for Markdown and terminal alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.leaderboard import moves, numbers, stats
from bench.leaderboard.model import Choice, EqualCompute, Row, Table
from bench.privileges import in_words

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


def columns(table: Table, informed: bool = False) -> list[Column]:
    """The columns of a table's ranked part, or of its informed part, which has no ranks."""

    def share(name: str) -> Cell:
        return lambda row: numbers.percent(row.means.get(name))

    first = [] if informed else [Column("#", rank_among(table.rows))]
    first += [Column("against shared-lr", moved)] if any(moves.far(row) for row in table.rows) and not informed else []
    return [
        *first,
        Column("method", lambda row: named(in_a_cell(row), row), left=True, bold=True),
        Column("accuracy", lambda row: numbers.mean_and_std(row.accuracy), bold=True),
        Column("95 % interval", lambda row: numbers.interval(row.accuracy), goes=5),
        Column("n", lambda row: str(len(row.accuracies)), goes=1),
        Column("to leader", behind(table.leader), goes=3),
        Column(
            "best on test (oracle)",
            lambda row: numbers.percent(row.means.get("best_test"), numbers.digits(row)),
            8,
        ),
        Column("gap", lambda row: numbers.percent(row.gap, numbers.digits(row)), goes=2),
        Column("memorised", share("memorised"), goes=4),
        Column("learnt", share("learnt"), goes=10),
        Column("worst class", share("worst_class"), goes=9),
        Column("single nets", singles, goes=11),
        Column("nets / views / units", effort, goes=12),
        Column("s / run", lambda row: numbers.seconds(row.means.get("seconds")), goes=6),
        Column("told", told, goes=7 if not informed else 0, left=True),
        Column("assumes", lambda row: words(row.assumes), goes=13, left=True),
    ]


def moved(row: Row) -> str:
    """How far a row moved under the shared grid, if far."""
    return moves.said(row.moved) if row.moved is not None and moves.far(row) else numbers.NOTHING


def finder_columns(table: Table) -> list[Column]:
    """The columns of the table of who finds the wrong labels: those that any of its rows has something for."""
    ranks = [row.finder_rank for row in table.rows if row.finder_rank]

    def rank(row: Row) -> str:
        return (
            f"{row.finder_rank}{'=' if ranks.count(row.finder_rank) > 1 else ''}"
            if row.finder_rank
            else numbers.NOTHING
        )

    def share(name: str) -> Cell:
        return lambda row: numbers.percent(row.selector.get(name))

    shown = [
        Column("#", rank),
        Column("method", lambda row: named(row.name, row), left=True, bold=True),
        Column("AUROC", lambda row: numbers.mean_and_std(row.auroc), bold=True),
        Column("95 % interval", lambda row: numbers.interval(row.auroc), goes=3),
        Column("n", lambda row: str(len(row.aurocs)), goes=8),
        Column("average precision", share("average_precision"), goes=4),
        Column("AUROC in noisy classes", share("auroc_noisy_classes"), goes=5),
        Column("AP in noisy classes", share("average_precision_noisy_classes"), goes=9),
        Column("precision", share("precision"), goes=1),
        Column("recall", share("recall"), goes=1),
        Column("corrected", share("corrected"), goes=2),
        Column("damaged", share("damaged"), goes=2),
        Column("its own", own_parts, goes=6, left=True),
        Column("told", told, goes=7, left=True),
    ]
    always = ("#", "method", "AUROC")
    return [
        column
        for column in shown
        if column.title in always or any(column.cell(row) != numbers.NOTHING for row in table.finders)
    ]


def frontier_columns(table: Table) -> list[Column]:
    """The columns of the rows that no cheaper row matches."""
    cheaper = dict(zip([row.label for row in table.frontier[1:]], table.frontier, strict=False))

    def gain(row: Row) -> str:
        before = cheaper.get(row.label)
        pairs = [] if before is None else stats.differences(row.accuracies, before.accuracies)
        return numbers.difference(stats.summarise(pairs)) if pairs else numbers.NOTHING

    shown = [
        Column("units", lambda row: numbers.plain(row.means.get("units"))),
        Column("method", lambda row: named(row.name, row), left=True, bold=True),
        Column("accuracy", lambda row: numbers.mean_and_std(row.accuracy), bold=True),
        Column("over the row above", gain, goes=1),
        Column("forward + backward", passes, goes=6),
        Column("TFLOP / run", lambda row: numbers.plain(row.means.get("flops"), 1e12), goes=4),
        Column("s / run", lambda row: numbers.seconds(row.means.get("seconds")), goes=2),
        Column("images / s", lambda row: numbers.count(row.means.get("images_per_second")), goes=5),
        Column("MiB", lambda row: numbers.count(row.means.get("peak_memory_bytes"), 2**20), goes=3),
    ]
    always = ("units", "method", "accuracy", "over the row above", "s / run")
    return [
        column
        for column in shown
        if column.title in always or any(column.cell(row) != numbers.NOTHING for row in table.frontier)
    ]


def equal_columns(table: EqualCompute, informed: bool = False) -> list[Column]:
    """The columns of a table at equal compute."""

    def choice(row: Row) -> Choice:
        return table.choices[row.label]

    first = [] if informed else [Column("#", rank_among(table.rows))]
    return [
        *first,
        Column("method", lambda row: named(in_a_cell(row), row), left=True, bold=True),
        Column("accuracy", lambda row: numbers.mean_and_std(row.accuracy), bold=True),
        Column("95 % interval", lambda row: numbers.interval(row.accuracy), goes=5),
        Column("n", lambda row: str(len(row.accuracies)), goes=7),
        Column("to leader", behind(table.leader), goes=3),
        Column("epochs", lambda row: str(choice(row).epochs)),
        Column("members", lambda row: str(choice(row).members)),
        Column("units / run", lambda row: numbers.plain(choice(row).units), goes=1),
        Column("unused", lambda row: numbers.percent(table.unused(row))),
        Column("noisy hold-out", lambda row: held_out(choice(row)), goes=2),
        Column("tried", lambda row: str(choice(row).tried), goes=6),
        Column("search", lambda row: numbers.plain(choice(row).search), goes=4),
        Column("told", told, goes=8 if not informed else 0, left=True),
    ]


def apart_columns() -> list[Column]:
    """The columns of the rows that can't be compared."""
    return [
        Column("method", lambda row: named(row.label, row), left=True),
        Column("accuracy", lambda row: numbers.mean_and_std(row.accuracy), goes=1),
        Column("n", lambda row: str(len(row.accuracies)), goes=2),
        Column("told", told, goes=3, left=True),
        Column("why it stands here", lambda row: row.reason, left=True),
    ]


def rank_among(rows: Sequence[Row]) -> Cell:
    """A row's rank, such as "2" or "2=" where it shares it; a dash for rows without one."""
    ranks = [row.rank for row in rows if row.rank]
    return lambda row: f"{row.rank}{'=' if ranks.count(row.rank) > 1 else ''}" if row.rank else numbers.NOTHING


def behind(leader: str | None) -> Cell:
    """A row's paired difference to the leader."""
    return lambda row: "leader" if row.label == leader else numbers.difference(row.behind)


def held_out(choice: Choice) -> str:
    """Accuracy on noisy held-out labels and its standard error, such as "58.4 ± 1.3"."""
    places = numbers.decimals(choice.score.error)
    return f"{numbers.percent(choice.score.mean, places)} ± {numbers.percent(choice.score.error, places)}"


def in_a_cell(row: Row) -> str:
    """The label, or the name alone where all parameters would make the column too wide; see `parameters_apart`."""
    return row.label if len(row.label) <= WIDEST_LABEL else row.name


def parameters_apart(table: Table | EqualCompute) -> list[str]:
    """The labels that the table's cells don't hold in full."""
    return [
        row.label for row in table.rows if not row.derived and row.standing != "apart" and in_a_cell(row) != row.label
    ]


def words(names: Sequence[str]) -> str:
    """Names with spaces in place of underscores, or a dash."""
    return ", ".join(name.replace("_", " ") for name in names) or numbers.NOTHING


def named(name: str, row: Row) -> str:
    """A row's name with the mark of a control."""
    return f"{name} (control)" if row.control else name


def told(row: Row) -> str:
    """What a row was told beyond noisy labels, or a dash."""
    return ", ".join(map(in_words, row.needs)) or numbers.NOTHING


def own_parts(row: Row) -> str:
    """What of finding wrong labels is the method's own: its estimate, its kept set, its targets; or a dash."""
    own = {
        "estimate": row.selector.get("source") == "clean_probability",
        "set": row.selector.get("kept_source") == "selected",
        "targets": row.selector.get("corrected_source") == "soft_targets",
    }
    return ", ".join(name for name, is_own in own.items() if is_own) or numbers.NOTHING


def singles(row: Row) -> str:
    """Accuracy of the single networks, and how far they lie apart in a run, such as "85.2 (1.3)"."""
    mean, spread = row.means.get("single_networks"), row.means.get("network_spread")
    return numbers.NOTHING if mean is None else f"{numbers.percent(mean)} ({numbers.percent(spread)})"


def passes(row: Row) -> str:
    """Forward and backward passes of an image and epoch, such as "6 + 2"."""
    forward, backward = row.means.get("forward"), row.means.get("backward")
    if forward is None or backward is None:
        return numbers.NOTHING
    return f"{numbers.plain(forward)} + {numbers.plain(backward)}"


def effort(row: Row) -> str:
    """Networks, views, and forward/backward units of an image and epoch, such as "2 / 2 / 12"."""
    parts = [row.means.get(name) for name in ("networks", "views", "units")]
    if all(value is None for value in parts):
        return numbers.NOTHING
    return " / ".join(map(numbers.plain, parts))
