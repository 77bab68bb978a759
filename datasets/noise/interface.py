"""What a noise is: a name that carries the convention, and a transition matrix, or labels of its own. NumPy only."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from datasets.calls import written_call
from datasets.interface import AsymmetricPairs, Data, DataError, Description, Labels
from datasets.noise.files import read_bytes
from datasets.samples import Pixels, as_images
from datasets.selected import select

Matrix = NDArray[np.float64]
Flips = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class NoiseFacts:
    """What a noise may know of a data set: declarations, and how large the drawn classes are; no labels and no images.

    `superclasses` gives each class's superclass id; `columns` names the further labels that the training images have,
    `unused_columns` those that can't be used, with the reason, and `column_files` the file of each column that has one.
    `counts` are the images (K,) of each class in the draw, None where no data was read: classes then count as equally
    large. `image_shape` is (height, width, channels), None where nobody knows it yet. `confusable` are the pairs of
    classes that a quick model confuses most, there for a noise that `reads_confusions` alone.
    """

    classes: tuple[str, ...]
    pairs: AsymmetricPairs | None = None
    superclasses: tuple[int, ...] | None = None
    columns: tuple[str, ...] = ()
    unused_columns: Mapping[str, str] = field(default_factory=dict)
    column_files: Mapping[str, str] = field(default_factory=dict)
    data_set: str = "this data set"
    counts: tuple[int, ...] | None = None
    confusable: AsymmetricPairs | None = None
    image_shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, description: Description) -> NoiseFacts:
        """The facts that a data set's description holds."""
        return cls(
            classes=description.classes,
            pairs=description.pairs,
            superclasses=description.superclasses,
            columns=description.columns,
            unused_columns=dict(description.unused_columns),
            column_files=dict(description.column_files),
            data_set=description.name,
            image_shape=description.image_shape,
        )


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels as a method meets them, and where they come from.

    `labels` is int64 (N,); `matrix` the float64 (K, K) matrix that they were drawn from (row: clean class), None for
    labels that were given; `pairs` the (clean, noisy) class pairs that it flips, where it is made of pairs.
    `realised_rate` is the share of labels that differ from the clean ones, None where no label is known to be clean;
    `sha256` is `label_hash(labels)`. `clean` are the clean labels (N,) where noise changes even these: -1 for an image
    that is of no class (an outsider); None where they are what they were.
    """

    labels: Labels
    matrix: Matrix | None
    pairs: Flips
    source: str
    realised_rate: float | None
    sha256: str
    caption: str
    clean: Labels | None = None


@dataclass(frozen=True, eq=False)
class ImageSource:
    """The training set that a draw's images come from, for a noise that looks at each image.

    `index` (N,) are the drawn images' places in the training set, which has `total` images. `data_sha256` is the
    data's content hash, `split` what tells this training set from others of the same data set (as in
    `datasets.noise.labels.save_labels`). `pixels` (N, H, W, C) are those of the drawn images: bytes, or numbers where
    samples are vectors; None while a run is planned. `mean` and `std` are per channel, of bytes scaled to [0, 1].
    `cache` is the folder for what can be drawn again; None: nothing is kept.
    """

    index: NDArray[np.int64]
    total: int
    data_sha256: str
    split: str | None = None
    pixels: Pixels | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    cache: Path | None = None

    @classmethod
    def of(
        cls, data: Data, index: NDArray[np.int64], data_sha256: str, split: str | None, cache: Path | None
    ) -> ImageSource:
        """The images `index` of a loaded data set, not yet read."""
        pixels = select(as_images(data.train.images), index)
        return cls(index, len(data.train), data_sha256, split, pixels, tuple(data.mean), tuple(data.std), cache)


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """The images of a draw as a noise meets them that gives labels itself, instead of by a matrix.

    `clean` (N,) are their clean labels, `columns` their further labels (N,), -1 where an image has none. `draw` is
    "exact" or "multinomial", as far as the noise has a use for it. `source` is None where nothing but labels is known.
    """

    clean: Labels
    facts: NoiseFacts
    rate: float | None
    seed: int
    columns: Mapping[str, Labels] = field(default_factory=dict)
    draw: str = "exact"
    source: ImageSource | None = None


class Noise(ABC):
    """One file per noise; the harness finds the class by its file, nobody registers it.

    `argument` says what follows the colon in `name:ARGUMENT` (None: nothing may; `argument_optional`: nothing has to),
    where "NAMES" are columns' names with commas between them. `parameters` are those in brackets, `name[key=value]`,
    with their default values; `choices` lists the values of those that have few. A subclass checks its argument in the
    constructor, as far as that needs no data set. `is_known` is false for noise that is in the labels already, nobody
    knows how much: then no label counts as clean. `has_uneven_rows`: its wrong labels spread unevenly over the classes
    of a row, at any rate in the same proportions; they are then drawn so that they stay as they are as the rate rises.

    `reads_pixels`: a draw needs the images themselves. `reads_posterior`: the file of the argument holds a posterior of
    one training set, so that planning compares the two (`check`). `is_adversary`: labels are made to do the most harm,
    which nothing in nature does; boards set it apart.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    takes_rate: ClassVar[bool] = True
    argument: ClassVar[Literal["FILE", "NAME", "NAMES", "WORD"] | None] = None
    argument_optional: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, float | int | str]] = {}
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    is_known: ClassVar[bool] = True
    reads_pixels: ClassVar[bool] = False
    reads_posterior: ClassVar[bool] = False
    reads_confusions: bool = False
    is_adversary: ClassVar[bool] = False
    has_uneven_rows: ClassVar[bool] = False

    def __init__(self, argument: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        if self.argument is None and argument is not None:
            raise DataError(f"Noise {self.name!r} takes nothing after a colon. Type --noise {self.name}.")
        if self.argument is not None and not argument and not self.argument_optional:
            what = "a file" if self.argument == "FILE" else "a column's name"
            raise DataError(f"Noise {self.name!r} needs {what}. Type --noise {self.name}:{self.argument}.")
        self.argument_value = argument or ""
        self.values: dict[str, Any] = dict(self.parameters) | dict(parameters or {})
        for key, known in self.choices.items():
            if self.values[key] not in known:
                raise DataError(
                    f"Noise {self.name!r} has no {key} {self.values[key]!r}. Type --noise "
                    + " or ".join(f"{self.name}[{key}={each}]" for each in known)
                    + "."
                )

    def recorded_name(self) -> str:
        """The name as records hold it: with the parameters that aren't the default values, and without folders."""
        called = written_call(self.name, self.values, self.parameters)
        argument = Path(self.argument_value).name if self.argument == "FILE" else self.argument_value
        return f"{called}:{argument}" if argument else called

    @abstractmethod
    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix | None:
        """The transition matrix, float64 (K, K), T[i, j] = P(noisy = j | clean = i); None where labels are given.

        Raises DataError for a rate or a data set that this noise can't do.
        """

    def pairs(self, facts: NoiseFacts) -> Flips:
        """The (clean, noisy) class pairs, for noise that is made of pairs."""
        return ()

    def origin(self, facts: NoiseFacts) -> str:
        """The literature (or file) that the matrix follows on this data set."""
        return self.source

    def convention(self, facts: NoiseFacts) -> str:
        """What a caption adds to the rate, such as "the true class included"; empty where the rate says all."""
        return ""

    def notes(self, facts: NoiseFacts) -> tuple[str, ...]:
        """Sentences on what was guessed or changed where the noise was read."""
        return ()

    def labels(self, columns: Mapping[str, Labels]) -> Labels | None:
        """Labels (N,) that are given instead of drawn; None for noise with a matrix."""
        return None

    def wrong_shares(self, facts: NoiseFacts, rate: float | None) -> NDArray[np.float64] | None:
        """The share (K,) of wrong labels that an exact draw rounds in each class; None where it doesn't go by classes.

        Raises DataError as `matrix` does.
        """
        matrix = self.matrix(facts, rate)
        return None if matrix is None else 1 - np.diag(matrix)

    def assign(self, images: DrawnImages) -> Labels | None:
        """Labels (N,) of the drawn images, for noise without a matrix that needs more than columns to give them."""
        return self.labels(images.columns)

    def outsiders(self, images: DrawnImages) -> NDArray[np.bool_] | None:
        """Which drawn images (N,) are of no class after this noise: their clean label is -1. None where none can be."""
        return None

    def kept_classes(self, classes: int) -> int:
        """The number of classes that are left, the first ones of `classes`."""
        return classes

    @property
    def donor(self) -> str:
        """The data set, as typed, whose images take the place of some; empty for noise that leaves images alone."""
        return ""

    def changed_data(
        self, data: Data, drawn: NDArray[np.int64], outside: NDArray[np.bool_], donor: Pixels | None, seed: int
    ) -> Data:
        """The data set as this noise leaves it, for noise that has outsiders: fewer classes, or other images.

        `drawn` (N,) are the places of the drawn images, `outside` (N,) says which of them are outsiders, `donor` are
        the training images of the data set `donor`.
        """
        return data

    def check(self, images: DrawnImages) -> None:  # noqa: B027 -- most have nothing to check
        """Raise DataError where these images rule this noise out. Called while planning, so none of them is read.

        Only a noise that `reads_posterior` is asked.
        """

    def remark(self, clean: Labels, noisy: Labels, facts: NoiseFacts) -> str:
        """What a caption adds that only the drawn labels (N,) tell; empty where the rates say all."""
        return ""

    def labelled(self, columns: Mapping[str, Labels]) -> NDArray[np.int64] | None:
        """Positions (n,), rising, of the training images that have a label where some have none; None where all do.

        The others stay out: a draw is made among these.
        """
        return None

    def columns_read(self, facts: NoiseFacts) -> tuple[str, ...]:
        """The further labels that this noise reads, by name."""
        return ()

    def file_hash(self) -> str | None:
        """SHA-256 (hex) of the file that this noise names; None for noise that names none."""
        return None

    def source_hash(self, facts: NoiseFacts) -> str | None:
        """SHA-256 (hex) of the files that the labels come from; None for noise that its name and a rate say in full.

        These are the file that the noise names, and files of columns that it reads, where the data set's content hash
        doesn't cover them.
        """
        files = dict.fromkeys(facts.column_files.get(name) for name in self.columns_read(facts))
        hashes = [hashlib.sha256(read_bytes(Path(file))).hexdigest() for file in files if file is not None]
        own = self.file_hash()
        hashes += [] if own is None else [own]
        return (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else None
        )

    def checked_rate(self, rate: float | None) -> float:
        """`rate` as a float in [0, 1]; 0 for a noise that has none. Raises DataError for every other combination."""
        if not self.takes_rate:
            if rate is not None:
                raise DataError(f"Noise {self.name!r} has no rate, it is what it is. Leave out --rate {rate:g}.")
            return 0.0
        if rate is None:
            raise DataError(f"Noise {self.name!r} needs a rate, a share from 0 to 1. Type --rate 0.4.")
        if not 0 <= rate <= 1:  # also refuses NaN
            raise DataError(f"A noise rate of {rate:g} is impossible: it is a share, from 0 to 1. Type --rate 0.4.")
        return float(rate)


def label_hash(labels: Labels) -> str:
    """SHA-256 (hex) over the labels as little-endian int64 bytes."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").tobytes()).hexdigest()
