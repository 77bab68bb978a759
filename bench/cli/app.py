"""The commands of the command line and their options. Each command is imported when it is called.

A function a command, in the order of the help: `run`, `tune`, `report`, `merge`, `list`, `show`, `doctor`, `perf`.
Options that several commands take are declared in `bench.cli.options`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from bench import __version__
from bench.cli import options
from bench.cli.options import Text, Texts, protocol, what, where

app = App(
    name="lnl-bench",
    help="The label-noise benchmark: one command from noisy labels to a leaderboard that states how sure it is.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    default_parameter=Parameter(negative="", show_default=False),
    suppress_keyboard_interrupt=False,
)


@app.command
def run(
    *,
    methods: Annotated[Texts, what("Names, globs or all: ce,gce[q=0.5],anl*. Default: all.")] = None,
    data: options.DataOptions | None = None,
    seeds: Annotated[Text, what("5: seeds 0 to 4. 5:8: seeds 5, 6, 7. Default: 5.")] = None,
    noise_seed: Annotated[Text, what("One noise seed for all runs. Default: each run's seed.")] = None,
    draw: options.Draw = None,
    labels: Annotated[Text, what("Noisy labels from a file that `show noise --save-labels` wrote.")] = None,
    training_set: options.TrainingSetOptions | None = None,
    features: options.FeatureOptions | None = None,
    protocol: Annotated[
        Text,
        protocol(
            "shared: one for all, with the shared grid's learning rates if it was run. shared-lr: the data set's. "
            "paper: each method's own published recipe, in fp32; paper:SOURCE: that of one source, see `show method`. "
            "Default: shared."
        ),
    ] = None,
    recipes: Annotated[
        Text,
        protocol("plain: one setting for any noise. published: by noise. Or a file that `tune` wrote. Default: plain."),
    ] = None,
    hold_out: options.HoldOut = None,
    members: Annotated[
        Text, protocol("Copies of each method, trained apart; the mean of their predictions counts. Default: 1.")
    ] = None,
    budget: Annotated[
        Text,
        protocol(
            "equal-compute: every method may spend what the dearest needs; epochs and members are chosen on noisy "
            "held-out labels. equal-compute:UNITS: so many units."
        ),
    ] = None,
    training: options.TrainingOptions | None = None,
    sync_batch_norm: Annotated[
        bool, protocol("Under torchrun on GPUs: batch statistics of the whole batch, not of each process's share.")
    ] = False,
    machine: options.MachineOptions | None = None,
    steps: options.Steps = None,
    images: options.Images = None,
    out: Annotated[Text, where("Folder of the records. Default: runs.")] = None,
    boards: Annotated[Text, where("Folder of the leaderboards. Default: leaderboards.")] = None,
    test_labels: options.TestLabels = None,
    when: Annotated[Text, where("Train what is missing, always, never, or what failed. Default: missing.")] = None,
    plugin: options.Plugins = None,
    shard: Annotated[
        Text, where("2/4: train the second of four equal parts of the plan. slurm: this array task's part.")
    ] = None,
    cluster: options.ExecutorOptions | None = None,
    format: Annotated[Text, where("Form of the result: md, csv or json. Default: md.")] = None,
    dry_run: Annotated[
        bool, where("Print the plan, its expected cost and what is stored of it; train nothing.")
    ] = False,
) -> int:
    """Train every run asked for that has no record yet, and write the leaderboard.

    Lists are comma-separated; an option may be repeated.
    """
    typed = options.typed_options(locals())
    from bench.cli.commands.run import run_command

    return run_command(typed)


@app.command
def tune(
    *,
    methods: Annotated[
        Texts, what("Names, globs or all: gce,anl*. A typed parameter isn't searched. Default: all.")
    ] = None,
    data: options.DataOptions | None = None,
    grid: Annotated[
        Literal["shared"] | None,
        what(
            "shared: instead of studies, every method's learning rate and weight decay from the shared protocol's grid."
        ),
    ] = None,
    seeds: Annotated[
        Text, what("With --grid: splits of each setting. Default: as many as hold 2,000 labels out in all.")
    ] = None,
    trials: Annotated[Text, what("Trials of each study. Default: 30.")] = None,
    also: Annotated[Texts, what("What is searched besides: lr,weight_decay.", name="--with")] = None,
    objective: Annotated[
        Text, what("noisy-val, or clean-val: by the hold-out's clean labels, a privilege. Default: noisy-val.")
    ] = None,
    finalists: Annotated[Text, what("How many of the best are run again on fresh seeds. Default: 5.")] = None,
    study_name: Annotated[Text, what("Begins the studies' names: for a new study beside one that is there.")] = None,
    study_seed: Annotated[Text, what("Seed of what is suggested. Default: 0.")] = None,
    draw: options.Draw = None,
    training_set: options.TrainingSetOptions | None = None,
    features: options.FeatureOptions | None = None,
    hold_out: options.HoldOut = None,
    training: options.SearchedTrainingOptions | None = None,
    storage: Annotated[
        Text, where("Where studies are kept: sqlite:///FILE or postgresql://... Default: a file in --out.")
    ] = None,
    machine: options.MachineOptions | None = None,
    images: options.Images = None,
    steps: options.Steps = None,
    out: Annotated[Text, where("Folder of the records and studies. Default: runs.")] = None,
    boards: Annotated[
        Text, where("Folder of the leaderboards; recipes go to tuning/ in it. Default: leaderboards.")
    ] = None,
    plugin: options.Plugins = None,
    cluster: options.ExecutorOptions | None = None,
    format: Annotated[Literal["md", "json"], where("Form of the result. Default: md.")] = "md",
    dry_run: Annotated[bool, where("Print what would be searched and train nothing.")] = False,
) -> int:
    """Search each method's parameters by accuracy on a hold-out's noisy labels, and choose what to train with.

    With --grid shared: its learning rate and weight decay, from one grid that is the same for all methods.

    The method's own values are the first trial. The best are run again on fresh seeds, and the own values are kept
    unless they lie more than one standard error below the best.
    """
    typed = options.typed_options(locals())
    if grid is not None:
        from bench.cli.commands.tune_grid import grid_command

        return grid_command(typed)
    from bench.cli.commands.tune import tune_command

    return tune_command(typed)


@app.command
def report(
    *,
    out: Annotated[Text, where("Folder of the records. Default: runs.")] = None,
    records: Annotated[
        Texts, Parameter(group=options.WHERE, consume_multiple=True, help="Record files (.jsonl) instead of --out.")
    ] = None,
    boards: Annotated[Text, where("Folder to write leaderboards to. Default: leaderboards.")] = None,
    select: Annotated[
        Literal["last", "last10", "holdout", "best-test"],
        what("Which epoch counts. best-test looks at clean test labels. Default: last."),
    ] = "last",
    budget: Annotated[
        Text, what("equal-compute or equal-compute:UNITS: add tables at equal compute, of the lengths that are there.")
    ] = None,
    test_labels: options.TestLabels = None,
    compare: Annotated[Text, what("Print every row's paired differences to this method instead.")] = None,
    export: Annotated[Text, where("Folder to write the records to as well, short, a file a data set.")] = None,
    format: Annotated[Literal["md", "csv", "json"], where("Form of the result.")] = "md",
) -> int:
    """Write the leaderboards of the records that are there; train nothing."""
    from bench.cli.commands.report import report_command

    return report_command(out, records, boards, select, format, compare, export, budget, test_labels == "audited")


@app.command
def merge(
    *sources: Annotated[str, Parameter(help="Folders that `run --out` wrote, or .jsonl files of records.")],
    out: Annotated[
        str, where("Folder of the records to merge into; made where it is missing. Default: runs.")
    ] = "runs",
    dry_run: Annotated[bool, where("Say what would be copied, and copy nothing.")] = False,
    format: options.TextOrJson = "text",
) -> int:
    """Join the records of several machines; what contradicts is reported, and nothing is overwritten.

    Records and failures are copied, checkpoints aren't. Exit code 1: something couldn't be taken over.
    """
    from bench.cli.commands.merge import merge_command

    return merge_command(sources, out, dry_run, format)


@app.command(name="list")
def list_(
    what: Literal["methods", "datasets", "noises", "models"],
    /,
    *,
    plugin: options.Plugins = None,
    format: Annotated[
        Literal["text", "json", "md"],
        where("Form of the result; md: of datasets, all that is declared. Default: text."),
    ] = "text",
) -> int:
    """List what there is: methods, datasets, noises or models."""
    from bench.cli.commands.list_entries import list_command

    return list_command(what, plugin or [], format)


@app.command
def show(
    what: Literal["method", "dataset", "noise", "run"],
    name: str,
    /,
    *,
    check: Annotated[
        Text,
        what("Go through the copy of the data set in this folder (or table), file by file. Exit code 1: not whole."),
    ] = None,
    dataset: Annotated[str, what("The noise's data set. Default: digits.")] = "digits",
    rate: Annotated[Text, what("The noise's rate. Default: 0.4.")] = None,
    seed: Annotated[Text, what("The noise seed, which is the split's too. Default: 0.")] = None,
    draw: Annotated[Literal["exact", "multinomial"], what("How labels are drawn. Default: exact.")] = "exact",
    labels_are_clean: Annotated[bool, what("Of your own data: every label is known to be right.")] = False,
    image_size: options.ImageSize = None,
    skip_unreadable: options.SkipUnreadable = False,
    save_labels: Annotated[
        Text, where("Write the noisy labels to this file, for `run --labels`: .csv with paths, else JSON.")
    ] = None,
    source: options.SourceOptions | None = None,
    out: Annotated[str, where("Folder of the records. Default: runs.")] = "runs",
    plugin: options.Plugins = None,
    format: options.TextOrJson = "text",
) -> int:
    """Show one method, data set, noise or run in full."""
    typed = options.typed_options(locals())
    from bench.cli.commands.show import show_command

    return show_command(what, name, typed)


@app.command
def posterior(
    *,
    save: Annotated[str, where("File to write: .npz.")],
    dataset: Annotated[Text, what("Data set: digits, cifar10, table:index.csv, ... Default: digits.")] = None,
    seed: Annotated[Text, what("Seed of the training, and of a split that the data set draws. Default: 0.")] = None,
    labels_are_clean: Annotated[bool, what("Of your own data: every label is known to be right.")] = False,
    image_size: options.ImageSize = None,
    skip_unreadable: options.SkipUnreadable = False,
    training: options.TrainingOptions | None = None,
    source: options.SourceOptions | None = None,
    device: Annotated[Text, where("auto, cpu, cuda or cuda:NUMBER. Default: auto.")] = None,
    images: options.Images = None,
    steps: options.Steps = None,
    format: options.TextOrJson = "text",
) -> int:
    """Train a network on clean labels and save how sure it was of each training image, for instance-learned:FILE.

    Cross-entropy on all training images, by the data set's protocol; probabilities are averaged over the epochs.
    """
    typed = options.typed_options(locals())
    from bench.cli.commands.posterior import posterior_command

    return posterior_command(typed)


@app.command
def doctor(*, format: options.TextOrJson = "text") -> int:
    """Say what this machine and installation have: device, precision, threads, folders, versions."""
    from bench.cli.commands.doctor import doctor_command

    return doctor_command(format)


@app.command
def perf(
    *,
    models: Annotated[Text, what("Backbones. Default: cnn-small, and on a GPU cnn8 and preact-resnet18 too.")] = None,
    image_size: Annotated[str, what("Pixels a side.")] = "32",
    batch_size: Annotated[str, what("Images in a batch.")] = "128",
    augment: Annotated[str, what("Weak augmentation.")] = "crop4+flip",
    precision: Annotated[str, what("auto, fp32, bf16 or fp16.")] = "auto",
    steps: Annotated[str, what("How steps are carried out: auto, all, or some of eager,graph,compiled.")] = "auto",
    pairs: Annotated[Text, where("Pairs of steps to time, 6 or more. Default: 50, or as many as 20 s allow.")] = None,
    threads: Annotated[Text, where("Threads. Default: all cores.")] = None,
    device: Annotated[str, where("auto, cpu, cuda or cuda:NUMBER.")] = "auto",
    format: options.TextOrJson = "text",
) -> int:
    """Time the training core on this machine: steps, overhead, share of the matrix peak, evaluation, augmentation."""
    typed = options.typed_options(locals())
    from bench.cli.commands.perf import perf_command

    return perf_command(typed)
