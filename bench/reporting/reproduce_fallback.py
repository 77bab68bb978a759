"""The command that trains a table again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from bench.leaderboard.formatting import format_value
from bench.leaderboard.model import Replicate, Row
from bench.registry.names import parse_call, split_values
from bench.spec import HOLD_OUT, SHARED_GRID, SHARED_LR
from bench.spec.privileges import given_noise_rate, is_tuned
from bench.system.errors import UsageError
from bench.system.text import number_spans

Setting = Mapping[str, Any]
Options = Mapping[str, Sequence[str]]

ALWAYS = {
    "model": "--model",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "schedule": "--schedule",
    "augmentation": "--augment",
    "precision": "--precision",
}
UNLESS = {
    "optimizer": ("--optimizer", "sgd"),
    "hold_out": ("--hold-out", HOLD_OUT),
    "draw": ("--draw", "exact"),
    "train_size": ("--train-size", None),
    "imbalance": ("--imbalance", None),
    "image_size": ("--image-size", None),
}
"""Options that are left out where they have the value that they have without being typed."""

PROTOCOLS: Mapping[str, Sequence[str]] = {SHARED_LR: ("--protocol", "shared-lr"), SHARED_GRID: ()}
"""How a spec's protocol is typed, where it isn't its name."""

CARRIED = ("--data-root", "--plugin", "--download")
"""What only the typed command knows, since records hold no paths."""


def reproduce_command(setting: Setting, rows: Sequence[Row], replicates: Iterable[Replicate], typed: str | None) -> str:
    """The command under a table: the one that was typed where it asks for every row of it, or else one made for it.

    A made command names every value that an option can set, so that it holds when defaults change; one line for
    each learning rate, weight decay and list of seeds, since one request has one of each. Where the shared grid chose
    them, they are left to it; rows that a study chose come from the recipe file that was typed, or from no command.
    """
    options = options_in(typed)
    file = _recipe_file(options)
    runs = [row for row in rows if not row.derived and (file or not is_tuned(row.needs))]
    wanted = sorted(set(replicates))
    if not runs or not wanted:
        return typed or ""
    if typed and _asks_for(options, runs, wanted):
        return typed
    lines = []
    grid = setting.get("protocol") == SHARED_GRID
    for group in _groups(runs, grid):
        for seeds in _seedoptions_in(wanted, str(setting["noise"])):
            words = [
                *_start(setting),
                "-m",
                "bench",
                "run",
                "--methods",
                *_methods(group),
                *_about(setting, options, group[0]),
            ]
            lines.append(shlex.join([*words, *seeds]))
    return "\n".join(dict.fromkeys(lines))


def _start(setting: Setting) -> list[str]:
    """What starts as many processes as trained each run together."""
    processes = setting.get("world_size", 1)
    return ["python"] if processes == 1 else ["torchrun", "--nproc-per-node", str(processes)]


def _groups(rows: Sequence[Row], grid: bool) -> list[list[Row]]:
    """Rows that one request can ask for: one learning rate, weight decay, `--members`, kind of recipe, noise rate."""
    groups: dict[tuple[float, float, int, bool, bool, float], list[Row]] = {}
    for row in rows:
        told, tuned = given_noise_rate(row.needs), is_tuned(row.needs)
        core = (0.0, 0.0) if grid or tuned else (row.learning_rate, row.weight_decay)
        key = (*core, row.members, tuned, _keyed(row), -1.0 if told is None else told)
        groups.setdefault(key, []).append(row)
    return [groups[key] for key in sorted(groups, key=lambda key: (-len(groups[key]), key))]


def _keyed(row: Row) -> bool:
    """Whether the row's recipe is keyed by the noise, which `--recipes plain` would not give it."""
    return "noise_kind" in row.needs and not is_tuned(row.needs)


def _recipe_file(options: Options) -> str | None:
    """The recipe file that a typed command names."""
    named = (options.get("--recipes") or ["plain"])[-1]
    return None if named in ("plain", "published") else named


def _methods(rows: Sequence[Row]) -> list[str]:
    """One list, or the option repeated where a value has a comma in it that is no separator."""
    if is_tuned(rows[0].needs):
        return [",".join(sorted({row.method for row in rows}))]
    if _keyed(rows[0]):
        return [",".join(sorted({row.method for row in rows})), "--recipes", "published"]
    return [",".join(sorted({_call(row) for row in rows}))]


def _call(row: Row) -> str:
    values = ",".join(f"{name}={format_value(value)}" for name, value in sorted(row.parameters.items()))
    return f"{row.method}[{values}]" if values else row.method


def _about(setting: Setting, options: Options, row: Row) -> list[str]:
    """Data, noise and training as options."""
    words = ["--dataset", *(options.get("--dataset") or [str(setting["data_set"])])[:1]]
    words += _noise(setting, options)
    for name, option in ALWAYS.items():
        if setting.get(name) is not None:
            words += [option, format_value(setting[name])]
    named = str(setting.get("protocol", SHARED_LR))
    words += PROTOCOLS.get(named, ("--protocol", named))
    file = _recipe_file(options)
    if is_tuned(row.needs) or named == SHARED_GRID:
        words += [] if file is None else ["--recipes", file]
    else:
        words += ["--lr", format_value(row.learning_rate), "--weight-decay", format_value(row.weight_decay)]
    words += ["--members", str(row.members)] if row.members > 1 else []
    told = given_noise_rate(row.needs)
    words += [] if told is None else ["--noise-rate", format_value(told)]
    for name, (option, usual) in UNLESS.items():
        if setting.get(name, usual) != usual:
            words += [option, format_value(setting[name])]
    words += ["--sync-batch-norm"] if setting.get("sync_batch_norm") else []
    for option in CARRIED:
        for value in options.get(option, ()):
            words += [option, value] if value else [option]
    return words


def _noise(setting: Setting, options: Options) -> list[str]:
    name = str(setting["noise"])
    if name == "labels":
        return ["--labels", *(options.get("--labels") or ["FILE"])[:1]]
    kind, _, argument = name.partition(":")
    for text in split_values(options.get("--noise", ())):
        if argument and text.startswith(f"{kind}:") and PurePath(text.partition(":")[2]).name == argument:
            name = text
    rate = setting.get("rate")
    return ["--noise", name, *([] if rate is None else ["--rate", format_value(rate)])]


def _seedoptions_in(replicates: Sequence[Replicate], noise: str) -> list[list[str]]:
    """`--seeds` (and `--noise-seed` where it is fixed) for each run of consecutive seeds."""
    fixed: dict[int | None, set[int]] = {}
    for each in replicates:
        own = each.noise_seed == each.seed and noise != "labels"
        fixed.setdefault(None if own else each.noise_seed, set()).add(each.seed)
    found = []
    for noise_seed in sorted(fixed, key=lambda seed: (seed is not None, seed or 0)):
        for first, last in number_spans(fixed[noise_seed]):
            words = ["--seeds", str(last + 1) if first == 0 else f"{first}:{last + 1}"]
            found.append(words if noise_seed is None else [*words, "--noise-seed", str(noise_seed)])
    return found


def options_in(command: str | None) -> dict[str, list[str]]:
    """The options of a typed command with their values; a flag's value is empty."""
    try:
        words = shlex.split(command or "")
    except ValueError:
        return {}
    found: dict[str, list[str]] = {}
    for word, following in pairwise([*words, "--"]):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found.setdefault(name, []).append(value if equals else "" if following.startswith("--") else following)
    return found


def _asks_for(options: Options, rows: Sequence[Row], replicates: Sequence[Replicate]) -> bool:
    """Whether a typed command asks for all of these rows and replicates, as far as names and seeds tell.

    An item without parameters stands for one row of each method that it matches; what parameters that row has, only
    the plan knows. In doubt the answer is no, and a command is made.
    """
    first, colon, last = (options.get("--seeds") or ["5"])[-1].partition(":")
    try:
        seeds = range(int(first), int(last)) if colon else range(int(first))
        calls = [parse_call(text) for text in split_values(options.get("--methods") or ["all"])]
    except (ValueError, UsageError):
        return False
    if not all(each.seed in seeds for each in replicates):
        return False
    fixed = options.get("--noise-seed")
    if "--labels" not in options and any(
        str(each.noise_seed) != (fixed or [str(each.seed)])[-1] for each in replicates
    ):
        return False
    if len({(row.learning_rate, _keyed(row)) for row in rows}) > 1:
        return False
    if {str(row.members) for row in rows} != {(options.get("--members") or ["1"])[-1]}:
        return False
    given = {f"{rate:g}" for row in rows if (rate := given_noise_rate(row.needs)) is not None}
    if given != {f"{float(text):g}" for text in options.get("--noise-rate", ())[-1:]} and given:
        return False
    for method in {row.method for row in rows}:
        matching = [values for name, values in calls if name in ("all", method) or fnmatchcase(method, name)]
        plain = any(not values for values in matching)
        if sum(row.method == method for row in rows) > plain + sum(bool(values) for values in matching):
            return False
    return True
