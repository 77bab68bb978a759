"""Clothing1M."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from datasets.data_report import count_of
from datasets.draw import Index
from datasets.file_lists import PathList, by_path, read_labelled, read_paths
from datasets.files import listed
from datasets.folder_walk import folder_names
from datasets.interface import DataError, Description, Labels, Protocol
from datasets.listing import Listing
from datasets.official import ImagePart, OfficialImages
from datasets.randomness import uniforms
from datasets.rounding import ranks

KEYS, NOISY_LABELS = "noisy_train_key_list.txt", "noisy_label_kv.txt"
CLEAN_TRAIN, CLEAN_VALIDATION = "clean_train_key_list.txt", "clean_val_key_list.txt"
CLEAN_TEST, CLEAN_LABELS = "clean_test_key_list.txt", "clean_label_kv.txt"
NEEDED = (KEYS, NOISY_LABELS, CLEAN_TEST, CLEAN_LABELS)
CLASSES = (
    *("T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket", "Downcoat", "Suit"),
    *("Shawl", "Dress", "Vest", "Underwear"),
)
PUBLISHED_TRAIN, PUBLISHED_CLEAN, PUBLISHED_TEST = 1_000_000, 47_570, 10_526
SMALLEST_CLASS = 18_976
"""Noisy training labels of the rarest class (Sweater), counted in the published list."""
STEPS = 15 * 3000 * 64
"""Images that ELR+ trains on: epochs x batches x images in a batch."""


class Clothing1M(OfficialImages):
    """A million photographs from shops, with the class that words beside them name; about 4 of 10 are wrong.

    The 14,313 images of the clean validation list take no part: epochs and hyperparameters are chosen by the noisy
    hold-out, as on every data set. The rate that papers quote, 38.5 % wrong, is an estimate.

    `clothing1m[balanced]` trains on as many images of each class as the rarest has, by noisy labels (published: 14 x
    18,976 = 265,664), drawn once by `subset_seed`; DivideMix draws anew in every epoch. `clothing1m[clean_train]`
    adds the images of the clean training list with their clean labels, as some papers do: every method is told more
    then, so its boards, which are others, compare with no board of `clothing1m`. An image in both lists has its clean
    label.
    """

    name = "clothing1m"
    aliases = ("clothing-1m",)
    summary = "1,000,000 photographs of 14 kinds of clothes with the labels of web shops, clean test labels"
    source = "Xiao et al. 2015, Learning from massive noisy labeled data for image classification, CVPR"
    homepage = "https://github.com/Cysu/noisy_label"
    access = "its makers send the link by mail to those who accept its terms"
    layout = """
        DATA_ROOT/clothing1m/                  (or DATA_ROOT itself)
            images/{0..9}/{00..99}/*.jpg       (or {0..9}/ without images/)
            noisy_train_key_list.txt           (these lists may lie in annotations/ or label/ as well)
            noisy_label_kv.txt                 (lines such as "images/7/88/339645240,2782721788.jpg 9")
            clean_train_key_list.txt
            clean_val_key_list.txt
            clean_test_key_list.txt
            clean_label_kv.txt
        """
    marks = (KEYS, f"annotations/{KEYS}", f"label/{KEYS}", "noisy_train")
    usual_size = 224
    parameters = {"balanced": False, "subset_seed": 0, "clean_train": False}

    def describe(self) -> Description:
        train = 14 * SMALLEST_CLASS if self.values["balanced"] else PUBLISHED_TRAIN
        train += PUBLISHED_CLEAN if self.values["clean_train"] else 0
        epochs = max(1, round(STEPS / train))
        return Description(
            name=self.label,
            classes=CLASSES,
            image_shape=self._shape,
            train_size=train,
            test_size=PUBLISHED_TEST,
            protocol=Protocol(
                recipes_from="cifar10",
                model="timm:resnet50",
                epochs=epochs,
                batch_size=64,
                learning_rate=0.002,
                weight_decay=1e-3,
                schedule=f"step:{max(1, epochs * 7 // 15)}@0.1",
                augmentation="crop16+flip",
                strong_augmentation="crop16+flip+autoaugment",
                source="ELR+ (Liu et al. 2020, released code): 15 epochs of 3,000 class-balanced batches, the rate "
                f"divided by 10 after 7, which are as many images as {epochs} epochs here; from ImageNet's weights "
                "there, which --weights brings; ASSUMPTION: random crops reach 16 pixels beyond an image of 224",
            ),
            mean=(0.6959, 0.6537, 0.6371),
            std=(0.3113, 0.3192, 0.3214),
            licence="non-commercial research only, no passing on",
            citation="T. Xiao, T. Xia, Y. Yang, C. Huang, X. Wang, Learning from massive noisy labeled data for image "
            "classification, CVPR 2015",
            clean_labels=False,
            clean_test_labels=True,
            usual_noise="as-given",
        )

    def read(self) -> Listing:
        home = self.find_home()
        lists = self._read_lists(home)
        train = lists.training_paths()
        labels = lists.training_labels(train)
        if self.values["balanced"]:
            kept = balanced_subset(labels, len(CLASSES), self.values["subset_seed"])
            train, labels = [train[place] for place in kept.tolist()], labels[kept]
        test = np.array([lists.clean[path] for path in lists.test.paths], dtype=np.int64)
        folder, without = _start_of_images(home)
        left_out = {"validation images": len(lists.validation)} if len(lists.validation) else {}
        return self.join_parts(
            [ImagePart(folder, train, labels, without)],
            ImagePart(folder, lists.test.paths, test, without),
            CLASSES,
            lists.all_notes(),
            left_out,
        )

    def _read_lists(self, home: Path) -> ClothingLists:
        """The lists of a copy, every line checked. Raises DataError for missing ones, or a tree without any."""
        folder = next((place for place in _places_of_lists(home) if (place / KEYS).exists()), None)
        if folder is None:
            parts = [name for name in folder_names(home) if name.startswith(("noisy_", "clean_"))]
            raise DataError(
                f"{home} holds class folders without any list ({', '.join(parts)}), a copy of {self.name} that goes "
                "round: which image is which can't be known in it. Take it as data of your own: rename noisy_train to "
                f"train and clean_test to test, and type --dataset folder:{home}."
            )
        needed = [*NEEDED, *([CLEAN_TRAIN] if self.values["clean_train"] else [])]
        missing = [name for name in needed if not (folder / name).exists()]
        if missing:
            raise DataError(f"{folder} lacks lists of {self.name}: {', '.join(missing)}. Get them from its makers.")
        found = [
            read_paths(folder / name) if (folder / name).exists() else (PathList(folder / name, [], []), [])
            for name in (KEYS, CLEAN_TRAIN, CLEAN_VALIDATION, CLEAN_TEST)
        ]
        noisy = by_path(read_labelled(folder / NOISY_LABELS, len(CLASSES)))
        clean = by_path(read_labelled(folder / CLEAN_LABELS, len(CLASSES)))
        notes = [note for _, notes in found for note in notes]
        train, clean_train, validation, test = (paths for paths, _ in found)
        return ClothingLists(train, clean_train, validation, test, noisy, clean, self.values["clean_train"], notes)


@dataclass(frozen=True)
class ClothingLists:
    """What the lists of a copy say: paths of each part, and the noisy and the clean label of each image that has one.

    Raises DataError for paths of parts that take part and have no label.
    """

    train: PathList
    clean_train: PathList
    validation: PathList
    test: PathList
    noisy: Mapping[str, int]
    clean: Mapping[str, int]
    adds_clean: bool
    notes: Sequence[str]

    def __post_init__(self) -> None:
        _refuse_unlabelled(self.train, self.noisy, NOISY_LABELS)
        for paths in (self.test, *([self.clean_train] if self.adds_clean else [])):
            _refuse_unlabelled(paths, self.clean, CLEAN_LABELS)

    def training_paths(self) -> list[str]:
        """The training images: those of the noisy list, then what the clean one adds."""
        return list(dict.fromkeys([*self.train.paths, *(self.clean_train.paths if self.adds_clean else ())]))

    def training_labels(self, paths: Sequence[str]) -> Labels:
        """The labels (n,) to learn from: the noisy ones, or the clean ones where these take part."""
        labels = dict(self.noisy)
        if self.adds_clean:
            labels |= {path: self.clean[path] for path in self.clean_train.paths}
        return np.array([labels[path] for path in paths], dtype=np.int64)

    def all_notes(self) -> list[str]:
        """Sentences on what the lists hold: images in two of them, what takes no part, what every method is told."""
        parts = {"noisy training": self.train, "clean training": self.clean_train}
        parts |= {"clean validation": self.validation, "clean test": self.test}
        sets = {name: set(paths.paths) for name, paths in parts.items() if len(paths)}
        shared = [f"{one} and {other} {len(sets[one] & sets[other]):,}" for one, other in combinations(sets, 2)]
        notes = [*self.notes, f"images that are in two lists: {', '.join(shared)}"]
        if len(self.validation):
            notes.append(
                f"{len(self.validation):,} clean validation images take no part (first: {self.validation.paths[0]}): "
                "the hold-out is drawn from the noisy training images"
            )
        unused = [path for path in self.noisy if path not in sets["noisy training"]]
        if unused:
            what = f"of {NOISY_LABELS} outside {KEYS}: unused"
            notes.append(count_of(unused, f"label {what}", f"labels {what}"))
        if self.adds_clean:
            both = len(sets["noisy training"] & sets.get("clean training", set()))
            notes.append(
                f"{len(self.clean_train):,} training images have clean labels (clean_train), {both:,} of them in place "
                "of noisy ones: every method is told them, so compare with no board without them"
            )
        return notes


def balanced_subset(labels: Labels, classes: int, seed: int) -> Index:
    """Positions, rising, of as many images of each class as the rarest has, drawn by the seed, of labels (N,)."""
    sizes = np.bincount(labels, minlength=classes)
    return np.flatnonzero(ranks(labels, uniforms(seed, "clothing1m/balanced", len(labels))) < sizes.min())


def _refuse_unlabelled(paths: PathList, labels: Mapping[str, int], file: str) -> None:
    wrong = [paths.name(number) for number, path in enumerate(paths.paths) if path not in labels]
    if wrong:
        raise DataError(
            f"{len(wrong):,} of {len(paths):,} images of {paths.file} have no label in {file}. Add the labels or "
            f"remove the lines:\n{listed(wrong)}"
        )


def _places_of_lists(home: Path) -> tuple[Path, ...]:
    return home, home / "annotations", home / "label"


def _start_of_images(home: Path) -> tuple[Path, str]:
    """The folder that the lists' paths start from, and the beginning that its paths lack."""
    for place in _places_of_lists(home):
        if (place / "images").is_dir():
            return place, ""
    return home, "images/"
