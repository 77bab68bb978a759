"""ANIMAL-10N."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.arrays import channel_statistics, resized
from datasets.binary_records import Records, open_records
from datasets.data_report import DataReport, count_by_class
from datasets.files import digests, listed, remembered, states
from datasets.image_file import SUFFIXES
from datasets.interface import AsymmetricPairs, Data, DataError, DataSet, Description, Outline, Part, Protocol
from datasets.listing import Listing
from datasets.official import ImagePart, OfficialImages

if TYPE_CHECKING:
    from datasets.copy_check import CopyCheck

SIDE = 64
TEST_FILE = "test_batch.bin"
PAIRS = tuple((first + turned, first + 1 - turned) for first in range(0, 10, 2) for turned in (0, 1))


class Animal10N(OfficialImages):
    """Photographs of ten animals in five pairs that look alike, labelled by 15 people who got one pair at a time.

    So nearly all wrong labels stay inside a pair, which are also the pairs of `asym` noise on top of them. The 8 %
    that papers quote is an estimate of its makers, not a count. Test images are those whose label is also the word
    that they were searched by: what people and the search agree on.

    The version of image files and the binary one give the same labels in the same order, that of the ids. ASSUMPTION:
    in the names of image files, LABEL_ID.jpg, the number behind the label is the id; where it is no number, or one
    comes twice, images are in the order of their names.
    """

    name = "animal10n"
    aliases = ("animal-10n",)
    summary = "50,000 photographs of 10 animals labelled by people, 64x64 RGB, 5,000 agreed test images"
    source = "Song et al. 2019 (SELFIE, ICML)"
    homepage = "https://dm.kaist.ac.kr/datasets/animal-10n/"
    access = "its makers send it to those who fill in the form on its homepage"
    layout = """
        DATA_ROOT/animal10n/                   (or DATA_ROOT itself)
            training/LABEL_ID.jpg              the version of image files
            testing/LABEL_ID.jpg
            data_batch_1.bin                   or the binary one; more data_batch_*.bin are joined
            test_batch.bin
        """
    marks = ("training", "data_batch_1.bin")
    usual_size = SIDE

    def describe(self) -> Description:
        return Description(
            name=self.label,
            classes=(
                *("cat", "lynx", "wolf", "coyote", "cheetah", "jaguar", "chimpanzee", "orangutan", "hamster"),
                "guinea pig",
            ),
            image_shape=self._shape,
            train_size=50_000,
            test_size=5_000,
            protocol=Protocol(
                recipes_from="cifar10",
                model="timm:vgg19_bn",
                epochs=100,
                batch_size=128,
                learning_rate=0.02,
                weight_decay=1e-3,
                schedule="step:50,75@0.2",
                augmentation="flip",
                strong_augmentation="flip+autoaugment",
                source="SELC (Lu & He 2022, released code): VGG19-BN from scratch, flips only, the rate times 0.2 "
                "after 50 and 75 epochs; ASSUMPTION: 100 epochs, and the learning rate of SSR on this set",
            ),
            pairs=AsymmetricPairs(PAIRS, "the pairs that each labeller was given, by the data set's page"),
            licence="not stated; by request form",
            citation="H. Song, M. Kim, J.-G. Lee, SELFIE: refurbishing unclean samples for robust deep learning, ICML "
            "2019",
            clean_labels=False,
            clean_test_labels=True,
            usual_noise="as-given",
        )

    def read(self) -> Listing:
        home = self.find_home()
        train, test = (list_by_id(home / part, len(self.describe().classes)) for part in ("training", "testing"))
        notes = ["the binary files beside the image files aren't read"] if (home / self.marks[1]).exists() else []
        return self.join_parts([train], test, self.describe().classes, notes)

    @property
    def is_binary(self) -> bool:
        """Whether the copy is the binary version, and only that."""
        return not (self.find_home() / self.marks[0]).is_dir()

    @cached_property
    def _files(self) -> list[Path]:
        """The binary files, the test file last. Raises DataError where it is missing."""
        home = self.find_home()
        if not (home / TEST_FILE).exists():
            raise DataError(f"{home} has no {TEST_FILE}, the test part of {self.name}. Get it again from its makers.")
        return [*sorted(home.glob("data_batch_*.bin"), key=lambda file: (len(file.name), file.name)), home / TEST_FILE]

    @cached_property
    def _records(self) -> tuple[Records, Records]:
        """The training and the test part of the binary version."""
        classes = len(self.describe().classes)
        return open_records(self._files[:-1], SIDE, classes), open_records(self._files[-1:], SIDE, classes)

    def content_hash(self) -> str:
        if not self.is_binary:
            return super().content_hash()
        paths = [str(file) for file in self._files]
        known = hashlib.sha256(states(paths)[0].tobytes()).hexdigest()
        question = "animal10n\n" + "\n".join(paths)
        return remembered(
            self.options, question, known, lambda: hashlib.sha256(digests(paths, self.options.progress)).hexdigest()
        )

    def outline(self, split_seed: int) -> Outline:
        if not self.is_binary:
            return super().outline(split_seed)
        train, test = self._records
        return Outline(train.labels, len(test.labels), self._shape)

    def paths(self, split_seed: int) -> Sequence[str] | None:
        return None if self.is_binary else super().paths(split_seed)

    def report(self) -> DataReport | None:
        if self.home is None or not self.is_binary:
            return super().report()
        parts, classes = dict(zip(("train", "test"), self._records, strict=True)), self.describe().classes
        counts = self._count_notes(*(len(part.labels) for part in self._records))
        notes = (*counts, *(note for part in self._records for note in part.notes))
        return DataReport({name: count_by_class(part.labels, classes) for name, part in parts.items()}, notes=notes)

    def check(self) -> CopyCheck:
        return DataSet.check(self) if self.home is not None and self.is_binary else super().check()

    def prepare(self) -> None:
        if not self.is_binary:
            super().prepare()

    def load(self, split_seed: int) -> Data:
        if not self.is_binary:
            return super().load(split_seed)
        train, test = (Part(resized(part.images(), self.options.image_size), part.labels) for part in self._records)
        mean, std = channel_statistics(np.asarray(train.images))
        return Data(self.describe(), train, test, mean, std, report=self.report())


def list_by_id(folder: Path, classes: int) -> ImagePart:
    """The images LABEL_ID.jpg of a folder, ordered by id. Raises DataError for names without a label of `classes`."""
    entries = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    names = sorted(name for name in entries if name[0] != "." and Path(name).suffix.lower() in SUFFIXES)
    if not names:
        raise DataError(f"{folder} holds no images. Get it again from its makers.")
    found = [re.match(r"(\d+)_(\d*)", name) for name in names]
    wrong = [name for name, match in zip(names, found, strict=True) if match is None or int(match[1]) >= classes]
    if wrong:
        raise DataError(
            f"{len(wrong):,} of {len(names):,} images in {folder} have no label from 0 to {classes - 1} before the "
            f"first _ of their names:\n{listed(wrong)}"
        )
    labels = np.array([int(match[1]) for match in found if match], dtype=np.int64)
    numbers = [match[2] for match in found if match]
    if all(numbers) and len(set(map(int, numbers))) == len(numbers):
        order = np.argsort(np.array(list(map(int, numbers))))
        names, labels = [names[place] for place in order.tolist()], labels[order]
    return ImagePart(folder.parent, [f"{folder.name}/{name}" for name in names], labels)
