"""What a board is made of. Accuracies and shares are fractions in [0, 1]; percent is a matter of printing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from bench.leaderboard.selection import SelectionRule
from bench.stats.holdout_choice import HoldoutScore
from bench.stats.summary import Summary, summarise

Record = Mapping[str, Any]

RankStatus = Literal["ranked", "yardstick", "informed", "apart"]
"""`ranked`: told nothing but noisy labels, all replicates there. `yardstick`: the same, chosen by another rule than
the board's. `informed`: told more. `apart`: not comparable, for the row's `reason`."""


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
class Row:
    """One method with its parameters in one setting."""

    method: str
    label: str
    """The name with its parameters, and whatever else tells it from the table's other rows."""
    parameters: Mapping[str, Any]
    needs: tuple[str, ...]
    assumes: tuple[str, ...]
    control: bool
    version: int
    learning_rate: float
    weight_decay: float
    members: int
    """Copies of the method whose predictions are averaged."""
    accuracies: Mapping[Replicate, float]
    """Accuracy by the board's rule, of the replicates that have one."""
    accuracy: Summary | None
    means: Mapping[str, float | None]
    """Means over the replicates: best_test, memorised, learnt, corrected, worst_class, networks, units, seconds, ..."""
    selector: Mapping[str, Any]
    """Means of what finding the wrong labels came to, and on what each rests; empty where nothing is known."""
    aurocs: Mapping[Replicate, float] = field(default_factory=dict)
    """AUROC of wrong labels at the last epoch, of the replicates that have one."""
    name: str = ""
    """The method's name where the table has one row of it, or else the label."""
    derived: bool = False
    """Whether it is read off another row's runs instead of having runs of its own."""
    standing: RankStatus = "ranked"
    reason: str = ""
    rank: int | None = None
    behind: Summary | None = None
    """Paired differences to the leader over the common replicates; None for the leader."""
    may_be_best: bool = False
    finder_rank: int | None = None
    """The rank by AUROC."""
    moved: int | None = None
    """Places up (down: below 0) under the shared grid against shared-lr; None where only one of them ranks it."""
    may_find_best: bool = False
    """`may_be_best` by AUROC."""

    @property
    def auroc(self) -> Summary | None:
        """Of the AUROCs; None where no replicate has one (no wrong labels, or none but wrong ones)."""
        return summarise(list(self.aurocs.values())) if self.aurocs else None

    @property
    def gap(self) -> float | None:
        """How much higher the best test epoch lies than what the rule chose."""
        best = self.means.get("best_test")
        return None if best is None or self.accuracy is None else best - self.accuracy.mean


@dataclass(frozen=True)
class Table:
    """One setting: rows that may be compared, and what stands under them."""

    setting_id: str
    setting: Mapping[str, Any]
    heading: str
    rows: tuple[Row, ...]
    """Ranked rows and yardsticks by accuracy, then informed ones by accuracy, then those apart by label."""
    replicates: tuple[Replicate, ...]
    """What a complete row has."""
    labels_sha256: Mapping[Replicate, str]
    description: Sequence[str]
    """Lines that say what was trained, and on which labels."""
    best_set: tuple[str, ...] | None
    """Labels of the rows that may be the best; None where too little is known to say."""
    leader: str | None
    same: Sequence[str] = ()
    caveats: Sequence[str] = ()
    command: str = ""
    left_out: Sequence[Mapping[str, str]] = ()

    @property
    def finders(self) -> list[Row]:
        """The rows whose AUROC is known, best first, those without a rank after the others."""
        found = [(row, row.auroc) for row in self.rows if row.standing != "apart" and not row.derived]
        known = [(row, auroc.mean) for row, auroc in found if auroc is not None]
        return [row for row, mean in sorted(known, key=lambda each: (not each[0].finder_rank, -each[1], each[0].label))]

    @property
    def frontier(self) -> list[Row]:
        """Ranked rows that no row of at most their cost matches, the cheapest first; cost in units of passes."""
        priced = [(row.means.get("units"), row.accuracy, row) for row in self.standing("ranked")]
        known = [(units, accuracy.mean, row) for units, accuracy, row in priced if units is not None and accuracy]
        kept: list[Row] = []
        best = float("-inf")
        for _, mean, row in sorted(known, key=lambda each: (each[0], -each[1], each[2].label)):
            if mean > best:
                kept.append(row)
                best = mean
        return kept

    def standing(self, *kinds: RankStatus) -> list[Row]:
        """The rows of these standings, in order."""
        return [row for row in self.rows if row.standing in kinds]


@dataclass(frozen=True)
class ComputeChoice:
    """What was chosen for one method at equal compute, and what that rests on."""

    epochs: int
    members: int
    units: float
    """What a run of the choice cost, in units for each training image; the mean over replicates."""
    score: HoldoutScore
    """Accuracy on noisy held-out labels at the last epoch."""
    tried: int
    """Candidates within the allowance whose every replicate is there."""
    beyond: int
    """Candidates that came out above the allowance."""
    unfinished: int
    """Candidates that lack replicates, or what they could be judged by."""
    search: float
    """What all candidates cost, one run of each, in units for each training image."""


@dataclass(frozen=True)
class EqualCompute:
    """One setting at equal compute: every method with the epochs and members that were chosen for it."""

    setting_id: str
    """Of the methods' own epochs."""
    setting: Mapping[str, Any]
    heading: str
    allowance: float
    """Units for each training image and run."""
    dearest: str | None
    """The row that needs the allowance at its own epochs; None where the allowance was typed."""
    rows: tuple[Row, ...]
    """Ranked rows by accuracy, then informed ones."""
    choices: Mapping[str, ComputeChoice]
    """By label of the row."""
    replicates: tuple[Replicate, ...]
    leader: str | None
    best_set: tuple[str, ...] | None
    description: Sequence[str]
    notes: Sequence[str]
    left_out: Sequence[Mapping[str, str]]
    command: str = ""

    def standing(self, *kinds: RankStatus) -> list[Row]:
        """The rows of these standings, in order."""
        return [row for row in self.rows if row.standing in kinds]

    def unused(self, row: Row) -> float:
        """The share of the allowance that a row's choice left unused."""
        return 1 - self.choices[row.label].units / self.allowance


@dataclass(frozen=True)
class Board:
    """All tables of one data set; those at equal compute where they were asked for (else None)."""

    data_set: str
    tables: tuple[Table, ...]
    equal_compute: tuple[EqualCompute, ...] | None = None


@dataclass(frozen=True)
class Report:
    """All boards, by one selection rule."""

    rule: SelectionRule
    boards: tuple[Board, ...] = field(default=())
