"""The parts of a board: `Report` > `Board` (a data set) > `Table` (a setting) > `Row` (a method).

Accuracies and shares are fractions in [0, 1]; percent is a matter of printing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from bench.leaderboard.selection import SelectionRule
from bench.stats import summary
from bench.stats.holdout_choice import HoldoutScore
from bench.stats.summary import Summary, summarise

RankStatus = Literal["ranked", "reference", "privileged", "excluded"]
"""`ranked`: saw nothing but noisy labels, all replicates are there. `reference`: the same, chosen by another rule than
the board's. `privileged`: got more than noisy labels. `excluded`: not comparable, for the row's `reason`."""

FAR = 3
"""A row that moved by at most so many places isn't mentioned."""


class Replicate(NamedTuple):
    """One draw of the problem: every method of a setting meets the same ones, so that differences are paired."""

    noise_seed: int
    split_seed: int
    seed: int

    def __str__(self) -> str:
        if self.noise_seed == self.split_seed == self.seed:
            return str(self.seed)
        return f"noise {self.noise_seed}, split {self.split_seed}, training {self.seed}"


@dataclass(frozen=True)
class ComputeChoice:
    """The epochs and members that were chosen for one method at equal compute, and the evidence for them."""

    epochs: int
    members: int
    units: float
    """Cost of a run of the choice, in units for each training image; the mean over replicates."""
    allowance: float
    """The most that a run could cost, in the same units."""
    score: HoldoutScore
    """Accuracy on noisy held-out labels at the last epoch."""
    tried: int
    """Candidates within the allowance whose every replicate is there."""
    beyond: int
    """Candidates that came out above the allowance."""
    unfinished: int
    """Candidates that lack replicates, or a held-out accuracy."""
    search: float
    """Cost of all candidates, one run of each, in units for each training image."""

    @property
    def unused(self) -> float:
        """The share of the allowance that the choice leaves unused."""
        return 1 - self.units / self.allowance


@dataclass(frozen=True)
class Row:
    """One method with its parameters in one setting."""

    method: str
    label: str
    """The name with its parameters, and all else that tells the row from the others of its table."""
    parameters: Mapping[str, Any]
    needs: tuple[str, ...]
    """Privileges: what the method got beyond noisy labels."""
    assumes: tuple[str, ...]
    control: bool
    version: int
    learning_rate: float
    weight_decay: float
    members: int
    """Copies of the method whose predictions are averaged."""
    recipe_source: str | None
    """The source whose published recipe it trained by; None outside the paper protocol, and in older records."""
    accuracies: Mapping[Replicate, float]
    """Accuracy by the board's rule, of the replicates that have one."""
    accuracy: Summary | None
    means: Mapping[str, float | None]
    """Means over the replicates by the keys of `columns.BOARD` and `columns.COSTS`."""
    selector: Mapping[str, Any]
    """Means of the measures of noise detection, and the source of each; empty where nothing is known."""
    aurocs: Mapping[Replicate, float] = field(default_factory=dict)
    """AUROC of wrong labels at the last epoch, of the replicates that have one."""
    name: str = ""
    """The method's name where the table has one row of it, or else the label."""
    derived: bool = False
    """Whether it is read off another row's runs instead of having runs of its own."""
    status: RankStatus = "ranked"
    reason: str = ""
    """The reason why an excluded row isn't compared."""
    rank: int | None = None
    difference_to_leader: Summary | None = None
    """Paired differences to the leader over the common replicates; None for the leader."""
    may_be_best: bool = False
    detection_rank: int | None = None
    """The rank by AUROC."""
    may_detect_best: bool = False
    """`may_be_best` by AUROC."""
    moved: int | None = None
    """Places up (down: below 0) under the shared grid against shared-lr; None where only one of them ranks it."""
    choice: ComputeChoice | None = None
    """In tables at equal compute."""

    @property
    def auroc(self) -> Summary | None:
        """Summary of the AUROCs; None where no replicate has one (no wrong labels, or none but wrong ones)."""
        return summarise(list(self.aurocs.values())) if self.aurocs else None

    @property
    def gap(self) -> float | None:
        """Accuracy of the best test epoch minus that of the epoch that the rule chose."""
        best = self.means.get("best_test")
        return None if best is None or self.accuracy is None else best - self.accuracy.mean

    @property
    def moved_far(self) -> bool:
        """Whether the row moved by more than `FAR` places."""
        return self.moved is not None and abs(self.moved) > FAR


@dataclass(frozen=True, kw_only=True)
class Table:
    """One setting: rows that may be compared, and the sentences around them."""

    setting_id: str
    setting: Mapping[str, Any]
    heading: str
    rows: tuple[Row, ...]
    """Ranked and reference rows by accuracy, then privileged ones by accuracy, then excluded ones by label."""
    replicates: tuple[Replicate, ...]
    """Those of a complete row."""
    labels_sha256: Mapping[Replicate, str] = field(default_factory=dict)
    description: Sequence[str]
    """Lines under the heading: what was trained, and on which labels."""
    identical: Sequence[str] = ()
    """Sentences about rows that are one method."""
    caveats: Sequence[str] = ()
    command: str = ""
    left_out: Sequence[Mapping[str, str]] = ()
    audited: bool = False
    """Whether accuracy by audited test labels is shown."""
    tests_as_given: bool = False
    """Whether nobody has said that the labels of the test images are clean."""

    def rows_with(self, *statuses: RankStatus) -> list[Row]:
        """The rows of these statuses, in order."""
        return [row for row in self.rows if row.status in statuses]

    @cached_property
    def leader(self) -> str | None:
        """The label of the best ranked row; None where no row is ranked."""
        accuracies = {row.label: row.accuracies for row in self.rows_with("ranked")}
        return summary.leader(accuracies) if accuracies else None

    @property
    def best_set(self) -> list[str] | None:
        """Labels of the rows that may be the best; None where too little is known to say."""
        return [row.label for row in self.rows if row.may_be_best] or None

    @property
    def detection_rows(self) -> list[Row]:
        """The rows whose AUROC is known, best first, those without a rank after the others."""
        ordered = sorted(
            (not row.detection_rank, -auroc.mean, row.label, place)
            for place, row in enumerate(self.rows)
            if row.status != "excluded" and not row.derived and (auroc := row.auroc) is not None
        )
        return [self.rows[place] for *_, place in ordered]

    @property
    def frontier(self) -> list[Row]:
        """Ranked rows that no row of at most their cost matches, the cheapest first; cost in units of passes."""
        ordered = sorted(
            (units, -row.accuracy.mean, row.label, place)
            for place, row in enumerate(self.rows)
            if row.status == "ranked" and row.accuracy and (units := row.means.get("units")) is not None
        )
        frontier: list[Row] = []
        lowest = float("inf")
        for _, negative_mean, _, place in ordered:
            if negative_mean < lowest:
                frontier.append(self.rows[place])
                lowest = negative_mean
        return frontier


@dataclass(frozen=True, kw_only=True)
class EqualComputeTable(Table):
    """One setting at equal compute: every row is a method with the epochs and members that were chosen for it.

    `setting` and `setting_id` are those of the methods' default epochs.
    """

    allowance: float
    """Units for each training image and run."""
    dearest: str | None
    """The row that needs the allowance at its default epochs; None where the allowance was typed."""

    @property
    def choices(self) -> dict[str, ComputeChoice]:
        """The rows' choices by label."""
        return {row.label: row.choice for row in self.rows if row.choice is not None}


@dataclass(frozen=True)
class Board:
    """All tables of one data set; `equal_compute` is None unless those tables were requested."""

    data_set: str
    tables: tuple[Table, ...]
    equal_compute: tuple[EqualComputeTable, ...] | None = None


@dataclass(frozen=True)
class Report:
    """All boards, by one selection rule."""

    rule: SelectionRule
    boards: tuple[Board, ...] = ()

    @property
    def tables(self) -> Iterator[tuple[str, Table]]:
        """(data set, table) of the main tables."""
        return ((board.data_set, table) for board in self.boards for table in board.tables)


@dataclass(frozen=True)
class TableNotes:
    """The lines under tables that no record holds: commands and sentences by setting id, and what a request left out.

    An item of `left_out` is {"method", "reason", "setting_id"}; without an id it stands under every table.
    """

    left_out: Sequence[Mapping[str, Any]] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    audited: bool = False
    """Whether tables show accuracy by audited test labels."""
