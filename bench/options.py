"""Options of the command line that several commands share, and the groups that the help shows them in."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Group, Parameter

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
Images = Annotated[
    Text, where("Where images are kept: device, host (memory), disk, or auto, which goes by their size.")
]
