"""What a data set is: declarations that need no data, and one `load`. NumPy only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.calls import written_call
from datasets.samples import Pixels, VectorShape, vector_shape

if TYPE_CHECKING:
    from datasets.audited import AuditedLabels
    from datasets.copy_check import CopyCheck
    from datasets.data_report import DataReport
    from datasets.official import SecondTest
    from datasets.opinions import Opinions

Labels = NDArray[np.int64]
Findings = NDArray[np.int8]
Images = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total) while something long is under way."""
UNSEEN, WRONG, RIGHT = -1, 0, 1
"""What a `Verification` says of a label: that nobody looked at it again, or what came of it."""


class DataError(ValueError):
    """The data can't be had or can't be used: what, why, and what to type next."""


def no_progress(what: str, done: int, total: int) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class AsymmetricPairs:
    """Documented confusions: each `flips` entry (i, j) says that clean class i is mislabelled as j.

    A class may appear once at most on the left. `source` names the literature that the pairs follow.
    """

    flips: tuple[tuple[int, int], ...]
    source: str


@dataclass(frozen=True)
class Protocol:
    """The training settings that the shared protocol gives every method on one data set.

    `augmentation` and `strong_augmentation` are named pipelines of the core, such as "crop4+flip".
    `precision` is "auto", "fp32" or "bf16". `recipes_from` names the data set whose published recipes are used.
    """

    recipes_from: str
    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    momentum: float = 0.9
    nesterov: bool = False
    schedule: str = "cosine"
    gradient_clip: float = 5.0
    augmentation: str = "crop4+flip"
    strong_augmentation: str = "crop4+flip+autoaugment"
    precision: str = "auto"
    source: str = ""


@dataclass(frozen=True)
class Description:
    """What is known of a data set without its images.

    `image_shape` is (height, width, channels), None where only the data knows it or `vectors` says what samples are
    instead; `mean` and `std` are per channel, of pixels scaled to [0, 1], or None where they are computed from the
    training images. `train_size` and `test_size` are None where only the data knows. `superclasses` gives each class's
    superclass id. `seeded_split`: there is no official test set, and each split seed draws its own. `unused_columns`
    are columns that can't be used as labels, each with the reason. `column_files` names the file of each column that
    stands in one of its own beside the data set; the content hash doesn't cover it. `clean_labels` is false where
    nobody knows that labels are clean: a user's own data, and data with real noise, of which people have looked at the
    test labels where `clean_test_labels` is true. `usual_noise` is what `run` takes where none is typed.
    """

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    train_size: int | None
    test_size: int | None
    protocol: Protocol
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    pairs: AsymmetricPairs | None = None
    superclasses: tuple[int, ...] | None = None
    licence: str = ""
    citation: str = ""
    columns: tuple[str, ...] = ()
    seeded_split: bool = False
    unused_columns: tuple[tuple[str, str], ...] = ()
    column_files: tuple[tuple[str, str], ...] = ()
    clean_labels: bool = True
    clean_test_labels: bool = False
    usual_noise: str = "sym"
    vectors: VectorShape | None = None


@dataclass(frozen=True)
class Part:
    """Images (N, H, W, C) or vectors (N, V, D), labels int64 (N,), object masks bool (N, H, W) where known.

    They may be an array, a memory-mapped one, or image files that are decoded when they are asked for. A test part has
    one view of each vector.
    """

    images: Pixels
    labels: Labels
    masks: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Verification:
    """What people found who looked again at training labels: a real truth for selectors, of some or all labels.

    `findings` (N,) holds RIGHT, WRONG or UNSEEN for the label of each training image as it stands in `Part.labels`;
    `meaning` says what WRONG stands for, such as "found wrong by a person" or "doubted by the expert who gave it". What
    would be right isn't known: so selectors are judged on the labels that were looked at, while *memorised*,
    *corrected* and the like stay unknown. It counts only under `as-given`, and no method ever sees it. Whatever it is
    read from belongs into the content hash.
    """

    findings: Findings
    meaning: str

    def only(self, kept: NDArray[np.int64] | NDArray[np.bool_]) -> Verification:
        """That of some of the images."""
        return replace(self, findings=self.findings[kept])


@dataclass(frozen=True)
class Data:
    """A loaded data set. `columns` are further integer labels of the training images, by name.

    `report` says what was found where files were listed, `verified` what people found of real labels. Measured with
    alone: `audited`, the test labels after people looked again, and `opinions` of people.
    """

    description: Description
    train: Part
    test: Part
    mean: tuple[float, ...]
    std: tuple[float, ...]
    columns: Mapping[str, Labels] = field(default_factory=dict)
    report: DataReport | None = None
    verified: Verification | None = None
    audited: AuditedLabels | None = None
    opinions: Opinions | None = None
    second_test: SecondTest | None = None


@dataclass(frozen=True)
class Outline:
    """What planning and noise need of a data set: no pixels.

    `labels` (N,) and `columns` are the training images', `test` counts the test images, `image_shape` is (H, W, C).
    `vectors` says what samples are that aren't images; `image_shape` is then theirs.
    """

    labels: Labels
    test: int
    image_shape: tuple[int, int, int]
    columns: Mapping[str, Labels] = field(default_factory=dict)
    vectors: VectorShape | None = None


@dataclass(frozen=True)
class Options:
    """Where data lies and what may be done to get it.

    None of this changes what is learnt except `image_size`, and `skip_unreadable`, which leaves out a user's own images
    that can't be read.

    `stream`: the decoded images may take more memory and disk than there is; decode files when they are asked for.
    """

    root: Path | None = None
    download: bool = False
    image_size: int | None = None
    cache: Path | None = None
    stream: bool = False
    skip_unreadable: bool = False
    progress: Progress = no_progress


class DataSet(ABC):
    """One file per data set; the harness finds the class by its file, nobody registers it.

    `argument` names what follows the colon in `name:ARGUMENT` (None: nothing may). `parameters` are the bracketed
    ones of `name[classes=20]`, with their defaults (False for a flag, typed without a value); the content hash covers
    what they change. `unrecorded` are those that only say how the same content is found, which no record's name holds.
    `audit` names the file of `datasets/audits/` on its test labels.

    For docs/datasets.md: `layout` draws the files as they must lie, `access` says how they are had, `homepage` where,
    and `truth` what tells which training labels are wrong, where something does (see `Verification`).
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    argument: ClassVar[str | None] = None
    parameters: ClassVar[Mapping[str, float | int | str]] = {}
    unrecorded: ClassVar[frozenset[str]] = frozenset()
    homepage: ClassVar[str] = ""
    audit: str | None = None
    access: ClassVar[str] = ""
    layout: ClassVar[str] = ""
    truth: ClassVar[str] = ""

    def __init__(
        self, options: Options, argument: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> None:
        self.options = options
        self.argument_value = argument
        self.values: dict[str, Any] = dict(self.parameters) | dict(parameters or {})

    @classmethod
    def opened(
        cls, options: Options, argument: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> DataSet:
        """The data set as it was typed; another one where the file says that it holds something else."""
        return cls(options, argument, parameters)

    def recorded_call(self) -> str:
        """The name with the parameters that records hold: `synthetic[classes=20]`."""
        return written_call(self.name, self.values, self.parameters, self.unrecorded)

    @abstractmethod
    def describe(self) -> Description:
        """Declarations; reads images only where nothing else tells (a user's own folder)."""

    @abstractmethod
    def content_hash(self) -> str:
        """SHA-256 (hex) over file bytes as stored and a table's rows, never over decoded pixels."""

    @abstractmethod
    def load(self, split_seed: int) -> Data:
        """Read the images. `split_seed` matters only where the data set has no official split.

        Raises DataError where files are missing or unreadable, naming all of them at once.
        """

    def outline(self, split_seed: int) -> Outline:
        """Labels, counts and shape. For a data set that answers without reading its images to do so."""
        data = self.load(split_seed)
        images = data.train.images
        if len(images.shape) == 3:
            vectors = vector_shape(images)
            return Outline(data.train.labels, len(data.test), vectors.image_shape, data.columns, vectors)
        height, width, channels = images.shape[1:]
        return Outline(data.train.labels, len(data.test), (height, width, channels), data.columns)

    def paths(self, split_seed: int) -> Sequence[str] | None:
        """The files of the training images in their order, as the owner calls them; None where they aren't files."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Sentences, without their full stops, on files beside the data set that are left unused."""
        return ()

    def report(self) -> DataReport | None:
        """What was found, left out and guessed where a user's own files were listed; None for any other data set."""
        return None

    def known_files(self) -> Mapping[Path, str]:
        """The files of a copy that are known by name, each with its maker's checksum, "md5:..." or "sha256:...".

        The checksum is empty where nobody states one. Raises DataError where there is no copy.
        """
        return {}

    def check(self) -> CopyCheck:
        """Go through a whole copy, and say what is wrong with it; `options.progress` is told how far it is."""
        from datasets.copy_check import check_copy, check_loaded

        return check_copy(self, lambda found: check_loaded(self, found))

    def prepare(self) -> None:  # noqa: B027 -- most have nothing to prepare
        """Do once what every first `load` would do, such as decoding files. Raises DataError as `load` does."""
