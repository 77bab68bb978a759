"""The command line: names the options, calls the commands, and turns what went wrong into one line and a code.

Standard output carries the result only; progress and notes go to standard error. Exit codes: 0 every run asked for
has a result; 1 some run failed; 2 the request was wrong, and nothing was run or written; 130 and 143 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter
from cyclopts.exceptions import CycloptsError

from bench import __version__
from bench.errors import UsageError

EXIT_SOME_FAILED = 1
EXIT_WRONG_REQUEST = 2
EXIT_INTERRUPTED = 130
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""What keeps a file from being written through no fault of ours."""

WHAT = Group("What is compared", sort_key=1)
PROTOCOL = Group("What the protocol sets, for all methods alike", sort_key=2)
WHERE = Group("Where and how it runs; none of this changes a result", sort_key=3)

Texts = list[str] | None
Text = str | None
Format = Annotated[Literal["md", "csv", "json"], Parameter(group=WHERE, help="Form of the result.", negative="")]
Plugins = Annotated[
    Texts, Parameter(group=WHERE, help="File with methods or data sets of your own. Repeatable.", negative="")
]

app = App(
    name="lnl-bench",
    help="The label-noise benchmark: one command from noisy labels to a leaderboard that states how sure it is.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    default_parameter=Parameter(negative="", show_default=False),
    suppress_keyboard_interrupt=False,
)


def _what(text: str) -> Parameter:
    return Parameter(group=WHAT, help=text)


def _protocol(text: str) -> Parameter:
    return Parameter(group=PROTOCOL, help=text)


def _where(text: str) -> Parameter:
    return Parameter(group=WHERE, help=text)


@app.command
def run(
    *,
    methods: Annotated[Texts, _what("Names, globs or all: ce,gce[q=0.5],anl*. Default: all.")] = None,
    dataset: Annotated[Text, _what("Data set: digits, cifar10, table:index.csv, ... Default: digits.")] = None,
    noise: Annotated[Texts, _what("Noises: sym,asym,matrix:FILE,column:NAME. Default: sym.")] = None,
    rate: Annotated[Texts, _what("Noise rates, 0 to 1: 0.2,0.4. Default: 0.4.")] = None,
    seeds: Annotated[Text, _what("5: seeds 0 to 4. 5:8: seeds 5, 6, 7. Default: 5.")] = None,
    noise_seed: Annotated[Text, _what("One noise seed for all runs. Default: each run's seed.")] = None,
    draw: Annotated[
        Text, _what("exact: counts as the rate says. multinomial: independent draws. Default: exact.")
    ] = None,
    labels: Annotated[Text, _what("Noisy labels from a file that `show noise --save-labels` wrote.")] = None,
    noise_rate: Annotated[
        Text, _what("What methods that need the noise rate are told. Default: the realised share of wrong labels.")
    ] = None,
    imbalance: Annotated[Text, _what("Long tail: smallest class size divided by the largest.")] = None,
    train_size: Annotated[Text, _what("Train on this many images, drawn by class.")] = None,
    image_size: Annotated[Text, _what("Bring images to this many pixels a side.")] = None,
    protocol: Annotated[
        Text,
        _protocol(
            "shared: one for all, with the shared grid's learning rates if it was run. shared-lr: the data set's. "
            "paper: each method's own. Default: shared."
        ),
    ] = None,
    recipes: Annotated[
        Text,
        _protocol(
            "plain: one setting for any noise. published: by noise. Or a file that `tune` wrote. Default: plain."
        ),
    ] = None,
    hold_out: Annotated[
        Text, _protocol("Share of the training set held out, with its noisy labels. Default: 0.1.")
    ] = None,
    members: Annotated[
        Text, _protocol("Copies of each method, trained apart; the mean of their predictions counts. Default: 1.")
    ] = None,
    budget: Annotated[
        Text,
        _protocol(
            "equal-compute: every method may spend what the dearest needs; epochs and members are chosen on noisy "
            "held-out labels. equal-compute:UNITS: so many units."
        ),
    ] = None,
    epochs: Annotated[Text, _protocol("Epochs.")] = None,
    batch_size: Annotated[Text, _protocol("Images in a batch.")] = None,
    lr: Annotated[Text, _protocol("Learning rate.")] = None,
    weight_decay: Annotated[Text, _protocol("Weight decay, but for methods with a penalty of their own.")] = None,
    optimizer: Annotated[Text, _protocol("sgd, adam or adamw.")] = None,
    schedule: Annotated[
        Text, _protocol("cosine, constant, step:40,80@0.1, exponential:0.97, cosine-restarts:10.")
    ] = None,
    augment: Annotated[Text, _protocol("Augmentation, such as crop4+flip, or none.")] = None,
    model: Annotated[Text, _protocol("Backbone; see `list models`.")] = None,
    precision: Annotated[Text, _protocol("auto, fp32, bf16 or fp16. Default: auto.")] = None,
    sync_batch_norm: Annotated[
        bool, _protocol("Under torchrun on cards: batch statistics of the whole batch, not of each process's share.")
    ] = False,
    data_root: Annotated[Text, _where("Folder that data sets lie in.")] = None,
    download: Annotated[bool, _where("Allow downloads of missing data.")] = False,
    jobs: Annotated[Text, _where("Runs at a time. Default: as many as cores; 1 on CUDA.")] = None,
    device: Annotated[Text, _where("auto, cpu, cuda or cuda:NUMBER. Default: auto.")] = None,
    steps: Annotated[
        Text, _where("How steps are carried out: auto, eager, graph (CUDA) or compiled. Default: auto.")
    ] = None,
    images: Annotated[
        Text, _where("Where images are kept: device, host (memory), disk, or auto, which goes by their size.")
    ] = None,
    out: Annotated[Text, _where("Folder of the records. Default: runs.")] = None,
    boards: Annotated[Text, _where("Folder of the leaderboards. Default: leaderboards.")] = None,
    when: Annotated[Text, _where("Train what is missing, always, never, or what failed. Default: missing.")] = None,
    plugin: Plugins = None,
    shard: Annotated[
        Text, _where("2/4: train the second of four equal parts of the plan. slurm: this array task's part.")
    ] = None,
    executor: Annotated[
        Text, _where("local: processes of this machine. ray: a Ray cluster, or this machine by Ray. Default: local.")
    ] = None,
    ray_address: Annotated[
        Text, _where("auto: the cluster that this machine is in. HOST:PORT: that one. Default: $RAY_ADDRESS, or none.")
    ] = None,
    gpus_per_run: Annotated[
        Text, _where("Share of a card for each run on Ray, such as 0.25. Default: 1, or what --jobs leaves.")
    ] = None,
    format: Annotated[Text, _where("Form of the result: md, csv or json. Default: md.")] = None,
    dry_run: Annotated[
        bool, _where("Print the plan, its expected cost and what is stored of it; train nothing.")
    ] = False,
) -> int:
    """Train every run asked for that has no record yet, and write the leaderboard.

    Lists are comma-separated; an option may be repeated.
    """
    options = {name: value for name, value in locals().items() if value is not None}
    from bench.commands.run import run_command

    return run_command(options)


@app.command
def tune(
    *,
    methods: Annotated[
        Texts, _what("Names, globs or all: gce,anl*. A typed parameter isn't searched. Default: all.")
    ] = None,
    dataset: Annotated[Text, _what("Data set: digits, cifar10, table:index.csv, ... Default: digits.")] = None,
    noise: Annotated[Texts, _what("Noises: sym,asym,matrix:FILE,column:NAME. Default: sym.")] = None,
    rate: Annotated[Texts, _what("Noise rates, 0 to 1: 0.2,0.4. Default: 0.4.")] = None,
    grid: Annotated[
        Literal["shared"] | None,
        _what(
            "shared: instead of studies, every method's learning rate and weight decay from the shared protocol's grid."
        ),
    ] = None,
    seeds: Annotated[
        Text, _what("With --grid: splits of each setting. Default: as many as hold 2,000 labels out in all.")
    ] = None,
    trials: Annotated[Text, _what("Trials of each study. Default: 30.")] = None,
    also: Annotated[
        Texts, Parameter(name="--with", group=WHAT, help="What is searched besides: lr,weight_decay.")
    ] = None,
    objective: Annotated[
        Text,
        _what("noisy-val, or clean-val: by the hold-out's clean labels, a privilege. Default: noisy-val."),
    ] = None,
    finalists: Annotated[Text, _what("How many of the best are run again on fresh seeds. Default: 5.")] = None,
    study_name: Annotated[Text, _what("Begins the studies' names: for a new study beside one that is there.")] = None,
    study_seed: Annotated[Text, _what("Seed of what is suggested. Default: 0.")] = None,
    draw: Annotated[
        Text, _what("exact: counts as the rate says. multinomial: independent draws. Default: exact.")
    ] = None,
    noise_rate: Annotated[
        Text, _what("What methods that need the noise rate are told. Default: the realised share of wrong labels.")
    ] = None,
    imbalance: Annotated[Text, _what("Long tail: smallest class size divided by the largest.")] = None,
    train_size: Annotated[Text, _what("Train on this many images, drawn by class.")] = None,
    image_size: Annotated[Text, _what("Bring images to this many pixels a side.")] = None,
    hold_out: Annotated[
        Text, _protocol("Share of the training set held out, with its noisy labels. Default: 0.1.")
    ] = None,
    epochs: Annotated[Text, _protocol("Epochs.")] = None,
    batch_size: Annotated[Text, _protocol("Images in a batch.")] = None,
    lr: Annotated[Text, _protocol("Learning rate, or what --with lr is searched around.")] = None,
    weight_decay: Annotated[Text, _protocol("Weight decay, but for methods with a penalty of their own.")] = None,
    optimizer: Annotated[Text, _protocol("sgd, adam or adamw.")] = None,
    schedule: Annotated[
        Text, _protocol("cosine, constant, step:40,80@0.1, exponential:0.97, cosine-restarts:10.")
    ] = None,
    augment: Annotated[Text, _protocol("Augmentation, such as crop4+flip, or none.")] = None,
    model: Annotated[Text, _protocol("Backbone; see `list models`.")] = None,
    precision: Annotated[Text, _protocol("auto, fp32, bf16 or fp16. Default: auto.")] = None,
    storage: Annotated[
        Text, _where("Where studies are kept: sqlite:///FILE or postgresql://... Default: a file in --out.")
    ] = None,
    data_root: Annotated[Text, _where("Folder that data sets lie in.")] = None,
    download: Annotated[bool, _where("Allow downloads of missing data.")] = False,
    jobs: Annotated[Text, _where("Runs at a time. Default: as many as cores; 1 on CUDA.")] = None,
    device: Annotated[Text, _where("auto, cpu, cuda or cuda:NUMBER. Default: auto.")] = None,
    images: Annotated[
        Text, _where("Where images are kept: device, host (memory), disk, or auto, which goes by their size.")
    ] = None,
    steps: Annotated[
        Text, _where("How steps are carried out: auto, eager, graph (CUDA) or compiled. Default: auto.")
    ] = None,
    out: Annotated[Text, _where("Folder of the records and studies. Default: runs.")] = None,
    boards: Annotated[
        Text, _where("Folder of the leaderboards; recipes go to tuning/ in it. Default: leaderboards.")
    ] = None,
    plugin: Plugins = None,
    format: Annotated[Literal["md", "json"], _where("Form of the result. Default: md.")] = "md",
    dry_run: Annotated[bool, _where("Print what would be searched and train nothing.")] = False,
) -> int:
    """Search each method's parameters by accuracy on a hold-out's noisy labels, and choose what to train with.

    With --grid shared: its learning rate and weight decay, from one grid that is the same for all methods.

    The method's own values are the first trial. The best are run again on fresh seeds, and the own values are kept
    unless they lie more than one standard error below the best.
    """
    options = {name: value for name, value in locals().items() if value is not None}
    if grid is not None:
        from bench.commands.tune_grid import grid_command

        return grid_command(options)
    from bench.commands.tune import tune_command

    return tune_command(options)


@app.command
def report(
    *,
    out: Annotated[Text, _where("Folder of the records. Default: runs.")] = None,
    records: Annotated[
        Texts, Parameter(group=WHERE, consume_multiple=True, help="Record files (.jsonl) instead of --out.")
    ] = None,
    boards: Annotated[Text, _where("Folder to write leaderboards to. Default: leaderboards.")] = None,
    select: Annotated[
        Literal["last", "last10", "holdout", "best-test"],
        _what("Which epoch counts. best-test looks at clean test labels. Default: last."),
    ] = "last",
    budget: Annotated[
        Text, _what("equal-compute or equal-compute:UNITS: add tables at equal compute, of the lengths that are there.")
    ] = None,
    compare: Annotated[Text, _what("Print every row's paired differences to this method instead.")] = None,
    export: Annotated[Text, _where("Folder to write the records to as well, short, a file a data set.")] = None,
    format: Format = "md",
) -> int:
    """Write the leaderboards of the records that are there; train nothing."""
    from bench.commands.report import report_command

    return report_command(out, records, boards, select, format, compare=compare, export=export, budget=budget)


@app.command
def merge(
    *sources: Annotated[str, Parameter(help="Folders that `run --out` wrote, or .jsonl files of records.")],
    out: Annotated[
        str, _where("Folder of the records to merge into; made where it is missing. Default: runs.")
    ] = "runs",
    dry_run: Annotated[bool, _where("Say what would be copied, and copy nothing.")] = False,
    format: Annotated[Literal["text", "json"], _where("Form of the result. Default: text.")] = "text",
) -> int:
    """Join the records of several machines; what contradicts is reported, and nothing is overwritten.

    Records and failures are copied, checkpoints aren't. Exit code 1: something couldn't be taken over.
    """
    from bench.commands.merge import merge_command

    return merge_command(sources, out, dry_run, format)


@app.command(name="list")
def list_(
    what: Literal["methods", "datasets", "noises", "models"],
    /,
    *,
    plugin: Plugins = None,
    format: Annotated[Literal["text", "json"], _where("Form of the result. Default: text.")] = "text",
) -> int:
    """List what there is: methods, datasets, noises or models."""
    from bench.commands.listing import list_command

    return list_command(what, plugin or [], format)


@app.command
def show(
    what: Literal["method", "dataset", "noise", "run"],
    name: str,
    /,
    *,
    dataset: Annotated[str, _what("The noise's data set. Default: digits.")] = "digits",
    rate: Annotated[Text, _what("The noise's rate. Default: 0.4.")] = None,
    seed: Annotated[Text, _what("The noise seed, which is the split's too. Default: 0.")] = None,
    draw: Annotated[Literal["exact", "multinomial"], _what("How labels are drawn. Default: exact.")] = "exact",
    save_labels: Annotated[Text, _where("Write the noisy labels to this file, for `run --labels`.")] = None,
    data_root: Annotated[Text, _where("Folder that data sets lie in.")] = None,
    download: Annotated[bool, _where("Allow downloads of missing data.")] = False,
    out: Annotated[str, _where("Folder of the records. Default: runs.")] = "runs",
    plugin: Plugins = None,
    format: Annotated[Literal["text", "json"], _where("Form of the result. Default: text.")] = "text",
) -> int:
    """Show one method, data set, noise or run in full."""
    options = {name: value for name, value in locals().items() if value is not None}
    from bench.commands.showing import show_command

    return show_command(**options)


@app.command
def doctor(*, format: Annotated[Literal["text", "json"], _where("Form of the result. Default: text.")] = "text") -> int:
    """Say what this machine and installation have: device, precision, threads, folders, versions."""
    from bench.commands.doctor import doctor_command

    return doctor_command(format)


@app.command
def perf(
    *,
    models: Annotated[str, _what("Backbones.")] = "cnn-small,cnn8,preact-resnet18",
    image_size: Annotated[str, _what("Pixels a side.")] = "32",
    batch_size: Annotated[str, _what("Images in a batch.")] = "128",
    augment: Annotated[str, _what("Weak augmentation.")] = "crop4+flip",
    precision: Annotated[str, _what("auto, fp32, bf16 or fp16.")] = "auto",
    steps: Annotated[str, _what("How steps are carried out: auto, all, or some of eager,graph,compiled.")] = "auto",
    pairs: Annotated[str, _where("Pairs of steps to time, 6 or more.")] = "50",
    threads: Annotated[Text, _where("Threads. Default: all cores.")] = None,
    device: Annotated[str, _where("auto, cpu, cuda or cuda:NUMBER.")] = "auto",
    format: Annotated[Literal["text", "json"], _where("Form of the result. Default: text.")] = "text",
) -> int:
    """Time the training core on this machine: steps, overhead, share of the matrix peak, evaluation, augmentation."""
    from bench.commands.perf import perf_command

    return perf_command(models, batch_size, image_size, pairs, threads, device, precision, augment, steps, format)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line; returns the exit code. Errors that a user can mend are one or two lines."""
    try:
        code = app(arguments, print_error=False, exit_on_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _wrong(_in_words(error))
    except UsageError as error:
        return _wrong(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has seen enough; keep the interpreter from flushing into the closed pipe again
        _forget_output()
        return 0
    except Exception as error:
        if _is_data_error(error):
            return _wrong(str(error))
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            _forget_output()
            where = error.filename or "standard output"
            sys.stderr.write(f"error: {where}: {error.strerror}. What was finished before is safe\n")
            return EXIT_SOME_FAILED
        raise


def _forget_output() -> None:
    """Keep the interpreter from flushing, at its end, what standard output couldn't take."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _wrong(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return EXIT_WRONG_REQUEST


def _is_data_error(error: Exception) -> bool:
    """Whether this is a DataError, asked without importing `datasets` (and NumPy) for every mistake."""
    interface: Any = sys.modules.get("datasets.interface")
    return interface is not None and isinstance(error, interface.DataError)


def _in_words(error: CycloptsError) -> str:
    """cyclopts' own message on one line, and where to read on."""
    command = " ".join(error.command_chain or ())
    text = " ".join(str(error).split())
    return f"{text} See: python -m bench {f'{command} ' if command else ''}--help"
