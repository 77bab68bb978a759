"""The shortest command that trains a table again, checked by planning it. Needs neither the data nor torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench import registry
from bench.planning import data_facts, recipe_files
from bench.planning.facts import Facts, PlannedNoise, ResolvedMethod
from bench.planning.plan import LeftOut, make_plan
from bench.planning.recipe_choice import SourcedRecipes
from bench.planning.request import Request
from bench.planning.resolve_run import TYPED_FIELDS, Refused, resolve_run
from bench.planning.validate import resolve_methods
from bench.registry.names import SelectedMethod
from bench.reporting.command_line import command_line
from bench.spec import SHARED_GRID, SHARED_LR, RunSpec
from bench.spec.privileges import given_noise_rate
from bench.system.errors import UsageError
from bench.system.text import number_spans

if TYPE_CHECKING:
    from datasets.interface import Description


Spec = Mapping[str, Any]
Options = dict[str, Any]


@dataclass(frozen=True)
class ReproduceCommand:
    """A command (or several, a line each), and what it leaves out because it can't run."""

    command: str
    left_out: tuple[LeftOut, ...] = ()


class UnknowableRequest(Exception):  # noqa: N818 - an answer, not an error
    """Only the data, the user's files or a method's own code knows."""


def shortest_command(
    specs: Sequence[Spec], carried: Mapping[str, Any] | None = None, study: SourcedRecipes | None = None
) -> ReproduceCommand | None:
    """How to ask for all of `specs` (of one setting, as written) in as few words as are still right.

    A method is written by its bare name where its parameters are what it runs with anyway, `all` stands for all of
    them, and only options that differ from what the data set says are named. None where that can't be said: for data
    or noise from files, methods that aren't known here, or specs that today's code would not plan.
    `carried` are options that no spec holds (data_root, plugin, download), `study` the file of the studies that chose
    what tuned rows trained with.
    """
    from datasets.interface import DataError

    try:
        known = registry.methods()
        newest = [spec for spec in specs if spec.get("method_version", 1) == known[spec["method"]]["version"]]
        runs = [RunSpec.model_validate(spec) for spec in newest]
        return _shortest_command(runs, replace(_facts(runs), study=study), dict(carried or {})) if runs else None
    except (UnknowableRequest, DataError, KeyError, Refused, UsageError, ValidationError):
        return None


def _shortest_command(runs: Sequence[RunSpec], facts: Facts, carried: Options) -> ReproduceCommand:
    for protocol in _protocols(runs[0], facts):
        try:
            return _under(protocol, runs, facts, carried)
        except (UnknowableRequest, UsageError):
            continue
    raise UnknowableRequest("today's code plans other runs")


def _under(protocol: Options, runs: Sequence[RunSpec], facts: Facts, carried: Options) -> ReproduceCommand:
    """How to ask for the runs with `protocol` typed as these options say; raises CannotTell where that plans others."""
    wanted = {run.run_id for run in runs}
    groups: dict[tuple[tuple[str, Any], ...], list[RunSpec]] = {}
    for run in {_row(run): run for run in runs}.values():
        groups.setdefault(tuple(sorted(_differing(run, facts, protocol).items())), []).append(run)
    every = [run for rows in groups.values() for run in rows]
    values = {item for key in groups for item in key}
    together: list[list[tuple[Options, list[RunSpec]]]] = []
    if len({name for name, _ in values}) == len(values):  # an option may pass by methods that replace what it sets
        together.append([(dict(sorted(values)), every)])
    together.append([(dict(key), groups[key]) for key in sorted(groups, key=lambda key: (-len(groups[key]), key))])
    replicates = [(run.noise_seed, run.split_seed, run.seed) for run in runs]
    for parts in together:
        try:
            made = [
                _line(_about(runs[0], facts, protocol) | seeds | own | carried, rows, facts)
                for own, rows in parts
                for seeds in _seeds(replicates)
            ]
        except (UnknowableRequest, UsageError):
            continue
        if wanted <= set().union(*(ids for _, ids, _ in made)):
            left_out = dict.fromkeys(each for _, _, without in made for each in without)
            return ReproduceCommand("\n".join(text for text, _, _ in made), tuple(left_out))
    raise UnknowableRequest("today's code plans other runs")


def _line(options: Options, rows: Sequence[RunSpec], facts: Facts) -> tuple[str, set[str], Sequence[LeftOut]]:
    """A command for these rows, the runs that it plans, and what it leaves out; `all` where it plans the same."""
    names = sorted(_call(run, facts, options) for run in rows)
    named = {"methods": [",".join(names)]} | options
    exactly = _ids(named, facts)[0]
    if exactly != {run.model_copy(update=seeds).run_id for run in rows for seeds in _replicates(options)}:
        raise UnknowableRequest("today's code plans other runs")
    # of a file of studies, which holds few methods, `all` would say more than it does
    brief = () if _names_a_file(options) else ("all", ",".join(["all", *(name for name in names if "[" in name)]))
    for methods in brief:
        try:
            short = {"methods": [methods]} | options
            ids, left_out = _ids(short, facts)
        except (UnknowableRequest, UsageError):
            continue
        if ids == exactly:
            return command_line(short, facts.processes), ids, left_out
    return command_line(named, facts.processes), exactly, ()


def _ids(options: Options, facts: Facts) -> tuple[set[str], Sequence[LeftOut]]:
    request = Request.typed(**options)
    facts = replace(_in_force(facts, options), requested=resolve_methods(request, facts.methods))
    found = make_plan(request, facts)
    return {spec.run_id for spec in found.specs}, found.left_out


def _replicates(options: Options) -> Iterator[dict[str, int]]:
    """The seeds of each replicate that the options ask for."""
    request = Request.typed(**options)
    for seed in request.seeds:
        noise_seed = seed if request.noise_seed is None else request.noise_seed
        yield {"seed": seed, "split_seed": seed, "noise_seed": noise_seed}


def _row(run: RunSpec) -> str:
    """What is equal in all replicates of a row, as text."""
    return run.model_copy(update={"seed": 0, "split_seed": 0, "noise_seed": 0}).canonical()


def _differing(run: RunSpec, facts: Facts, protocol: Options) -> Options:
    """Options without which a run's method would train otherwise: its kind of recipe, and what protocols set."""
    found: list[Options] = []
    told = given_noise_rate(run.privileges)
    rate: Options = {} if told is None else {"noise_rate": str(told)}
    files = [] if facts.study is None else [facts.study.path]
    for kind in ("plain", "published", *files):
        recipes = ({} if kind == "plain" else {"recipes": kind}) | rate
        bare = _bare(run, facts, protocol | recipes)
        if bare is None or bare.privileges != run.privileges:
            continue
        own = {option: getattr(run, name) for option, name in TYPED_FIELDS.items()}
        own = {option: value for option, value in own.items() if getattr(bare, TYPED_FIELDS[option]) != value}
        strange = sum(bare.parameters.get(name) != value for name, value in run.parameters.items())
        found.append(recipes | own | ({"_strange": strange} if strange else {}))
    if not found:
        raise UnknowableRequest("no kind of recipe hands over these privileges")
    best = min(found, key=lambda options: (options.get("_strange", 0), len(options)))
    return {name: value for name, value in best.items() if name != "_strange"}


def _bare(run: RunSpec, facts: Facts, options: Options) -> RunSpec | None:
    """What a run's method trains with where its name alone is typed, or None where it can't."""
    declared = facts.methods[run.method]
    request = Request.typed(**options)
    facts = _in_force(facts if run.protocol == SHARED_GRID else replace(facts, grid=None), options)
    try:
        return resolve_run(
            request, facts, ResolvedMethod(SelectedMethod(run.method), declared, {}), facts.noises[0], run.rate
        )
    except Refused:
        return None


def _in_force(facts: Facts, options: Options) -> Facts:
    """The facts with the file of studies where the options name it, without it elsewhere."""
    return facts if _names_a_file(options) else replace(facts, study=None)


def _names_a_file(options: Options) -> bool:
    return options.get("recipes") not in (None, "published")


def _call(run: RunSpec, facts: Facts, options: Options) -> str:
    """A row as typed: the method, and the parameters that it wouldn't have by its name alone."""
    bare = _bare(run, facts, {"methods": [run.method]} | options)
    usual = {} if bare is None else bare.parameters
    values = {name: value for name, value in run.parameters.items() if usual.get(name) != value}
    written = (f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items())
    return f"{run.method}[{','.join(written)}]" if values else run.method


def _about(run: RunSpec, facts: Facts, protocol: Options) -> Options:
    """Data, noise, and what differs from the defaults, as options."""
    options: Options = {"dataset": run.data_set, "noise": [run.noise]}
    if run.rate is not None:
        options["rate"] = [str(run.rate)]
    options |= protocol
    usual = {"draw": "exact", "train_size": None, "imbalance": None, "image_size": None, "sync_batch_norm": False}
    options |= {name: getattr(run, name) for name, value in usual.items() if getattr(run, name) != value}
    if facts.protocol.precision != run.precision:
        options["precision"] = run.precision
    return options


def _protocols(run: RunSpec, facts: Facts) -> list[Options]:
    """`--protocol` as it may have to be typed, shortest first: the project's grid holds in its own setting only."""
    if run.protocol not in (SHARED_LR, SHARED_GRID):
        return [{"protocol": run.protocol}]
    typed: list[Options] = [{}]
    if run.protocol == SHARED_LR and facts.grid is not None:
        typed.append({"protocol": "shared-lr"})
    return typed


def _seeds(replicates: Sequence[tuple[int, int, int]]) -> Iterator[Options]:
    """`--seeds`, with `--noise-seed` where it is fixed, for each run of consecutive seeds."""
    fixed: dict[int | None, set[int]] = {}
    for noise_seed, split_seed, seed in replicates:
        if split_seed != seed:
            raise UnknowableRequest("no option gives a split of its own")
        fixed.setdefault(None if noise_seed == seed else noise_seed, set()).add(seed)
    for each in [each for each in fixed if each is not None]:
        if fixed.get(None) == {each}:  # a fixed noise seed that is among the seeds
            fixed[each] |= fixed.pop(None)
    for constant, seeds in fixed.items():
        own = {} if constant is None else {"noise_seed": constant}
        for first, last in number_spans(seeds):
            yield {"seeds": str(last + 1) if first == 0 else f"{first}:{last + 1}"} | own


def _facts(runs: Sequence[RunSpec]) -> Facts:
    """What planning must know of a setting that has runs; raises CannotTell where only files know."""
    run, known = runs[0], {each.method for each in runs}
    description = _description(run.data_set)

    def unsuitable(method: str, parameters: Mapping[str, Any], setting: Mapping[str, Any]) -> str | None:
        if method in known:
            return None  # it ran
        raise UnknowableRequest("asking a method needs torch")

    samples = description.train_size or 1
    own = recipe_files.shared_recipe_file(run.data_set, run.model)
    return Facts(
        methods=registry.methods(),
        requested=(),
        data_set=run.data_set,
        data_sha256=run.data_sha256,
        protocol=description.protocol,
        classes=len(description.classes),
        samples=samples,
        image_shape=description.image_shape or (1, 1, 1),
        noises=(_noise(run, description),),
        precision=run.precision,
        device="cuda" if run.sync_batch_norm else "cpu",
        cores=1,
        smallest={},  # large enough, since they ran
        unsuitable=unsuitable,
        processes=run.world_size,
        grid=None if own is None else SourcedRecipes(own[0].name, own[1], named=False),
    )


def _description(name: str) -> Description:
    from datasets.interface import Options as Where

    if registry.parse_data_set(name)[1] is not None or data_facts.recorded_data_set_name(name) != name:
        raise UnknowableRequest("records don't hold the paths of files")
    return registry.open_data_set(name, Where()).describe()


def _noise(run: RunSpec, description: Description) -> PlannedNoise:
    from datasets.noise import NoiseFacts as Declared

    name, argument = registry.parse_noise(run.noise)
    entry = registry.noises()[name]
    if argument is not None and entry["argument"] == "FILE":
        raise UnknowableRequest("records don't hold the paths of files")
    matrix = registry.open_noise(run.noise).matrix(Declared.of(description), run.rate)
    return PlannedNoise(run.noise, run.noise, run.rate is not None, matrix is not None, run.noise_sha256)
