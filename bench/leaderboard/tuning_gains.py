"""Gains by tuning: rows whose values a study chose, beside those with the method's default values.

`tuning_gains` finds the pairs and `gains_page` writes the page `tuning.md` of a folder of boards. The recipe files of
the folder's `tuning/` hold what a choice cost, and how far it lies from the one that clean labels would have made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tabulate import tabulate

from bench.leaderboard import formatting
from bench.leaderboard.formatting import DASH, format_mean_and_std, format_percent, format_value
from bench.leaderboard.model import Report, Row, Table
from bench.leaderboard.render.markdown import escape_markdown
from bench.planning.recipe_files import ChoiceRegret, MethodRecipe, RecipeFile
from bench.spec.privileges import is_tuned
from bench.stats.summary import Summary, paired_differences, summarise
from bench.system.errors import UsageError
from bench.system.files import write_atomically

PAGE = "tuning.md"
HEADING = "# What tuning bought"


@dataclass(frozen=True)
class TuningGain:
    """A tuned row minus the one with the method's default values, over the replicates that both have."""

    data_set: str
    table: Table
    default: Row
    tuned: Row
    difference: Summary
    recipe: MethodRecipe | None
    """The choice of the row's values; None where no file in `tuning/` holds them."""
    file: Path | None

    @property
    def regret(self) -> ChoiceRegret | None:
        """The regret of the choice, where it was looked up."""
        return None if self.recipe is None else self.recipe.regret


def tuning_gains(report: Report, files: Mapping[Path, RecipeFile]) -> list[TuningGain]:
    """Every tuned row beside each untuned one of its method, version and number of members, in the boards' order."""
    gains = []
    for data_set, table in report.tables:
        rows = [row for row in table.rows if not row.derived]
        for tuned in sorted((row for row in rows if is_tuned(row.needs)), key=lambda row: row.label):
            file, recipe = _find_recipe(tuned, table, data_set, files)
            gains += [
                TuningGain(data_set, table, row, tuned, summarise(pairs), recipe, file)
                for row in rows
                if _is_default_of(row, tuned) and (pairs := paired_differences(tuned.accuracies, row.accuracies))
            ]
    return gains


def _is_default_of(row: Row, tuned: Row) -> bool:
    """Whether a row is of a tuned one's method, without having been tuned."""
    return not is_tuned(row.needs) and all(
        getattr(row, name) == getattr(tuned, name) for name in ("method", "version", "members")
    )


def _find_recipe(
    row: Row, table: Table, data_set: str, files: Mapping[Path, RecipeFile]
) -> tuple[Path | None, MethodRecipe | None]:
    """The recipe that a row trained with, and its file."""
    for path, file in files.items():
        if file.setting.get("data_set") != data_set:
            continue
        for recipe in file.of(row.method):
            of_setting = recipe.noise in (None, table.setting["noise"]) and recipe.rate in (
                None,
                table.setting.get("rate"),
            )
            values = (recipe.method_version, recipe.parameters, recipe.learning_rate, recipe.weight_decay)
            if of_setting and values == (row.version, dict(row.parameters), row.learning_rate, row.weight_decay):
                return path, recipe
    return None, None


def gains_page(gains: Sequence[TuningGain], folder: Path) -> str:
    """The page as Markdown; `folder` is where it lies."""
    parts = [HEADING, describe_gains(gains), gains_table(gains), LEGEND]
    for path in dict.fromkeys(gain.file for gain in gains if gain.file is not None):
        parts += _describe_file(path, [gain.recipe for gain in gains if gain.file == path and gain.recipe], folder)
    if commands := dict.fromkeys(gain.table.command for gain in gains if gain.table.command):
        parts.append("The rows, again:\n\n```sh\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts) + "\n"


def write_gains_page(gains: Sequence[TuningGain], folder: Path) -> Path:
    """Write the page; returns its path. Raises UsageError where that fails."""
    path = Path(folder) / PAGE
    try:
        write_atomically(path, gains_page(gains, Path(folder)).encode())
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}. The records are safe") from None
    return path


def describe_gains(gains: Sequence[TuningGain]) -> str:
    """The table's result in sentences."""
    intervals = [(low, gain.difference.high) for gain in gains if (low := gain.difference.low) is not None]
    better = sum(low > 0 for low, _ in intervals)
    worse = sum(high is not None and high < 0 for _, high in intervals)
    unchanged = sum(gain.recipe is not None and gain.recipe.kept for gain in gains)
    means = [gain.difference.mean for gain in gains]
    sentences = [
        f"Of {len(gains)} choice{'s' * (len(gains) != 1)} {unchanged} kept the method's own values. On test replicates "
        f"that no search saw, tuning gained in {better} and lost in {worse} (the 95 % interval of the paired "
        "difference excludes 0).",
        f"The differences range from {_signed(min(means))} to {_signed(max(means))} points.",
    ]
    if runs := [gain.recipe.runs for gain in gains if gain.recipe is not None]:
        of_rows = sum(len(gain.default.accuracies) for gain in gains if gain.recipe is not None)
        share = sum(runs) / max(1, of_rows)
        sentences.append(f"The choices took {sum(runs):,} training runs, {share:.0f} for each run of a row.")
    if regrets := [gain.regret.mean for gain in gains if gain.regret is not None]:
        differing = sum(regret != 0 for regret in regrets)
        sentences.append(
            f"Clean labels of the same hold-outs would have led elsewhere in {differing} of {len(regrets)} choices; "
            f"the largest regret is {_signed(max(regrets))} points."
        )
    return " ".join(sentences)


def gains_table(gains: Sequence[TuningGain]) -> str:
    """One line for each tuned row beside an untuned one."""
    names = ["data set", "noise", "method", "own values", "tuned", "tuned − own", "chosen", "runs", "regret"]
    rows = [
        [
            gain.data_set,
            _format_noise(gain.table),
            gain.tuned.method,
            format_mean_and_std(gain.default.accuracy),
            format_mean_and_std(gain.tuned.accuracy),
            formatting.format_difference(gain.difference),
            _changed_values(gain.tuned, gain.default),
            DASH if gain.recipe is None else formatting.format_count(gain.recipe.runs),
            _format_regret(gain.regret),
        ]
        for gain in gains
    ]
    cells = [[escape_markdown(cell) for cell in row] for row in rows]
    return tabulate(cells, names, tablefmt="github", disable_numparse=True)


def gains_as_json(gains: Sequence[TuningGain]) -> list[dict[str, Any]]:
    """The same as values; shares of 1."""
    return [
        {
            "data_set": gain.data_set,
            "setting_id": gain.table.setting_id,
            "method": gain.tuned.method,
            "own": gain.default.label,
            "tuned": gain.tuned.label,
            "difference": {name: getattr(gain.difference, name) for name in ("n", "mean", "low", "high")},
            "kept": None if gain.recipe is None else gain.recipe.kept,
            "runs": None if gain.recipe is None else gain.recipe.runs,
            "regret": None if gain.regret is None else gain.regret.model_dump(),
        }
        for gain in gains
    ]


def _describe_file(path: Path, recipes: Sequence[MethodRecipe], folder: Path) -> list[str]:
    """Paragraphs on a recipe file: links to it and to the study's page, and the plots of each choice."""
    base = path.relative_to(folder) if path.is_relative_to(folder) else path
    study_page = base.with_suffix(".md")
    links = f"Recipes: {_link(base)}"
    if path.with_suffix(".md").exists():
        links += f"; finalists, ranges and importances: {_link(study_page)}"
    parts = [f"## {escape_markdown(base.as_posix())}", f"{links}."]
    for recipe in recipes:
        if plots := sorted(path.parent.glob(f"{path.stem}-{recipe.choice}-*.svg")):
            images = " ".join(f"!{_link(base.parent / plot.name, plot.stem)}" for plot in plots)
            parts.append(f"### {escape_markdown(recipe.choice)}\n\n{images}")
    return parts


def _link(path: Path, text: str | None = None) -> str:
    """A link to a file, by its name or another text."""
    return f"[{escape_markdown(text or path.name)}]({quote(path.as_posix())})"


def _format_noise(table: Table) -> str:
    rate = table.setting.get("rate")
    return str(table.setting["noise"]) + ("" if rate is None else f" {format_value(rate)}")


def _changed_values(row: Row, default: Row) -> str:
    """The values in which a row differs from the one with default values."""
    values = {
        name: value for name, value in row.parameters.items() if repr(value) != repr(default.parameters.get(name))
    }
    for name, word in (("learning_rate", "lr"), ("weight_decay", "weight decay")):
        if getattr(row, name) != getattr(default, name):
            values[word] = getattr(row, name)
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items()) or "own"


def _format_regret(regret: ChoiceRegret | None) -> str:
    if regret is None:
        return DASH
    if regret.low is None or regret.high is None:
        return format_percent(regret.mean)
    return f"{format_percent(regret.mean)} [{format_percent(regret.low)}, {format_percent(regret.high)}]"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


LEGEND = """\
Percent of the test set at the last epoch, mean ± standard deviation over replicates; *tuned − own* and *regret* are in
points with 95 % intervals of paired differences. *own values* are those that the method has without a study: published,
or for the whole data set. *runs* is what choosing took, pruned ones included. *regret* is how far the choice that the
same rule makes by the hold-outs' clean labels lies above this one, among the settings that were run again on fresh
seeds; it was looked up afterwards, and nothing was chosen by it. Intervals aren't corrected for their number."""
