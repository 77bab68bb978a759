"""The command under a table that planning can't check, such as of the user's own data: every option spelled out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from bench.leaderboard.formatting import format_value
from bench.planning.request import TYPED_FIELDS
from bench.registry.names import split_values
from bench.reporting.command_line import TypedCommand, command_line
from bench.spec import CHOSEN_BY_METHOD, SHARED_GRID, SHARED_LR, RunSpec, canonical_json
from bench.spec.privileges import given_noise_rate, is_tuned
from bench.system.text import number_spans

Spec = Mapping[str, Any]
Options = dict[str, Any]

ALWAYS_NAMED = ("model", "epochs", "batch_size", "schedule", "augment", "precision")
NAMED_IF_UNUSUAL = ("optimizer", "hold_out", "draw", "train_size", "imbalance", "image_size")
"""Options that are left out at the value that a spec has without them."""


def explicit_command(runs: Sequence[Mapping[str, Any]], typed: TypedCommand | None = None) -> str:
    """The command that trains `runs` again, records and failures of one setting; "" where options can't say that.

    It names every value that an option can set, so that it holds when default values change; a line for each learning
    rate, weight decay and list of seeds, since one request has one of each. Where the shared grid chose them, they are
    left to it; rows that a study chose come from the recipe file that was typed, or from no command. `typed` is the
    request that asks for this setting: paths are taken from it, since records hold none.
    """
    options = {} if typed is None else typed.options
    recipe_file = options.get("recipes", "plain")
    if recipe_file in ("plain", "published"):
        recipe_file = None
    newest: dict[str, int] = {}
    for spec in (run["spec"] for run in runs):
        newest[spec["method"]] = max(_version(spec), newest.get(spec["method"], 1))
    trainable = [  # today's code can't train an older version of a method
        run
        for run in runs
        if _version(run["spec"]) == newest[run["spec"]["method"]]
        and (recipe_file or not is_tuned(_privileges(run["spec"])))
    ]
    if typed is not None and typed.run_ids.issuperset(run["run_id"] for run in trainable):
        return typed.line
    row_of = {
        canonical_json({name: run["spec"].get(name) for name in CHOSEN_BY_METHOD}): run["spec"] for run in trainable
    }
    lines = [
        command_line(_row_options(group, options, recipe_file) | seeds, runs[0]["spec"].get("world_size", 1))
        for group in _group_rows(row_of.values())
        for seeds in _seed_options(run["spec"] for run in runs)
    ]
    return "\n".join(dict.fromkeys(lines))


def _version(spec: Spec) -> int:
    return int(spec.get("method_version", 1))


def _privileges(spec: Spec) -> Sequence[str]:
    return tuple(spec.get("privileges", ()))


def _is_keyed(row: Spec) -> bool:
    """Whether the row's recipe is keyed by the noise, which `--recipes plain` would not give it."""
    return "noise_kind" in _privileges(row) and not is_tuned(_privileges(row))


def _group_rows(rows: Iterable[Spec]) -> list[list[Spec]]:
    """Rows that one request can ask for: one learning rate, weight decay, `--members`, kind of recipe, noise rate."""
    groups: dict[tuple[float, float, int, bool, bool, float], list[Spec]] = {}
    for row in rows:
        noise_rate, tuned = given_noise_rate(_privileges(row)), is_tuned(_privileges(row))
        chosen = tuned or row.get("protocol") == SHARED_GRID
        rates = (0.0, 0.0) if chosen else (row["learning_rate"], row.get("weight_decay", 0.0))
        key = (*rates, row.get("members", 1), tuned, _is_keyed(row), -1.0 if noise_rate is None else noise_rate)
        groups.setdefault(key, []).append(row)
    return [groups[key] for key in sorted(groups, key=lambda key: (-len(groups[key]), key))]


def _row_options(rows: Sequence[Spec], typed: Mapping[str, Any], recipe_file: str | None) -> Options:
    """Methods, data, noise and training of one group of rows."""
    row = rows[0]
    tuned, protocol = is_tuned(_privileges(row)), str(row.get("protocol", SHARED_LR))
    bare = tuned or _is_keyed(row)
    options: Options = {"methods": ",".join(sorted({row["method"] if bare else _method_call(row) for row in rows}))}
    if _is_keyed(row):
        options["recipes"] = "published"
    options["dataset"] = typed.get("dataset", row["data_set"])
    options |= _noise_options(row, typed)
    for option in ALWAYS_NAMED:
        value = row.get(TYPED_FIELDS.get(option, option))
        options |= {} if value is None else {option: format_value(value)}
    if protocol != SHARED_GRID:
        options["protocol"] = "shared-lr" if protocol == SHARED_LR else protocol
    if not tuned and protocol != SHARED_GRID:
        options["lr"] = format_value(row["learning_rate"])
        options["weight_decay"] = format_value(row.get("weight_decay", 0.0))
    elif recipe_file is not None:
        options["recipes"] = recipe_file
    if row.get("members", 1) > 1:
        options["members"] = row["members"]
    noise_rate = given_noise_rate(_privileges(row))
    if noise_rate is not None:
        options["noise_rate"] = format_value(noise_rate)
    for name in NAMED_IF_UNUSUAL:
        usual = RunSpec.model_fields[name].default
        if row.get(name, usual) != usual:
            options[name] = format_value(row[name])
    options["sync_batch_norm"] = bool(row.get("sync_batch_norm"))
    return options | {name: typed[name] for name in ("data_root", "plugin", "download") if name in typed}


def _method_call(row: Spec) -> str:
    parameters = sorted(row.get("parameters", {}).items())
    values = ",".join(f"{name}={format_value(value)}" for name, value in parameters)
    return f"{row['method']}[{values}]" if values else str(row["method"])


def _noise_options(row: Spec, typed: Mapping[str, Any]) -> Options:
    """The noise by the path that was typed, as far as one with its file's name was."""
    noise = str(row["noise"])
    if noise == "labels":
        return {"labels": typed.get("labels", "FILE")}
    kind, _, argument = noise.partition(":")
    for text in split_values(typed.get("noise", ())):
        if argument and text.startswith(f"{kind}:") and PurePath(text.partition(":")[2]).name == argument:
            noise = text
    rate = row.get("rate")
    return {"noise": noise} | ({} if rate is None else {"rate": format_value(rate)})


def _seed_options(specs: Iterable[Spec]) -> list[Options]:
    """`--seeds`, with `--noise-seed` where it isn't the run's own seed, for each run of consecutive seeds."""
    seeds_of: dict[int | None, set[int]] = {}
    for spec in specs:
        seed, noise_seed = spec.get("seed", 0), spec.get("noise_seed", 0)
        follows = noise_seed == seed and spec["noise"] != "labels"
        seeds_of.setdefault(None if follows else noise_seed, set()).add(seed)
    return [
        {"seeds": seed_range(first, last)} | ({} if noise_seed is None else {"noise_seed": noise_seed})
        for noise_seed in sorted(seeds_of, key=lambda seed: (seed is not None, seed or 0))
        for first, last in number_spans(seeds_of[noise_seed])
    ]


def seed_range(first: int, last: int) -> str:
    """Consecutive seeds as `--seeds` takes them: 0 to 4 -> "5", 5 to 7 -> "5:8"."""
    return str(last + 1) if first == 0 else f"{first}:{last + 1}"
