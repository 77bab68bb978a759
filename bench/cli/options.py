"""Options of the command line that several commands share, each declared once: its words in the help, and its group.

A dataclass is a group of options that a command takes together: `Parameter(name="*")` gives its fields no prefix. The
part of an option in the plan, its bounds and its default value are in `bench.planning.request`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

WHAT = Group("What is compared", sort_key=1)
PROTOCOL = Group("What the protocol sets, for all methods alike", sort_key=2)
WHERE = Group("Where and how it runs; none of this changes a result", sort_key=3)


def what(text: str, name: str | None = None) -> Parameter:
    """An option that says what is compared."""
    return Parameter(group=WHAT, help=text, name=name)


def protocol(text: str) -> Parameter:
    """An option that the protocol has a value for."""
    return Parameter(group=PROTOCOL, help=text)


def where(text: str) -> Parameter:
    """An option that changes no result."""
    return Parameter(group=WHERE, help=text)


Texts = list[str] | None
Text = str | None

TestLabels = Annotated[
    Literal["given", "audited"] | None,
    what("audited: show accuracy by audited test labels too (mnist, cifar10, cifar100). Default: given."),
]
Draw = Annotated[Text, what("exact: counts as the rate says. multinomial: independent draws. Default: exact.")]
HoldOut = Annotated[Text, protocol("Share of the training set held out, with its noisy labels. Default: 0.1.")]
ImageSize = Annotated[Text, what("Bring images to this many pixels a side.")]
SkipUnreadable = Annotated[bool, what("Go on without images of yours that can't be read. Boards say how many.")]
Steps = Annotated[Text, where("How steps are carried out: auto, eager, graph (CUDA) or compiled. Default: auto.")]
Images = Annotated[
    Text, where("Where images are kept: device, host (memory), disk, or auto, which goes by their size.")
]
Plugins = Annotated[Texts, where("File with methods or data sets of your own. Repeatable.")]
TextOrJson = Annotated[Literal["text", "json"], where("Form of the result. Default: text.")]


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Data set and noise."""

    dataset: Annotated[Text, what("Data set: digits, cifar10, table:index.csv, ... Default: digits.")] = None
    noise: Annotated[
        Texts, what("Noises: sym,asym,matrix:FILE,column:NAME. Default: sym; as-given where labels hold real noise.")
    ] = None
    rate: Annotated[Texts, what("Noise rates, 0 to 1: 0.2,0.4. Default: 0.4.")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingSetOptions:
    """The training images, and what methods are given beside their labels."""

    noise_rate: Annotated[
        Text, what("What methods that need the noise rate are told. Default: the realised share of wrong labels.")
    ] = None
    transition_matrix: Annotated[
        Text, what("File of the matrix that methods that need it are told: CSV or npy. Default: the noise's own.")
    ] = None
    labels_are_clean: Annotated[
        bool, what("Of your own data: every label is known to be right. Default: labels as given, noise unknown.")
    ] = False
    imbalance: Annotated[Text, what("Long tail: smallest class size divided by the largest.")] = None
    train_size: Annotated[Text, what("Train on this many images, drawn by class.")] = None
    image_size: ImageSize = None
    skip_unreadable: SkipUnreadable = False


@Parameter(name="*")
@dataclass(frozen=True)
class FeatureOptions:
    """Frozen features in the place of images, and weights that a network starts from."""

    features: Annotated[
        Text,
        what(
            "Train on features of a frozen backbone: timm:NAME with its --weights, or auto: the backbone of the extra "
            "lnl-bench[encoder]."
        ),
    ] = None
    feature_size: Annotated[Text, what("Pixels a side that the backbone is given. Default: 128.")] = None
    feature_views: Annotated[
        Text, what("Views of each training image: the plain one, the others cropped and mirrored. Default: 4.")
    ] = None
    feature_components: Annotated[Text, what("As many principal components in place of the features.")] = None
    weights: Annotated[
        Text, what("File of weights of a timm model, for --features or --model: .safetensors or .pth.")
    ] = None
    pretrained: Annotated[bool, what("Fetch the weights that timm has for the model of --features or --model.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingOptions:
    """Hyperparameters, in place of the protocol's."""

    epochs: Annotated[Text, protocol("Epochs.")] = None
    batch_size: Annotated[Text, protocol("Images in a batch.")] = None
    lr: Annotated[Text, protocol("Learning rate.")] = None
    weight_decay: Annotated[Text, protocol("Weight decay, but for methods with a penalty of their own.")] = None
    optimizer: Annotated[Text, protocol("sgd, adam or adamw.")] = None
    schedule: Annotated[
        Text, protocol("cosine, constant, step:40,80@0.1, exponential:0.97, cosine-restarts:10, linear:80.")
    ] = None
    augment: Annotated[Text, protocol("Augmentation, such as crop4+flip, or none.")] = None
    model: Annotated[Text, protocol("Backbone; see `list models`.")] = None
    precision: Annotated[Text, protocol("auto, fp32, bf16 or fp16. Default: auto.")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class SearchedTrainingOptions(TrainingOptions):
    """The same where the learning rate may be searched."""

    lr: Annotated[Text, protocol("Learning rate, or what --with lr is searched around.")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class SourceOptions:
    """The places that data is read from."""

    data_root: Annotated[Text, where("Folder that data sets lie in.")] = None
    download: Annotated[bool, where("Allow downloads of missing data.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class MachineOptions(SourceOptions):
    """The places that data is read from, and the machine's part in training."""

    jobs: Annotated[Text, where("Runs at a time. Default: as many as cores; 1 on CUDA.")] = None
    device: Annotated[Text, where("auto, cpu, cuda or cuda:NUMBER. Default: auto.")] = None


@Parameter(name="*")
@dataclass(frozen=True)
class ExecutorOptions:
    """The processes that train: this machine's or a cluster's."""

    executor: Annotated[
        Text, where("local: processes of this machine. ray: a Ray cluster, or this machine by Ray. Default: local.")
    ] = None
    ray_address: Annotated[
        Text, where("auto: the cluster that this machine is in. HOST:PORT: that one. Default: $RAY_ADDRESS, or none.")
    ] = None
    gpus_per_run: Annotated[
        Text, where("Share of a GPU for each run on Ray, such as 0.25. Default: 1, or what --jobs leaves.")
    ] = None


def typed_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A command's arguments as one flat mapping in their order, without the options that weren't typed."""
    options: dict[str, Any] = {}
    for name, value in arguments.items():
        options |= vars(value) if is_dataclass(value) else {name: value}
    return {name: value for name, value in options.items() if value is not None}
