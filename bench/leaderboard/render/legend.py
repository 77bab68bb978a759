"""Words around a board: the introduction under its title, and the legend at the end of each file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable

from bench.leaderboard.columns import BOARD, Column
from bench.leaderboard.detail_columns import COSTS, DETECTION
from bench.leaderboard.selection import SelectionRule

WIDTH = 112


def say_labels_as_given(page: str) -> str:
    """A page that nowhere calls test labels clean, which nobody has said that they are."""
    return page.replace("on clean test images", "on test images, by their labels as given,").replace(
        "clean test", "test"
    )


def write_introduction(rule: SelectionRule) -> str:
    """The basis of the ranks, in two or three sentences under the title."""
    first = f"Ranked by accuracy on clean test images at **{rule.words}**."
    if rule.oracle:
        return f"{first} Nobody could have stopped there without clean test labels: read this board as an upper bound."
    if rule.name == "holdout":
        return f"{first} Only noisy labels were looked at to choose it, so anybody could have stopped there too."
    shared = "Every row met the same images, noisy labels, first weights, batches and crops."
    return f"{first} No clean label had a say in that choice. {shared}"


def write_legend(rule: SelectionRule, equal_compute: bool = False, without: Collection[str] = ()) -> str:
    """The legend as Markdown, with a paragraph on tables at equal compute where there are some.

    Columns of the main table whose key is in `without` aren't explained.
    """
    explained = [column for column in BOARD if column.key not in without]
    board = f"{SETTINGS}\n\n{explain_columns(explained)}\n{PROTOCOLS}".replace("{rule.words}", rule.words)
    parts = [board, f"{NOISE_DETECTION}\n\n{explain_columns(DETECTION)}", f"{FRONTIER} {explain_columns(COSTS)}"]
    return "\n\n".join([*parts, EQUAL_COMPUTE] if equal_compute else parts) + "\n"


def explain_columns(columns: Iterable[Column]) -> str:
    """The explanations of columns as a list or a paragraph, in lines of at most `WIDTH` characters.

    A text that has lines of its own keeps them.
    """
    text = " ".join(column.explained for column in columns if column.explained)
    if "\n" in text:
        return text
    items = re.split(r" (?=- \*\*)", text)
    return "\n".join(
        textwrap.fill(item, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for item in items
    )


SETTINGS = """\
## How to read this

One table holds one *setting*: everything is equal in it but the method and what the protocol lets it choose.
Means and ranks never cross settings. Everything is in percent unless it says otherwise."""

PROTOCOLS = """\
- **shared** in a heading: learning rate and weight decay (or a method's own penalty in its place) were chosen for
  each method from one grid for all, by noisy held-out labels on seeds that no board shows. **shared-lr**: every
  method uses the data set's, whatever the scale of its loss; a method that trails there may only need another
  step size. Where a board has both, **against shared-lr** is how many places up or down a row went among those
  that both rank, if more than three. **paper** stands for each method's own published training settings.
- *tuned* among what a row was told is effort rather than knowledge: a study of so many trials chose its values,
  which rows without the mark weren't given. Such rows have no rank either."""

NOISE_DETECTION = """\
*Who finds the wrong labels* judges each row, at the last epoch, by what it makes of its training set. *Its own*
names what the method says itself; where it says nothing, what anybody could read off its network stands in."""

FRONTIER = """\
*What accuracy costs* lists, from the cheapest up, the ranked rows that no row of at most their **units** (see
above) matches; for every other row there is one that is as good for as little."""

EQUAL_COMPUTE = """\
*At equal compute* asks who does best with as much work as the dearest method does, or with what was typed. Every
method may spend the same **units / run** (the units above, times the epochs) on **epochs** of training and on
**members**: copies of it that are trained apart, whose mean prediction counts. Both are chosen by accuracy on the
**noisy hold-out** (± its standard error), never on the test set; **unused** is the share of the allowance that the
choice leaves, since more of either doesn't always help. **tried** counts the candidates, and **search** is what all
of them cost together, one run of each: nobody gets the choice for the units of the chosen runs alone."""
