"""What tuning bought: rows whose values a study chose, beside those with the values that the method has without.

The page `tuning.md` of a folder of boards. What a choice cost, and how far it lies from the one that clean labels would
have made, stands in the recipe files of the folder's `tuning/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.leaderboard.formatting import (
    DASH,
    format_count,
    format_difference,
    format_mean_and_std,
    format_percent,
    format_value,
)
from bench.leaderboard.model import Report, Row, Table
from bench.planning.recipe_files import ChoiceRegret, MethodRecipe, RecipeFile
from bench.spec.privileges import is_tuned
from bench.stats.summary import Summary, paired_differences, summarise
from bench.system.errors import UsageError
from bench.system.files import write_atomically

PAGE = "tuning.md"
HEADING = "# What tuning bought"


@dataclass(frozen=True)
class TuningGain:
    """A tuned row beside one with the method's own values, over the replicates that both have."""

    data_set: str
    table: Table
    own: Row
    tuned: Row
    bought: Summary
    recipe: MethodRecipe | None
    """What the row's values were chosen as; None where no file in `tuning/` holds them."""
    file: Path | None


def tuning_gains(report: Report, files: Mapping[Path, RecipeFile]) -> list[TuningGain]:
    """Every tuned row beside each untuned one of its method, version and number of members, in the boards' order."""
    found = []
    for board in report.boards:
        for table in board.tables:
            rows = [row for row in table.rows if not row.derived]
            for tuned in sorted((row for row in rows if is_tuned(row.needs)), key=lambda row: row.label):
                file, recipe = _source(tuned, table, board.data_set, files)
                found += [
                    TuningGain(board.data_set, table, own, tuned, summarise(shared), recipe, file)
                    for own in rows
                    if _alike(own, tuned) and (shared := paired_differences(tuned.accuracies, own.accuracies))
                ]
    return found


def _alike(own: Row, tuned: Row) -> bool:
    """Whether a row is of a tuned one's method, without having been tuned."""
    return not is_tuned(own.needs) and all(
        getattr(own, name) == getattr(tuned, name) for name in ("method", "version", "members")
    )


def _source(
    row: Row, table: Table, data_set: str, files: Mapping[Path, RecipeFile]
) -> tuple[Path | None, MethodRecipe | None]:
    """The recipe that a row trained with, and its file."""
    for path, file in files.items():
        if file.setting.get("data_set") != data_set:
            continue
        for each in file.of(row.method):
            keyed = each.noise in (None, table.setting["noise"]) and each.rate in (None, table.setting.get("rate"))
            values = (each.method_version, each.parameters, each.learning_rate, each.weight_decay)
            if keyed and values == (row.version, dict(row.parameters), row.learning_rate, row.weight_decay):
                return path, each
    return None, None


def gains_page(found: Sequence[TuningGain], folder: Path) -> str:
    """The whole page, as Markdown; `folder` is where it lies."""
    parts = [HEADING, describe_gains(found), gains_table(found), LEGEND]
    files = dict.fromkeys(pair.file for pair in found if pair.file is not None)
    parts += [_file(path, [pair for pair in found if pair.file == path], folder) for path in files]
    commands = dict.fromkeys(pair.table.command for pair in found if pair.table.command)
    if commands:
        parts.append("The rows, again:\n\n```sh\n" + "\n".join(commands) + "\n```")
    return "\n\n".join(parts) + "\n"


def write_gains_page(found: Sequence[TuningGain], folder: Path) -> Path:
    """Write the page; returns its path. Raises UsageError where that fails."""
    path = Path(folder) / PAGE
    try:
        write_atomically(path, gains_page(found, Path(folder)).encode())
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror}. The records are safe") from None
    return path


def describe_gains(found: Sequence[TuningGain]) -> str:
    """What the table says, in sentences."""
    better, worse = _beyond(pair.bought for pair in found)
    kept = sum(pair.recipe is not None and pair.recipe.kept for pair in found)
    runs = [pair.recipe.runs for pair in found if pair.recipe is not None]
    lines = [
        f"Of {len(found)} choice{'s' * (len(found) != 1)} {kept} kept the method's own values. On test replicates that "
        f"no search saw, tuning gained in {better} and lost in {worse} (the 95 % interval of the paired difference "
        "excludes 0)."
    ]
    gains = [pair.bought.mean for pair in found]
    lines.append(f"The differences range from {_signed(min(gains))} to {_signed(max(gains))} points.")
    if runs:
        each = sum(runs) / max(1, sum(len(pair.own.accuracies) for pair in found if pair.recipe is not None))
        lines.append(f"The choices took {sum(runs):,} training runs, {each:.0f} for each run of a row.")
    regrets = [pair.recipe.regret for pair in found if pair.recipe is not None and pair.recipe.regret is not None]
    if regrets:
        differ = [each for each in regrets if each.mean != 0]
        largest = max(each.mean for each in regrets)
        lines.append(
            f"Clean labels of the same hold-outs would have led elsewhere in {len(differ)} of {len(regrets)} choices; "
            f"the largest regret is {_signed(largest)} points."
        )
    return " ".join(lines)


def gains_table(found: Sequence[TuningGain]) -> str:
    """One line for each tuned row beside an untuned one."""
    names = ["data set", "noise", "method", "own values", "tuned", "tuned − own", "chosen", "runs", "regret"]
    rows = [
        [
            pair.data_set,
            _noise(pair.table),
            pair.tuned.method,
            format_mean_and_std(pair.own.accuracy),
            format_mean_and_std(pair.tuned.accuracy),
            format_difference(pair.bought),
            _values(pair.tuned, pair.own),
            DASH if pair.recipe is None else format_count(pair.recipe.runs),
            _regret(None if pair.recipe is None else pair.recipe.regret),
        ]
        for pair in found
    ]
    return tabulate(rows, names, tablefmt="github", disable_numparse=True)


def gains_as_json(found: Sequence[TuningGain]) -> list[dict[str, Any]]:
    """The same as values; shares of 1."""
    return [
        {
            "data_set": pair.data_set,
            "setting_id": pair.table.setting_id,
            "method": pair.tuned.method,
            "own": pair.own.label,
            "tuned": pair.tuned.label,
            "difference": {
                "n": pair.bought.n,
                "mean": pair.bought.mean,
                "low": pair.bought.low,
                "high": pair.bought.high,
            },
            "kept": None if pair.recipe is None else pair.recipe.kept,
            "runs": None if pair.recipe is None else pair.recipe.runs,
            "regret": None if pair.recipe is None or pair.recipe.regret is None else pair.recipe.regret.model_dump(),
        }
        for pair in found
    ]


def _file(path: Path, found: Sequence[TuningGain], folder: Path) -> str:
    """Where choices come from: recipes, page, plots, and the commands that made them."""
    base = path.relative_to(folder) if path.is_relative_to(folder) else path
    own_page = path.with_suffix(".md")
    lines = [f"## {base.as_posix()}"]
    links = f"Recipes: [{base.name}]({base.as_posix()})"
    if own_page.exists():
        links += f"; finalists, ranges and importances: [{own_page.name}]({base.with_suffix('.md').as_posix()})"
    lines.append(links + ".")
    recipes = [pair.recipe for pair in found if pair.recipe is not None]
    for recipe in recipes:
        drawn = sorted(path.parent.glob(f"{path.stem}-{recipe.choice}-*.svg"))
        if drawn:
            images = " ".join(f"![{each.stem}]({(base.parent / each.name).as_posix()})" for each in drawn)
            lines.append(f"### {recipe.choice}\n\n{images}")
    return "\n\n".join(lines)


def _noise(table: Table) -> str:
    rate = table.setting.get("rate")
    return str(table.setting["noise"]) + ("" if rate is None else f" {format_value(rate)}")


def _values(row: Row, own: Row) -> str:
    """The values in which a row differs from another."""
    values = {name: value for name, value in row.parameters.items() if repr(value) != repr(own.parameters.get(name))}
    for name, word in (("learning_rate", "lr"), ("weight_decay", "weight decay")):
        if getattr(row, name) != getattr(own, name):
            values[word] = getattr(row, name)
    return ", ".join(f"{name}={format_value(value)}" for name, value in values.items()) or "own"


def _regret(found: ChoiceRegret | None) -> str:
    if found is None:
        return DASH
    if found.low is None or found.high is None:
        return format_percent(found.mean)
    return f"{format_percent(found.mean)} [{format_percent(found.low)}, {format_percent(found.high)}]"


def _beyond(found: Iterable[Summary]) -> tuple[int, int]:
    """How many differences lie above 0 with their whole interval, and how many below."""
    known = [(each.low, each.high) for each in found if each.low is not None and each.high is not None]
    return sum(low > 0 for low, _ in known), sum(high < 0 for _, high in known)


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


LEGEND = """\
Percent of the test set at the last epoch, mean ± standard deviation over replicates; *tuned − own* and *regret* are in
points with 95 % intervals of paired differences. *own values* are those that the method has without a study: published,
or for the whole data set. *runs* is what choosing took, pruned ones included. *regret* is how far the choice that the
same rule makes by the hold-outs' clean labels lies above this one, among the settings that were run again on fresh
seeds; it was looked up afterwards, and nothing was chosen by it. Intervals aren't corrected for their number."""
