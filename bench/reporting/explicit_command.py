"""The command under a table that planning can't check, such as of the user's own data: every option spelled out.

Read `explicit_command`; `bench.reporting.reproduce` asks it last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from bench import registry
from bench.leaderboard.formatting import format_value
from bench.planning.feature_options import options_of_spec
from bench.planning.request import TYPED_FIELDS
from bench.registry.names import split_values
from bench.reporting.command_line import TypedCommand, command_line
from bench.spec import CHOSEN_BY_METHOD, SHARED_GRID, SHARED_LR, RunSpec, canonical_json
from bench.spec.privileges import given_matrix, given_noise_rate, is_tuned
from bench.system.errors import UsageError
from bench.system.text import number_spans

Spec = Mapping[str, Any]
Options = dict[str, Any]

ALWAYS_NAMED = ("model", "epochs", "batch_size", "schedule", "augment", "precision")
DEFAULTS = {
    name: field.get_default(call_default_factory=True)
    for name, field in RunSpec.model_fields.items()
    if not field.is_required()
}
"""The fields that a spec may be written without."""
NAMED_IF_UNUSUAL = ("optimizer", "hold_out", "draw", "train_size", "imbalance", "image_size")


def explicit_command(runs: Sequence[Mapping[str, Any]], typed: TypedCommand | None = None) -> str:
    """The command that trains `runs` again, records and failures of one setting; "" where options can't say that.

    It names every value that an option can set, so that it holds when default values change; a line for each learning
    rate, weight decay and list of seeds, since one request has one of each. Where the shared grid chose them, they are
    left to it; rows that a study chose come from the recipe file that was typed, or from no command. `typed` is the
    request that asks for this setting: paths are taken from it, since records hold none.
    """
    options = {} if typed is None else typed.options
    recipe_file = None if options.get("recipes") in ("plain", "published") else options.get("recipes")
    rows = [DEFAULTS | run["spec"] | {"run_id": run["run_id"]} for run in runs]
    newest: dict[str, int] = {}
    for row in rows:
        newest[row["method"]] = max(row["method_version"], newest.get(row["method"], 1))
    trainable = [  # today's code can't train an older version of a method
        row
        for row in rows
        if row["method_version"] == newest[row["method"]] and (recipe_file or not is_tuned(row["privileges"]))
    ]
    if typed is not None and typed.run_ids.issuperset(row["run_id"] for row in trainable):
        return typed.line
    distinct = {canonical_json({name: row[name] for name in CHOSEN_BY_METHOD}): row for row in trainable}
    seeds_of: dict[int | None, set[int]] = {}
    for row in rows:
        follows = row["noise_seed"] == row["seed"] and row["noise"] != "labels"
        seeds_of.setdefault(None if follows else row["noise_seed"], set()).add(row["seed"])
    seeds_in_order = {seed: seeds_of[seed] for seed in sorted(seeds_of, key=lambda seed: (seed is not None, seed or 0))}
    lines = [
        command_line(_row_options(group, options, recipe_file) | seeds, rows[0]["world_size"])
        for group in _group_rows(distinct.values())
        for seeds in seed_options(seeds_in_order)
    ]
    return "\n".join(dict.fromkeys(lines))


def seed_options(seeds_of: Mapping[int | None, Iterable[int]]) -> list[Options]:
    """`--seeds` for each run of consecutive seeds, with `--noise-seed` where it is fixed (None: it is the run's own).

    Seeds 0 to 4 are written "5", 5 to 7 "5:8".
    """
    return [
        {"seeds": str(last + 1) if first == 0 else f"{first}:{last + 1}"}
        | ({} if noise_seed is None else {"noise_seed": noise_seed})
        for noise_seed, seeds in seeds_of.items()
        for first, last in number_spans(seeds)
    ]


def _is_keyed(row: Spec) -> bool:
    """Whether the row's recipe is keyed by the noise, which `--recipes plain` would not give it."""
    return "noise_kind" in row["privileges"] and not is_tuned(row["privileges"])


def _group_rows(rows: Iterable[Spec]) -> list[list[Spec]]:
    """Rows that one request can ask for: one learning rate, weight decay, `--members`, kind and source of recipe, noise
    rate and transition matrix.
    """
    groups: dict[tuple[float, float, int, bool, bool, float, str, str], list[Spec]] = {}
    for row in rows:
        noise_rate, tuned = given_noise_rate(row["privileges"]), is_tuned(row["privileges"])
        chosen = tuned or row["protocol"] == SHARED_GRID
        rates = (0.0, 0.0) if chosen else (row["learning_rate"], row["weight_decay"])
        stated = -1.0 if noise_rate is None else noise_rate
        matrix = str(given_matrix(row["privileges"]) or "")
        key = (*rates, row["members"], tuned, _is_keyed(row), stated, matrix, row["recipe_source"] or "")
        groups.setdefault(key, []).append(row)
    return [groups[key] for key in sorted(groups, key=lambda key: (-len(groups[key]), key))]


def _row_options(rows: Sequence[Spec], typed: Mapping[str, Any], recipe_file: str | None) -> Options:
    """Methods, data, noise and training of one group of rows."""
    row = rows[0]
    tuned, protocol = is_tuned(row["privileges"]), row["protocol"]
    bare = tuned or _is_keyed(row)
    options: Options = {"methods": ",".join(sorted({row["method"] if bare else _method_call(row) for row in rows}))}
    if _is_keyed(row):
        options["recipes"] = "published"
    options["dataset"] = typed.get("dataset", row["data_set"])
    options |= options_of_spec(row, typed)
    options |= _noise_options(row, typed)
    for option in ALWAYS_NAMED:
        options[option] = format_value(row[TYPED_FIELDS.get(option, option)])
    if protocol != SHARED_GRID:
        options["protocol"] = "shared-lr" if protocol == SHARED_LR else protocol
        if row["recipe_source"] is not None:
            options["protocol"] += f":{row['recipe_source']}"
    if not tuned and protocol != SHARED_GRID:
        options["lr"] = format_value(row["learning_rate"])
        options["weight_decay"] = format_value(row["weight_decay"])
    elif recipe_file is not None:
        options["recipes"] = recipe_file
    if row["members"] > 1:
        options["members"] = row["members"]
    if (noise_rate := given_noise_rate(row["privileges"])) is not None:
        options["noise_rate"] = format_value(noise_rate)
    if given_matrix(row["privileges"]) is not None:
        options["transition_matrix"] = typed.get("transition_matrix", "FILE")
    options |= {name: format_value(row[name]) for name in NAMED_IF_UNUSUAL if row[name] != DEFAULTS[name]}
    options["sync_batch_norm"] = row["sync_batch_norm"]
    options["skip_unreadable"] = row["unreadable_skipped"] > 0
    return options | {
        name: typed[name] for name in ("data_root", "plugin", "download", "labels_are_clean") if name in typed
    }


def _method_call(row: Spec) -> str:
    values = ",".join(f"{name}={format_value(value)}" for name, value in sorted(row["parameters"].items()))
    return f"{row['method']}[{values}]" if values else str(row["method"])


def _names_file_noise(text: str, recorded: str) -> bool:
    """Whether a noise as typed, by whatever name or order of parameters, is a file's that records call `recorded`."""
    from datasets.calls import written_call

    try:
        name, argument, values = registry.parse_noise(text)
    except UsageError:
        return False
    entry = registry.noises()[name]
    defaults = {item["name"]: item["default"] for item in entry["parameters"]}
    call = f"{written_call(name, values, defaults)}:{PurePath(argument or '').name}"
    return entry["argument"] == "FILE" and call == recorded


def _noise_options(row: Spec, typed: Mapping[str, Any]) -> Options:
    """The noise by the path that was typed, as far as one with its file's name was."""
    noise = str(row["noise"])
    if noise == "labels":
        return {"labels": typed.get("labels", "FILE")}
    if ":" in noise:
        noise = next((text for text in split_values(typed.get("noise", ())) if _names_file_noise(text, noise)), noise)
    options: Options = {"noise": noise} | ({} if row["rate"] is None else {"rate": format_value(row["rate"])})
    if noise == "none" and ":" in str(row["data_set"]):  # labels of the user's own data, whom `none` says to be clean
        options["labels_are_clean"] = True
    return options
