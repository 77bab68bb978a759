"""The command under a table: it trains every run of the table again. Finding it needs neither the data nor torch.

Read `command_for` first. It shows the typed command if that planned every run of the table, else the shortest command
that does (`shortest_command`), else one that spells everything out (`explicit_command`). A short command is checked by
planning it: `_options_beyond_defaults` says what a row needs typed, `_commands_under` forms the lines, `_line` checks
one. Commands are options, as the command line hands them over, until they are right; only then they become text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from bench import registry
from bench.planning.facts import Facts, ResolvedMethod
from bench.planning.feature_options import options_of_spec
from bench.planning.paper_protocol import PAPER, usual_precision
from bench.planning.plan import LeftOut, Plan, make_plan
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.request import SOURCES, TYPED_FIELDS, Request
from bench.planning.resolve_run import Refused, resolve_run
from bench.planning.validate import resolve_methods
from bench.registry.names import SelectedMethod
from bench.reporting.command_line import TypedCommand, command_line
from bench.reporting.explicit_command import explicit_command, seed_options
from bench.reporting.recorded_facts import UnknowableRequest, recorded_facts
from bench.spec import SHARED_GRID, SHARED_LR, RunSpec
from bench.spec.privileges import given_noise_rate
from bench.system.errors import UsageError

Spec = Mapping[str, Any]
Options = dict[str, Any]


@dataclass(frozen=True)
class ReproduceCommand:
    """A command (or several, a line each), and what it leaves out because it can't run."""

    command: str
    left_out: tuple[LeftOut, ...] = ()


def command_for(
    setting_id: str, runs: Sequence[Mapping[str, Any]], typed: TypedCommand | None, study: SourcedRecipes | None
) -> ReproduceCommand:
    """The command under the table of `runs`, the records and failures of one setting.

    `typed` is the request that ends here, `study` the file of the studies that chose what tuned rows trained with.
    """
    if typed is not None and typed.run_ids.issuperset(run["run_id"] for run in runs):
        return ReproduceCommand(typed.line)
    carried = {} if typed is None else {name: typed.options[name] for name in SOURCES if name in typed.options}
    shortest = shortest_command([run["spec"] for run in runs], carried, study)
    if shortest is not None:
        return shortest
    asks_for_setting = typed is not None and setting_id in typed.setting_ids
    return ReproduceCommand(explicit_command(runs, typed if asks_for_setting else None))


def shortest_command(
    specs: Sequence[Spec], carried: Mapping[str, Any] | None = None, study: SourcedRecipes | None = None
) -> ReproduceCommand | None:
    """The request for all of `specs` (of one setting, as written) in as few words as are still right.

    A method is written by its bare name where its parameters are what it runs with anyway, `all` stands for all of
    them, and only options that differ from what the data set says are named. None where that can't be said: for data
    or noise from files, methods that aren't registered, or specs that today's code would not plan.
    `carried` are options that no spec holds, `study` the file of the studies that chose what tuned rows trained with.
    """
    from datasets.interface import DataError

    try:
        methods = registry.methods()
        newest = [spec for spec in specs if spec.get("method_version", 1) == methods[spec["method"]]["version"]]
        runs = [RunSpec.model_validate(spec) for spec in newest]
        if not runs:
            return None
        facts = recorded_facts(runs, study)
        for protocol in _protocol_options(runs[0], facts):
            command = _commands_under(protocol, runs, facts, dict(carried or {}))
            if command is not None:
                return command
    except (UnknowableRequest, DataError, KeyError, Refused, UsageError, ValidationError):
        pass
    return None


def _commands_under(
    protocol: Options, runs: Sequence[RunSpec], facts: Facts, carried: Options
) -> ReproduceCommand | None:
    """The commands for the runs where `protocol` is typed as these options say; None where that plans other runs.

    One command for all rows is tried first, then one for each group of rows that need the same options.
    """
    try:
        groups: dict[tuple[tuple[str, Any], ...], list[RunSpec]] = {}
        for run in {_row_key(run): run for run in runs}.values():
            groups.setdefault(tuple(sorted(_options_beyond_defaults(run, facts, protocol).items())), []).append(run)
        seeds = _seed_options(runs)
    except (UnknowableRequest, UsageError):
        return None
    values = {item for group in groups for item in group}
    divisions: list[list[tuple[Options, list[RunSpec]]]] = []
    if len({name for name, _ in values}) == len(values):  # a method that sets an option's value itself ignores it
        divisions.append([(dict(sorted(values)), [row for rows in groups.values() for row in rows])])
    divisions.append([(dict(key), groups[key]) for key in sorted(groups, key=lambda key: (-len(groups[key]), key))])
    setting = _setting_options(runs[0], facts, protocol)
    wanted = {run.run_id for run in runs}
    for division in divisions:
        try:
            lines = [
                _line(setting | replicates | options | carried, rows, facts)
                for options, rows in division
                for replicates in seeds
            ]
        except (UnknowableRequest, UsageError):
            continue
        if wanted <= set().union(*(ids for _, ids, _ in lines)):
            left_out = dict.fromkeys(left for _, _, lefts in lines for left in lefts)
            return ReproduceCommand("\n".join(text for text, _, _ in lines), tuple(left_out))
    return None


def _line(options: Options, rows: Sequence[RunSpec], facts: Facts) -> tuple[str, set[str], Sequence[LeftOut]]:
    """A command for these rows, the runs that it plans, and what it leaves out; `all` where that plans the same.

    Raises UnknowableRequest where the rows that it plans are others.
    """
    names = sorted(_method_call(row, facts, options) for row in rows)
    named = {"methods": [",".join(names)]} | options
    planned = {spec.run_id: spec for spec in _plan(named, facts).specs}
    if {_row_key(spec) for spec in planned.values()} != set(map(_row_key, rows)):
        raise UnknowableRequest("today's code plans other runs")
    with_parameters = [name for name in names if "[" in name]
    # `all` would say more than a file of studies does, which holds few methods
    for methods in () if _names_a_file(options) else ("all", ",".join(["all", *with_parameters])):
        short = {"methods": [methods]} | options
        try:
            plan = _plan(short, facts)
        except (UnknowableRequest, UsageError):
            continue
        if {spec.run_id for spec in plan.specs} == planned.keys():
            return command_line(short, facts.processes), set(planned), plan.left_out
    return command_line(named, facts.processes), set(planned), ()


def _plan(options: Options, facts: Facts) -> Plan:
    request = Request.typed(**options)
    return make_plan(request, replace(_facts_under(options, facts), requested=resolve_methods(request, facts.methods)))


def _row_key(run: RunSpec) -> str:
    """A run's spec without its seeds, as text: equal in all replicates of a row."""
    return run.model_copy(update={"seed": 0, "split_seed": 0, "noise_seed": 0}).canonical()


def _options_beyond_defaults(run: RunSpec, facts: Facts, protocol: Options) -> Options:
    """Options without which a run's method would train otherwise: its kind of recipe, and what protocols set.

    The kind of recipe is the one that leaves fewest parameters, then fewest options to be typed.
    """
    noise_rate = given_noise_rate(run.privileges)
    candidates: list[tuple[int, int, Options]] = []
    for kind in ("plain", "published", *(() if facts.study is None else (facts.study.path,))):
        options: Options = {} if kind == "plain" else {"recipes": kind}
        options |= {} if noise_rate is None else {"noise_rate": str(noise_rate)}
        default = _default_run(run, facts, protocol | options)
        if run.recipe_source is not None and (default is None or default.recipe_source != run.recipe_source):
            options["protocol"] = f"{PAPER}:{run.recipe_source}"
            default = _default_run(run, facts, protocol | options)
        if default is None or default.privileges != run.privileges:
            continue
        options |= {
            option: getattr(run, name)
            for option, name in TYPED_FIELDS.items()
            if getattr(default, name) != getattr(run, name)
        }
        parameters = sum(default.parameters.get(name) != value for name, value in run.parameters.items())
        candidates.append((parameters, len(options), options))
    if not candidates:
        raise UnknowableRequest("no kind of recipe hands over these privileges")
    return min(candidates, key=lambda candidate: candidate[:2])[2]


def _default_run(run: RunSpec, facts: Facts, options: Options) -> RunSpec | None:
    """The run of the same method where its name alone is typed, or None where it can't run."""
    facts = _facts_under(options, facts if run.protocol == SHARED_GRID else replace(facts, grid=None))
    method = ResolvedMethod(SelectedMethod(run.method), facts.methods[run.method], {})
    try:
        return resolve_run(Request.typed(**options), facts, method, facts.noises[0], run.rate)
    except Refused:
        return None


def _facts_under(options: Options, facts: Facts) -> Facts:
    """The facts with the file of studies where the options name it, without it elsewhere."""
    return facts if _names_a_file(options) else replace(facts, study=None)


def _names_a_file(options: Options) -> bool:
    return options.get("recipes") not in (None, "published")


def _method_call(run: RunSpec, facts: Facts, options: Options) -> str:
    """A row as typed: the method, and the parameters that it wouldn't have by its name alone."""
    default = _default_run(run, facts, {"methods": [run.method]} | options)
    usual = {} if default is None else default.parameters
    values = {name: value for name, value in run.parameters.items() if usual.get(name) != value}
    written = (f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items())
    return f"{run.method}[{','.join(written)}]" if values else run.method


def _setting_options(run: RunSpec, facts: Facts, protocol: Options) -> Options:
    """Data, noise, protocol, and what differs from the default values of a request or the data set's precision."""
    options: Options = {"dataset": run.data_set, "noise": [run.noise]} | options_of_spec(dict(run), {})
    options |= {} if run.rate is None else {"rate": [str(run.rate)]}
    names = ("draw", "train_size", "imbalance", "image_size", "sync_batch_norm")
    usual = {name: Request.model_fields[name].default for name in names}
    usual["precision"] = usual_precision(run.protocol == PAPER, facts.protocol.precision)
    return options | protocol | {name: getattr(run, name) for name in usual if getattr(run, name) != usual[name]}


def _protocol_options(run: RunSpec, facts: Facts) -> list[Options]:
    """`--protocol` as it may have to be typed, shortest first: the project's grid holds in its own setting only."""
    if run.protocol not in (SHARED_LR, SHARED_GRID):
        return [{"protocol": run.protocol}]
    may_need_it = run.protocol == SHARED_LR and facts.grid is not None
    return [{}, {"protocol": "shared-lr"}] if may_need_it else [{}]


def _seed_options(runs: Iterable[RunSpec]) -> list[Options]:
    """`--seeds`, with `--noise-seed` where it is fixed, for each run of consecutive seeds."""
    seeds_of: dict[int | None, set[int]] = {}
    for run in runs:
        if run.split_seed != run.seed:
            raise UnknowableRequest("no option gives a split of its own")
        seeds_of.setdefault(None if run.noise_seed == run.seed else run.noise_seed, set()).add(run.seed)
    for fixed in [key for key in seeds_of if key is not None]:
        if seeds_of.get(None) == {fixed}:  # a fixed noise seed that is among the seeds
            seeds_of[fixed] |= seeds_of.pop(None)
    return seed_options(seeds_of)
