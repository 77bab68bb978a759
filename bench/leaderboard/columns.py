"""The columns of a board, for Markdown and terminal alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.leaderboard import numbers
from bench.leaderboard.model import Row, Table

Cell = Callable[[Row], str]


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
    ranks = {row.rank for row in table.rows}
    tied = {rank for rank in ranks if rank and sum(row.rank == rank for row in table.rows) > 1}

    def rank(row: Row) -> str:
        return numbers.NOTHING if row.rank is None else f"{row.rank}{'=' if row.rank in tied else ''}"

    def behind(row: Row) -> str:
        return "leader" if row.label == table.leader else numbers.difference(row.behind)

    def share(name: str) -> Cell:
        return lambda row: numbers.percent(row.means.get(name))

    first = [] if informed else [Column("#", rank)]
    return [
        *first,
        Column("method", lambda row: named(row.label, row), left=True, bold=True),
        Column("accuracy", lambda row: numbers.mean_and_std(row.accuracy), bold=True),
        Column("95 % interval", lambda row: numbers.interval(row.accuracy), goes=5),
        Column("n", lambda row: str(len(row.accuracies)), goes=1),
        Column("to leader", behind, goes=3),
        Column(
            "best on test (oracle)",
            lambda row: numbers.percent(row.means.get("best_test"), numbers.digits(row)),
            8,
        ),
        Column("gap", lambda row: numbers.percent(row.gap, numbers.digits(row)), goes=2),
        Column("memorised", share("memorised"), goes=4),
        Column("learnt", share("learnt"), goes=10),
        Column("worst class", share("worst_class"), goes=9),
        Column("AUROC", _auroc, goes=11),
        Column("nets / units", _effort, goes=12),
        Column("s / run", lambda row: numbers.seconds(row.means.get("seconds")), goes=6),
        Column("told", lambda row: words(row.needs), goes=7 if not informed else 0, left=True),
        Column("assumes", lambda row: words(row.assumes), goes=13, left=True),
    ]


def apart_columns() -> list[Column]:
    """The columns of the rows that can't be compared."""
    return [
        Column("method", lambda row: named(row.label, row), left=True),
        Column("accuracy", lambda row: numbers.mean_and_std(row.accuracy), goes=1),
        Column("n", lambda row: str(len(row.accuracies)), goes=2),
        Column("told", lambda row: words(row.needs), goes=3, left=True),
        Column("why it stands here", lambda row: row.reason, left=True),
    ]


def words(names: Sequence[str]) -> str:
    """Names with spaces in place of underscores, or a dash."""
    return ", ".join(name.replace("_", " ") for name in names) or numbers.NOTHING


def named(name: str, row: Row) -> str:
    """A row's name with the mark of a control."""
    return f"{name} (control)" if row.control else name


def _auroc(row: Row) -> str:
    said = numbers.percent(row.selector.get("auroc"))
    own = row.selector.get("source") not in (None, "loss") and said != numbers.NOTHING
    return f"{said} own" if own else said


def _effort(row: Row) -> str:
    networks, units = row.means.get("networks"), row.means.get("units")
    if networks is None and units is None:
        return numbers.NOTHING
    return f"{numbers.plain(networks)} / {numbers.plain(units)}"
