"""Options of the command line that several commands share, and the groups that the help shows them in."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from bench import __version__

WHAT = Group("What is compared", sort_key=1)
PROTOCOL = Group("What the protocol sets, for all methods alike", sort_key=2)
WHERE = Group("Where and how it runs; none of this changes a result", sort_key=3)

Texts = list[str] | None
Text = str | None
Format = Annotated[Literal["md", "csv", "json"], Parameter(group=WHERE, help="Form of the result.", negative="")]
Plugins = Annotated[
    Texts, Parameter(group=WHERE, help="File with methods or data sets of your own. Repeatable.", negative="")
]


def what(text: str) -> Parameter:
    """An option that says what is compared."""
    return Parameter(group=WHAT, help=text)


def protocol(text: str) -> Parameter:
    """An option that the protocol has a value for."""
    return Parameter(group=PROTOCOL, help=text)


def where(text: str) -> Parameter:
    """An option that changes no result."""
    return Parameter(group=WHERE, help=text)


Dataset = Annotated[Text, what("Data set: digits, cifar10, table:index.csv, ... Default: digits.")]
Noise = Annotated[Texts, what("Noises: sym,asym,matrix:FILE,column:NAME. Default: sym.")]
Rate = Annotated[Texts, what("Noise rates, 0 to 1: 0.2,0.4. Default: 0.4.")]
Draw = Annotated[Text, what("exact: counts as the rate says. multinomial: independent draws. Default: exact.")]
NoiseRate = Annotated[
    Text, what("What methods that need the noise rate are told. Default: the realised share of wrong labels.")
]
Imbalance = Annotated[Text, what("Long tail: smallest class size divided by the largest.")]
TrainSize = Annotated[Text, what("Train on this many images, drawn by class.")]
ImageSize = Annotated[Text, what("Bring images to this many pixels a side.")]
HoldOut = Annotated[Text, protocol("Share of the training set held out, with its noisy labels. Default: 0.1.")]
Epochs = Annotated[Text, protocol("Epochs.")]
BatchSize = Annotated[Text, protocol("Images in a batch.")]
WeightDecay = Annotated[Text, protocol("Weight decay, but for methods with a penalty of their own.")]
Optimizer = Annotated[Text, protocol("sgd, adam or adamw.")]
Schedule = Annotated[Text, protocol("cosine, constant, step:40,80@0.1, exponential:0.97, cosine-restarts:10.")]
Augment = Annotated[Text, protocol("Augmentation, such as crop4+flip, or none.")]
Model = Annotated[Text, protocol("Backbone; see `list models`.")]
Precision = Annotated[Text, protocol("auto, fp32, bf16 or fp16. Default: auto.")]
DataRoot = Annotated[Text, where("Folder that data sets lie in.")]
Download = Annotated[bool, where("Allow downloads of missing data.")]
Jobs = Annotated[Text, where("Runs at a time. Default: as many as cores; 1 on CUDA.")]
Device = Annotated[Text, where("auto, cpu, cuda or cuda:NUMBER. Default: auto.")]
Steps = Annotated[Text, where("How steps are carried out: auto, eager, graph (CUDA) or compiled. Default: auto.")]
Executor = Annotated[
    Text, where("local: processes of this machine. ray: a Ray cluster, or this machine by Ray. Default: local.")
]
RayAddress = Annotated[
    Text, where("auto: the cluster that this machine is in. HOST:PORT: that one. Default: $RAY_ADDRESS, or none.")
]
GpusPerRun = Annotated[
    Text, where("Share of a card for each run on Ray, such as 0.25. Default: 1, or what --jobs leaves.")
]
Images = Annotated[
    Text, where("Where images are kept: device, host (memory), disk, or auto, which goes by their size.")
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


@app.command
def run(
    *,
    methods: Annotated[Texts, what("Names, globs or all: ce,gce[q=0.5],anl*. Default: all.")] = None,
    dataset: Dataset = None,
    noise: Noise = None,
    rate: Rate = None,
    seeds: Annotated[Text, what("5: seeds 0 to 4. 5:8: seeds 5, 6, 7. Default: 5.")] = None,
    noise_seed: Annotated[Text, what("One noise seed for all runs. Default: each run's seed.")] = None,
    draw: Draw = None,
    labels: Annotated[Text, what("Noisy labels from a file that `show noise --save-labels` wrote.")] = None,
    noise_rate: NoiseRate = None,
    imbalance: Imbalance = None,
    train_size: TrainSize = None,
    image_size: ImageSize = None,
    protocol: Annotated[
        Text,
        protocol(
            "shared: one for all, with the shared grid's learning rates if it was run. shared-lr: the data set's. "
            "paper: each method's own. Default: shared."
        ),
    ] = None,
    recipes: Annotated[
        Text,
        protocol("plain: one setting for any noise. published: by noise. Or a file that `tune` wrote. Default: plain."),
    ] = None,
    hold_out: HoldOut = None,
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
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Annotated[Text, protocol("Learning rate.")] = None,
    weight_decay: WeightDecay = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    augment: Augment = None,
    model: Model = None,
    precision: Precision = None,
    sync_batch_norm: Annotated[
        bool, protocol("Under torchrun on cards: batch statistics of the whole batch, not of each process's share.")
    ] = False,
    data_root: DataRoot = None,
    download: Download = False,
    jobs: Jobs = None,
    device: Device = None,
    steps: Steps = None,
    images: Images = None,
    out: Annotated[Text, where("Folder of the records. Default: runs.")] = None,
    boards: Annotated[Text, where("Folder of the leaderboards. Default: leaderboards.")] = None,
    when: Annotated[Text, where("Train what is missing, always, never, or what failed. Default: missing.")] = None,
    plugin: Plugins = None,
    shard: Annotated[
        Text, where("2/4: train the second of four equal parts of the plan. slurm: this array task's part.")
    ] = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
    gpus_per_run: GpusPerRun = None,
    format: Annotated[Text, where("Form of the result: md, csv or json. Default: md.")] = None,
    dry_run: Annotated[
        bool, where("Print the plan, its expected cost and what is stored of it; train nothing.")
    ] = False,
) -> int:
    """Train every run asked for that has no record yet, and write the leaderboard.

    Lists are comma-separated; an option may be repeated.
    """
    options = {name: value for name, value in locals().items() if value is not None}
    from bench.cli.commands.run import run_command

    return run_command(options)


@app.command
def tune(
    *,
    methods: Annotated[
        Texts, what("Names, globs or all: gce,anl*. A typed parameter isn't searched. Default: all.")
    ] = None,
    dataset: Dataset = None,
    noise: Noise = None,
    rate: Rate = None,
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
    also: Annotated[
        Texts, Parameter(name="--with", group=WHAT, help="What is searched besides: lr,weight_decay.")
    ] = None,
    objective: Annotated[
        Text,
        what("noisy-val, or clean-val: by the hold-out's clean labels, a privilege. Default: noisy-val."),
    ] = None,
    finalists: Annotated[Text, what("How many of the best are run again on fresh seeds. Default: 5.")] = None,
    study_name: Annotated[Text, what("Begins the studies' names: for a new study beside one that is there.")] = None,
    study_seed: Annotated[Text, what("Seed of what is suggested. Default: 0.")] = None,
    draw: Draw = None,
    noise_rate: NoiseRate = None,
    imbalance: Imbalance = None,
    train_size: TrainSize = None,
    image_size: ImageSize = None,
    hold_out: HoldOut = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Annotated[Text, protocol("Learning rate, or what --with lr is searched around.")] = None,
    weight_decay: WeightDecay = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    augment: Augment = None,
    model: Model = None,
    precision: Precision = None,
    storage: Annotated[
        Text, where("Where studies are kept: sqlite:///FILE or postgresql://... Default: a file in --out.")
    ] = None,
    data_root: DataRoot = None,
    download: Download = False,
    jobs: Jobs = None,
    device: Device = None,
    images: Images = None,
    steps: Steps = None,
    out: Annotated[Text, where("Folder of the records and studies. Default: runs.")] = None,
    boards: Annotated[
        Text, where("Folder of the leaderboards; recipes go to tuning/ in it. Default: leaderboards.")
    ] = None,
    plugin: Plugins = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
    gpus_per_run: GpusPerRun = None,
    format: Annotated[Literal["md", "json"], where("Form of the result. Default: md.")] = "md",
    dry_run: Annotated[bool, where("Print what would be searched and train nothing.")] = False,
) -> int:
    """Search each method's parameters by accuracy on a hold-out's noisy labels, and choose what to train with.

    With --grid shared: its learning rate and weight decay, from one grid that is the same for all methods.

    The method's own values are the first trial. The best are run again on fresh seeds, and the own values are kept
    unless they lie more than one standard error below the best.
    """
    options = {name: value for name, value in locals().items() if value is not None}
    if grid is not None:
        from bench.cli.commands.tune_grid import grid_command

        return grid_command(options)
    from bench.cli.commands.tune import tune_command

    return tune_command(options)


@app.command
def report(
    *,
    out: Annotated[Text, where("Folder of the records. Default: runs.")] = None,
    records: Annotated[
        Texts, Parameter(group=WHERE, consume_multiple=True, help="Record files (.jsonl) instead of --out.")
    ] = None,
    boards: Annotated[Text, where("Folder to write leaderboards to. Default: leaderboards.")] = None,
    select: Annotated[
        Literal["last", "last10", "holdout", "best-test"],
        what("Which epoch counts. best-test looks at clean test labels. Default: last."),
    ] = "last",
    budget: Annotated[
        Text, what("equal-compute or equal-compute:UNITS: add tables at equal compute, of the lengths that are there.")
    ] = None,
    compare: Annotated[Text, what("Print every row's paired differences to this method instead.")] = None,
    export: Annotated[Text, where("Folder to write the records to as well, short, a file a data set.")] = None,
    format: Format = "md",
) -> int:
    """Write the leaderboards of the records that are there; train nothing."""
    from bench.cli.commands.report import report_command

    return report_command(out, records, boards, select, format, compare=compare, export=export, budget=budget)


@app.command
def merge(
    *sources: Annotated[str, Parameter(help="Folders that `run --out` wrote, or .jsonl files of records.")],
    out: Annotated[
        str, where("Folder of the records to merge into; made where it is missing. Default: runs.")
    ] = "runs",
    dry_run: Annotated[bool, where("Say what would be copied, and copy nothing.")] = False,
    format: Annotated[Literal["text", "json"], where("Form of the result. Default: text.")] = "text",
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
    plugin: Plugins = None,
    format: Annotated[Literal["text", "json"], where("Form of the result. Default: text.")] = "text",
) -> int:
    """List what there is: methods, datasets, noises or models."""
    from bench.cli.commands.show import list_command

    return list_command(what, plugin or [], format)


@app.command
def show(
    what: Literal["method", "dataset", "noise", "run"],
    name: str,
    /,
    *,
    dataset: Annotated[str, what("The noise's data set. Default: digits.")] = "digits",
    rate: Annotated[Text, what("The noise's rate. Default: 0.4.")] = None,
    seed: Annotated[Text, what("The noise seed, which is the split's too. Default: 0.")] = None,
    draw: Annotated[Literal["exact", "multinomial"], what("How labels are drawn. Default: exact.")] = "exact",
    save_labels: Annotated[Text, where("Write the noisy labels to this file, for `run --labels`.")] = None,
    data_root: DataRoot = None,
    download: Download = False,
    out: Annotated[str, where("Folder of the records. Default: runs.")] = "runs",
    plugin: Plugins = None,
    format: Annotated[Literal["text", "json"], where("Form of the result. Default: text.")] = "text",
) -> int:
    """Show one method, data set, noise or run in full."""
    options = {name: value for name, value in locals().items() if value is not None}
    from bench.cli.commands.show import show_command

    return show_command(**options)


@app.command
def doctor(*, format: Annotated[Literal["text", "json"], where("Form of the result. Default: text.")] = "text") -> int:
    """Say what this machine and installation have: device, precision, threads, folders, versions."""
    from bench.cli.commands.doctor import doctor_command

    return doctor_command(format)


@app.command
def perf(
    *,
    models: Annotated[str, what("Backbones.")] = "cnn-small,cnn8,preact-resnet18",
    image_size: Annotated[str, what("Pixels a side.")] = "32",
    batch_size: Annotated[str, what("Images in a batch.")] = "128",
    augment: Annotated[str, what("Weak augmentation.")] = "crop4+flip",
    precision: Annotated[str, what("auto, fp32, bf16 or fp16.")] = "auto",
    steps: Annotated[str, what("How steps are carried out: auto, all, or some of eager,graph,compiled.")] = "auto",
    pairs: Annotated[str, where("Pairs of steps to time, 6 or more.")] = "50",
    threads: Annotated[Text, where("Threads. Default: all cores.")] = None,
    device: Annotated[str, where("auto, cpu, cuda or cuda:NUMBER.")] = "auto",
    format: Annotated[Literal["text", "json"], where("Form of the result. Default: text.")] = "text",
) -> int:
    """Time the training core on this machine: steps, overhead, share of the matrix peak, evaluation, augmentation."""
    from bench.cli.commands.perf import perf_command

    return perf_command(models, batch_size, image_size, pairs, threads, device, precision, augment, steps, format)
