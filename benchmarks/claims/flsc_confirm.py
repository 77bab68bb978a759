"""The confirmatory run on FLSC, as docs/claims/flsc-plan.md fixed it before anybody looked.

    python benchmarks/claims/flsc_confirm.py [--settings NAME,...] [--seeds 200:220] [--table FILE] [--out FOLDER]

Every setting and seed is one CSV in the output folder, which appears whole or not at all: stop it at any time, type the
same again, and it goes on. Seeds go first, so that all settings have as many when it is stopped. `--tables` prints the
tables of what is there; a part of the settings or of the seeds gives tables of that part. Several processes may share a
folder, each with settings of its own. Seeds 200 to 219 were used for nothing before.

`--table` is the index of the JPEG copy of CIFAR-10 (columns label and worse_label); settings that need it are left out
without it, which a note says. Fashion-MNIST is found as `python -m bench` finds it (`--data-root`).
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import flsc_setup as setup
from flsc_arms import ARMS, BASE, trained_numbers
from flsc_composed import compose
from flsc_hypotheses import Values, decision_table
from flsc_scores import BOUNDS, JUDGES, SCORES, bounds, judged_numbers, judged_trainer, judgement

from bench.spec import RunSpec
from bench.system.errors import UsageError
from bench.training.noisy_data import NoisyData
from bench.training.precision import prepare_process
from datasets.interface import DataError

SEEDS = "200:220"
TEST_SIZE = 2000
HEADER = ("row", "outcome", "value")
POOL = {"model": "cnn-pool", "batch_size": 64, "lr": 0.05, "weight_decay": 1e-4, "precision": "fp32"}
PHOTOS = {"augment": "crop4+flip", "train_size": 5000}
READ_POOL = {"epochs": 12, "schedule": "constant"}
READ_SMALL = {"epochs": 20, "precision": "fp32"}
TRAIN = {"epochs": 15, "precision": "fp32"}
WARM_UP = "warm_up=0.3333333333333333"


@dataclass(frozen=True)
class Case:
    """One setting: data, noise, training, and the epoch at which it is read; None: FLSC's arms are trained to the end.

    `images`: "own", "cued" (tinted by the given label), "composed" or "composed, cued". `hours`: expected for one seed
    on one core.
    """

    name: str
    data_set: str
    noise: str
    hours: float
    read_at: int | None = None
    images: str = "own"
    rate: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_table(self) -> bool:
        """Whether it has photographs."""
        return self.data_set == "table" or self.images.startswith("composed")


HARD, ASYM = setup.NOISES["hard"], setup.NOISES["asym"]
SMALL_DATA, POOL_DATA = "synthetic[train=2000,test=10]", "synthetic[size=16,train=2000,test=500]"
ITEMS, FASHION = "fashion-mnist", {"model": "cnn-small", "batch_size": 64, "train_size": 2000}
FEWER = {"train_size": 2000}
COMPOSED = POOL | {"train_size": 3000, "augment": "crop2+flip"}
CASES = (
    Case("small-asym", SMALL_DATA, ASYM, 0.003, 4, options=READ_SMALL),
    Case("small-hard", SMALL_DATA, HARD, 0.003, 4, options=READ_SMALL),
    Case("small-cued", SMALL_DATA, HARD, 0.003, 4, "cued", options=READ_SMALL),
    Case("small-fashion-sym", ITEMS, "sym", 0.003, 4, rate="0.4", options=READ_SMALL | FASHION),
    Case("small-fashion-asym", ITEMS, "asym", 0.003, 4, rate="0.4", options=READ_SMALL | FASHION),
    Case("pool-hard", SMALL_DATA, HARD, 0.011, 12, options=POOL | READ_POOL),
    Case("pool-cued", SMALL_DATA, HARD, 0.011, 12, "cued", options=POOL | READ_POOL),
    Case("pool-comp", ITEMS, HARD, 0.016, 12, "composed", options=COMPOSED | READ_POOL),
    Case("pool-comp-cued", ITEMS, HARD, 0.016, 12, "composed, cued", options=COMPOSED | READ_POOL),
    Case("pool-worse", "table", "column:worse_label", 0.027, 12, options=POOL | READ_POOL | PHOTOS),
    Case("pool-sym", "table", "sym", 0.027, 12, rate="0.4", options=POOL | READ_POOL | PHOTOS),
    Case("pool-asym", "table", setup.NOISES["cifar10-asym"], 0.027, 12, options=POOL | READ_POOL | PHOTOS),
    Case("train-small-hard", "synthetic[size=16,train=1000,test=500]", HARD, 0.025, options=TRAIN),
    Case("train-pool-hard", POOL_DATA, HARD, 0.17, options=POOL | TRAIN),
    Case("train-pool-cued", POOL_DATA, HARD, 0.17, images="cued", options=POOL | TRAIN),
    Case("train-pool-comp-cued", ITEMS, HARD, 0.6, images="composed, cued", options=COMPOSED | TRAIN | FEWER),
)


def change_of(case: Case, table: str | None) -> setup.Change | None:
    """What replaces the images of a setting."""
    if case.images.startswith("composed"):
        assert table is not None
        return partial(compose, table, case.images.endswith("cued"), TEST_SIZE)
    return setup.cue_backgrounds if case.images == "cued" else None


def smaller(case: Case) -> Case:
    """The same in miniature: does it run, not what does it say."""
    options: dict[str, Any] = dict(case.options) | {"epochs": 3}
    if "train_size" in options:
        options["train_size"] = 80
    data = "synthetic[size=8,train=80,test=20]" if case.data_set.startswith("synthetic") else case.data_set
    return Case(case.name, data, case.noise, 0.001, case.read_at and 2, case.images, case.rate, options)


def work(case: Case, seed: int, asked: argparse.Namespace) -> Iterator[tuple[str, str, float]]:
    """(row, outcome, value) of one setting and seed."""
    options = dict(case.options) | {"data_root": asked.data_root}
    options |= {} if case.rate is None else {"rate": (case.rate,)}
    data = f"table:{asked.table}" if case.data_set == "table" else case.data_set
    method = f"flsc[{WARM_UP}]" if case.read_at is None else "ce"
    change = change_of(case, asked.table)
    ((spec, problem),) = setup.problems(method, data, case.noise, f"{seed}:{seed + 1}", change, **options)
    yield from read(case, spec, problem) if case.read_at is not None else train(case, spec, problem)


def read(case: Case, spec: RunSpec, problem: NoisyData) -> Iterator[tuple[str, str, float]]:
    """Cross-entropy trained to the epoch of the setting, and every score by the network and by its average."""
    assert problem.clean_labels is not None
    trainer = judged_trainer(spec, problem)
    for done in trainer.epochs():
        if done.number == case.read_at:
            break
    wrong = problem.noisy.labels[problem.train] != problem.clean_labels[problem.train]
    modules = (trainer.networks[0].module, trainer.task.averages[0].module)
    for judge, module in zip(JUDGES, modules, strict=True):
        found = judgement(module, trainer)
        for score, numbers in judged_numbers(found, wrong).items():
            yield from ((f"{judge}: {score}", outcome, value) for outcome, value in numbers.items())
        for name, value in bounds(found, wrong, spec.seed).items():
            yield f"{judge}: bound, {name}", "AUROC", value


def train(case: Case, spec: RunSpec, problem: NoisyData) -> Iterator[tuple[str, str, float]]:
    """Every arm trained to the end on one problem; equal size is that of DivideMix's own labelled set."""
    size = None
    for arm in ARMS:
        numbers = trained_numbers(arm, spec, problem, case.images.endswith("cued"), size)
        if arm == BASE:
            size = round(numbers["selected"] * len(problem.train))
        yield from ((arm, outcome, value) for outcome, value in numbers.items())


# Files ---------------------------------------------------------------------------------------------------------------


def path_of(asked: argparse.Namespace, case: Case, seed: int) -> Path:
    """The CSV of one setting and seed."""
    folder: Path = asked.out
    return folder / f"{'quick-' if asked.quick else ''}{case.name}-{seed}.csv"


def write(path: Path, rows: Sequence[tuple[str, str, float]]) -> None:
    """The whole file, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".part{os.getpid()}")
    with part.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *((row, outcome, repr(value)) for row, outcome, value in rows)])
    part.replace(path)


def load(path: Path) -> Values:
    """(row, outcome) -> value of one file."""
    with path.open(newline="") as file:
        return {(line["row"], line["outcome"]): float(line["value"]) for line in csv.DictReader(file)}


# Tables --------------------------------------------------------------------------------------------------------------


def column(found: Sequence[Values], first: tuple[str, str], second: tuple[str, str] | None = None) -> str:
    """Mean and interval of a value, or of the difference of two, over the seeds that have them."""
    wanted = [first] if second is None else [first, second]
    known = [[each[key] for key in wanted] for each in found if all(key in each for key in wanted)]
    values = [pair[0] if second is None else pair[0] - pair[1] for pair in known]
    if not values or not all(map(math.isfinite, values)):
        return "–"
    return setup.interval(values, signed=second is not None)


def score_table(found: Mapping[str, Sequence[Values]], outcome: str) -> str:
    """One outcome of the loss, and of every other score less the loss's, by setting and judge."""
    others = [name for name in SCORES if name != "loss"]
    rows = []
    for name, values in found.items():
        for judge in JUDGES:
            base = (f"{judge}: loss", outcome)
            cells = [column(values, (f"{judge}: {other}", outcome), base) for other in others]
            placebo = column(values, (f"{judge}: IR", outcome), (f"{judge}: placebo", outcome))
            rows.append([f"{name} ({len(values)})", judge, column(values, base), *cells, placebo])
    return setup.markdown(
        ("setting (seeds)", "judge", "loss", *(f"{other} - loss" for other in others), "IR - placebo"), rows
    )


def bound_table(found: Mapping[str, Sequence[Values]]) -> str:
    """The supervised bound: of whole-image predictions, and what the foreground's loss adds to it."""
    rows = []
    for name, values in found.items():
        for judge in JUDGES:
            keys = [(f"{judge}: bound, {what}", "AUROC") for what in BOUNDS]
            added = [column(values, key, keys[0]) for key in keys[1:]]
            rows.append([f"{name} ({len(values)})", judge, column(values, keys[0]), *added])
    return setup.markdown(("setting (seeds)", "judge", "bound", "+ foreground", "+ shuffled"), rows)


def arm_table(values: Sequence[Values], difference: bool) -> str:
    """Every outcome of every arm of one setting, or its difference to DivideMix."""
    outcomes = list(dict.fromkeys(outcome for each in values for _, outcome in each))
    rows = [
        [arm, *(column(values, (arm, outcome), (BASE, outcome) if difference else None) for outcome in outcomes)]
        for arm in ARMS
        if not (difference and arm == BASE)
    ]
    return setup.markdown(("arm less dividemix" if difference else "arm", *outcomes), rows)


def tables(cases: Sequence[Case], found: Mapping[str, Sequence[Values]]) -> Iterator[str]:
    """Everything that the plan asks for, of what there is."""
    reads = {case.name: found[case.name] for case in cases if case.read_at is not None and case.name in found}
    if reads:
        for outcome in ("AUROC", "AUROC of w", "wrong at equal size", "selected", "wrong among selected", "found"):
            yield f"### Stage 1: {outcome}\n\n{score_table(reads, outcome)}"
        yield f"### Stage 1: what a supervised bound gains\n\n{bound_table(reads)}"
    for case in cases:
        if case.read_at is None and case.name in found:
            values = found[case.name]
            both = "\n\n".join(arm_table(values, difference) for difference in (False, True))
            yield f"### Trained: {case.name}, {len(values)} seed(s)\n\n{both}"
    yield f"### Decisions\n\n{decision_table(found)}"


# Command line --------------------------------------------------------------------------------------------------------


def chosen(cases: Sequence[Case], names: str, table: str | None) -> list[Case]:
    """The settings that were asked for; those without their data are left out by "all", and refused by name."""
    known = {case.name: case for case in cases}
    if names == "all":
        lacking = [case.name for case in cases if case.needs_table and table is None]
        if lacking:
            setup.say(f"note: {len(lacking)} settings need photographs, such as {lacking[0]}: type --table FILE")
        return [case for case in cases if case.name not in lacking]
    asked = names.split(",")
    unknown = [name for name in asked if name not in known]
    if unknown:
        sys.exit(f"no setting {unknown[0]!r}; there are: {', '.join(known)}")
    if table is None and any(known[name].needs_table for name in asked):
        first = next(name for name in asked if known[name].needs_table)
        sys.exit(f"{first} needs photographs: type --table FILE, the index of the JPEG copy of CIFAR-10")
    return [known[name] for name in asked]


def seeds_of(text: str) -> range:
    """The seeds of "200:220"."""
    first, _, after = text.partition(":")
    try:
        return range(int(first), int(after))
    except ValueError:
        sys.exit(f"--seeds {text}: type FIRST:AFTER, such as {SEEDS}")


def run(cases: Sequence[Case], seeds: Sequence[int], asked: argparse.Namespace, measure: Callable[..., Any]) -> None:
    """What isn't there yet, seed by seed, so that every setting has as many when it is stopped."""
    todo = [(seed, case) for seed in seeds for case in cases if not path_of(asked, case, seed).exists()]
    hours = sum(case.hours for _, case in todo)
    setup.say(f"{len(todo)} of {len(seeds) * len(cases)} to do, about {hours:.1f} hours of one core")
    for number, (seed, case) in enumerate(todo, start=1):
        start = time.perf_counter()
        try:
            rows = list(measure(case, seed, asked))
        except (UsageError, DataError) as error:
            sys.exit(f"{case.name} can't be measured: {error}")
        write(path_of(asked, case, seed), rows)
        setup.say(f"{number} of {len(todo)}: {case.name}, seed {seed}, {time.perf_counter() - start:.0f} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what isn't there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", default="all", help=f"of {', '.join(case.name for case in CASES)}")
    parser.add_argument("--seeds", default=SEEDS)
    parser.add_argument("--table", help="index of photographs with the columns label and worse_label")
    parser.add_argument("--data-root")
    parser.add_argument("--out", type=Path, default=Path("runs/flsc-confirm"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="print the tables of what is there; measure nothing")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run, not what does it say")
    asked = parser.parse_args(arguments)
    cases, seeds = chosen(CASES, asked.settings, asked.table), seeds_of(asked.seeds)
    if not asked.tables:
        prepare_process(asked.threads)
        run([smaller(case) for case in cases] if asked.quick else cases, seeds, asked, work)
    setup.announce(asked.threads)
    files = {case.name: [path_of(asked, case, seed) for seed in seeds] for case in cases}
    found = {name: [load(path) for path in paths if path.exists()] for name, paths in files.items()}
    for text in tables(cases, {name: values for name, values in found.items() if values}):
        print(f"{text}\n", flush=True)


if __name__ == "__main__":
    main()
