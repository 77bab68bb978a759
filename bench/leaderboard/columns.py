"""The columns of all tables. Markdown, terminal, JSON, CSV and legend loop over the lists below.

A column is one entry: `BOARD` lists those of the main table, `detail_columns` those of the other tables. The number
that an entry's `read` finds in a record is averaged over replicates. An entry without a title stands in JSON and CSV
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.leaderboard import cells, formatting
from bench.leaderboard.formatting import format_percent, row_decimals
from bench.leaderboard.measurements import Reader, measure, network_spread, run_seconds, single_network_accuracy
from bench.leaderboard.model import Row, Table
from bench.stats.summary import Summary


@dataclass(frozen=True)
class Column:
    """One column: its value in JSON and CSV, its cells in Markdown and in a terminal, and its explanation."""

    key: str
    """In JSON and CSV; "selector.x" is x of the object `selector`. Empty: in neither."""
    title: str = ""
    """In Markdown; empty: not there."""
    cell: cells.Cell | None = None
    """In Markdown; None: the value in the column's form."""
    form: Callable[[Any], str] = format_percent
    value: Callable[[Row], Any] | None = None
    """For JSON; None: the mean over replicates of `read`, or else the row's attribute `key`."""
    read: Reader | None = None
    """The number of one record."""
    of_run: bool = False
    """Whether `read` gives the same whichever epoch of the run is chosen."""
    left: bool = False
    bold: bool = False
    """Whether Markdown prints the cell in bold for rows that may be the best."""
    optional: bool = False
    """Whether Markdown leaves the column out where no row has a cell but a dash; a terminal always does."""
    seldom: bool = False
    """Whether the legend explains the column on boards alone where it has a cell but a dash."""
    short: str | None = None
    """The title in a terminal; None: as in Markdown, empty: not there."""
    short_cell: cells.Cell | None = None
    """The cell in a terminal; None: as in Markdown."""
    drop: int = 0
    """Order in which columns go where a terminal is narrow: the highest first, 0 never."""
    hint: str = ""
    """Explanation of the short title, above a terminal's tables."""
    explained: str = ""
    """Explanation in the legend; see `Column.explain`."""

    def value_of(self, row: Row) -> Any:
        """The value for JSON."""
        if self.value is not None:
            return self.value(row)
        if self.key.startswith("selector."):
            return row.selector.get(self.key.removeprefix("selector."))
        return row.means[self.key] if self.key in row.means else getattr(row, self.key)

    def text(self, table: Table, row: Row) -> str:
        """The cell in Markdown, not escaped."""
        return self.form(self.value_of(row)) if self.cell is None else self.cell(table, row)

    def short_text(self, table: Table, row: Row) -> str:
        """The cell in a terminal."""
        return self.text(table, row) if self.short_cell is None else self.short_cell(table, row)

    def explain(self, text: str) -> Column:
        """The column with its explanation in the legend: "- " begins an item, which the texts after it continue."""
        return replace(self, explained=text)

    @property
    def short_title(self) -> str:
        """The title in a terminal; empty where it isn't there."""
        return self.title if self.short is None else self.short


def interval_value(summary: Summary | None) -> list[float | None] | None:
    """The bounds of an interval for JSON."""
    return None if summary is None or summary.low is None else [summary.low, summary.high]


def _difference_value(row: Row) -> dict[str, float | None] | None:
    difference = row.difference_to_leader
    return None if difference is None else {"mean": difference.mean, "low": difference.low, "high": difference.high}


RANK = Column("rank", "#", cells.rank_cell("rank")).explain(
    "- **#** is the rank by mean accuracy among methods that were told nothing but noisy labels. Equal means "
    "share a rank (`2=`)."
)
METHOD = Column(
    "method",
    "method",
    lambda _, row: cells.mark_control(cells.method_label(row), row),
    left=True,
    bold=True,
    short="  method",
    short_cell=cells.starred_name_cell,
).explain(
    "- **method** comes with its parameters as they were resolved. A *control* is there to show what a gain "
    "is made of: an ensemble, a strong view, a weight average or early stopping without any care for noise. The row "
    "`ce @ noisy hold-out epoch` is read off the runs of `ce` at the epoch that does best on noisy held-out labels; as "
    "it is chosen by a rule of its own, it has no rank."
)
ACCURACY = Column(
    "mean",
    "accuracy",
    lambda _, row: formatting.format_mean_and_std(row.accuracy),
    value=lambda row: None if row.accuracy is None else row.accuracy.mean,
    bold=True,
).explain(
    "- **accuracy** is the mean ± the sample standard deviation over n replicates, at {rule.words}. A "
    "replicate is a triple of seeds (noise, split, training), the same list for every row."
)
INTERVAL = Column(
    "interval",
    "95 % interval",
    lambda _, row: formatting.format_interval(row.accuracy),
    value=lambda row: interval_value(row.accuracy),
    short="95 %",
    drop=2,
).explain(
    "- **95 % interval** is where Student's t places the mean. Its width is about how much *one* row would "
    "move with new seeds."
)
REPLICATES = Column("n", "n", form=str, value=lambda row: len(row.accuracies), drop=1)
DIFFERENCE = Column("behind_leader", "to leader", cells.difference_cell, value=_difference_value, drop=6).explain(
    "- **to leader** is the mean difference to the leader, replicate by replicate, with its 95 % interval. "
    "Replicates that are hard for one method are hard for all, so this says more than two intervals side by side. "
    "- **Bold** rows may be the best: their difference to the leader isn't significantly below 0 (one-sided paired "
    "t-tests, Holm-corrected at 5 %). A large set means that the data can't tell, not that its members are equally "
    "good. With fewer than 5 replicates nothing is bold."
)
SECONDS = Column("seconds", "s / run", form=formatting.format_seconds, read=run_seconds, of_run=True, short="").explain(
    "**s / run** is the time of one whole run on the machine that ran it."
)
PRIVILEGES = Column("needs", "told", cells.privileges_cell, value=lambda row: list(row.needs), left=True).explain(
    "- **told** names what a method was given beyond noisy labels (transition matrix, noise rate, kind of "
    "noise, clean labels). Such rows stand under a heading of their own and have no rank."
)
MOVED = Column("moved", "against shared-lr", cells.move_cell, optional=True, short="")

BOARD: Sequence[Column] = (
    RANK,
    MOVED,  # explained with the protocols, in `legend`
    METHOD,
    ACCURACY,
    INTERVAL,
    REPLICATES,
    DIFFERENCE,
    Column(
        "best_test",
        "best on test (oracle)",
        lambda _, row: format_percent(row.means.get("best_test"), row_decimals(row)),
        read=measure("best_test_accuracy"),
        of_run=True,
        short="best",
        short_cell=lambda _, row: format_percent(row.means.get("best_test")),
        drop=4,
        hint="the best epoch on the test set (an oracle)",
    ).explain(
        "- **best on test (oracle)** is the mean of each run's best epoch on the clean test set, as most "
        "papers report it. Nobody without clean labels could have picked it."
    ),
    Column("gap", "gap", lambda _, row: format_percent(row.gap, row_decimals(row)), short="").explain(
        "The **gap** is how much it flatters, in points."
    ),
    Column(
        "memorised", "memorised", read=measure("memorised"), short="mem.", drop=3, hint="wrong labels memorised"
    ).explain(
        "- **memorised** is the share of wrongly labelled training images that end up predicted as their wrong label;"
    ),
    Column("learnt", "learnt", read=measure("learnt"), short="").explain(
        "**learnt** the share of rightly labelled ones that are predicted right. Fitting noise shows as a "
        "high first, underfitting as a low second."
    ),
    Column("worst_class", "worst class", read=measure("worst_class_accuracy"), short="worst", drop=7).explain(
        "- **worst class** is the accuracy on the class that fares worst, averaged over replicates."
    ),
    Column(
        "audited",
        "audited",
        cells.audited_cell,
        read=measure("audited", "test_accuracy"),
        optional=True,
        seldom=True,
        drop=1,
    ).explain("- **audited** is accuracy by test labels that people looked at again; a note says how many changed."),
    Column(
        "people_cross_entropy",
        "people, nats",
        form=formatting.format_number,
        read=measure("people", "cross_entropy"),
        optional=True,
        seldom=True,
        short="",
    ).explain(
        "- **people, nats** and **people, distance** are how far the prediction is from what people said of the test "
        "images, who were unsure of some: cross-entropy,"
    ),
    Column(
        "people_total_variation",
        "people, distance",
        read=measure("people", "total_variation"),
        optional=True,
        seldom=True,
        short="",
    ).explain("and total variation distance, the share of probability that lies elsewhere."),
    replace(SECONDS, title="", short="s", drop=5, hint="seconds a run", explained=""),  # further left in a terminal
    Column(
        "single_networks",
        "single nets",
        cells.single_networks_cell,
        read=single_network_accuracy,
        short="nets",
        drop=8,
        hint="single networks (and how far apart)",
    ).explain(
        "- **single nets**: where a method trains several networks, the mean accuracy of each alone and, in "
        "brackets, how far the best and the worst of a run lie apart. **accuracy** is that of the method's own "
        "prediction."
    ),
    replace(MOVED, title="", short="moved", drop=10),  # further right in a terminal
    Column(
        "units",
        "nets / views / units",
        cells.effort_cell,
        read=measure("units_per_sample_epoch"),
        of_run=True,
        short="n/v/u",
        short_cell=lambda table, row: cells.effort_cell(table, row).replace(" ", ""),
        drop=9,
        hint="networks, views, units of work (plain cross-entropy: 1/1/3)",
    ).explain(
        "- **nets / views / units**: networks that are trained, views of an image in a step, and passes per "
        "image and epoch, where a forward pass counts 1 and a backward pass 2 (plain cross-entropy: 1 / 1 / 3). Phases "
        "beyond the epochs of the setting count on top."
    ),
    SECONDS,
    PRIVILEGES,
    Column(
        "assumes", "assumes", cells.assumptions_cell, value=lambda row: list(row.assumes), left=True, short=""
    ).explain("**assumes** names what has to hold for it to be sound."),
    Column("corrected", read=measure("corrected")),
    Column("balanced", read=measure("balanced_accuracy")),
    Column("negative_log_likelihood", read=measure("negative_log_likelihood")),
    Column("calibration_error", read=measure("expected_calibration_error")),
    Column("network_spread", read=network_spread),
    Column("networks", read=measure("networks"), of_run=True),
    Column("views", read=measure("views"), of_run=True),
)
