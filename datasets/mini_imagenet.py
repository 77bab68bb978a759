"""Red and blue Mini-ImageNet: noisy labels from the web and by chance at ten controlled levels (CNWL)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from datasets.data_report import MISSING, count_of
from datasets.file_lists import LabelledList, read_labelled
from datasets.interface import RIGHT, WRONG, DataError, Description, Labels, Options, Protocol, Verification
from datasets.listing import Listing
from datasets.official import ImagePart, OfficialImages

CLASSES = """
n01704323 triceratops; n04515003 upright piano; n02101006 Gordon setter; n03062245 cocktail shaker;
n04509417 unicycle; n03854065 organ; n02110063 Alaskan malamute; n03998194 prayer rug; n02111277 Newfoundland dog;
n04443257 tobacco shop; n02165456 ladybug; n03075370 combination lock; n02747177 ashcan; n01558993 American robin;
n04149813 scoreboard; n03220513 dome; n03584254 iPod; n04243546 one-armed bandit; n03770439 miniskirt;
n02108915 French bulldog; n02971356 carton; n02108551 Tibetan mastiff; n03908618 pencil box; n01981276 king crab;
n03535780 horizontal bar; n04275548 spider web; n03272010 electric guitar; n02138441 meerkat;
n03337140 file cabinet; n07584110 consomme; n01910747 jellyfish; n03146219 cuirass; n02443484 black-footed ferret;
n04146614 school bus; n02113712 miniature poodle; n02981792 catamaran; n04251144 snorkel; n03838899 oboe;
n04604644 worm fence; n02116738 African hunting dog; n02099601 golden retriever; n02966193 carousel;
n02687172 aircraft carrier; n03924679 photocopier; n02120079 Arctic fox; n03476684 hair slide; n04435653 tile roof;
n02091244 Ibizan hound; n01843383 toucan; n01532829 house finch; n03980874 poncho; n07613480 trifle;
n03544143 hourglass; n03347037 fire screen; n02114548 white wolf; n06794110 street sign; n04258138 solar dish;
n02606052 rock beauty; n02105505 komondor; n02871525 bookshop; n03127925 crate; n04418357 theater curtain;
n04389033 tank; n02074367 dugong; n02110341 dalmatian; n13133613 ear; n03773504 missile; n13054560 bolete;
n07747607 orange; n04522168 vase; n02089867 Walker hound; n02129165 lion; n02457408 three-toed sloth;
n03676483 lipstick; n09256479 coral reef; n04067472 reel; n02823428 beer bottle; n01749939 green mamba;
n03400231 frying pan; n04596742 wok; n01855672 goose; n02174001 rhinoceros beetle; n04612504 yawl; n03047690 clog;
n02091831 Saluki Hund; n03017168 chime; n04296562 stage; n02108089 boxer; n09246464 cliff; n02219486 ant;
n02950826 cannon; n01770081 harvestman; n03775546 mixing bowl; n01930112 nematode; n03888605 parallel bars;
n03417042 garbage truck; n03527444 holster; n02795169 barrel; n07697537 hotdog; n03207743 dishrag
"""
SYNSETS, NAMES = zip(*(entry.split(maxsplit=1) for entry in CLASSES.split(";")), strict=True)
"""The classes in the order of class_name.txt, each with its synset and its first name there."""
LEVELS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
TEST_LIST = "split/clean_validation"
WEB_NAME = re.compile(r"[0-9a-f]{16}", re.IGNORECASE)
MINI_NAME = re.compile(r"(n\d{8})\d+")
AGREE = 0.5
"""A list in which fewer of ImageNet's images carry their own class, of those that should, means other class ids."""


class RedMiniImagenet(OfficialImages):
    """About 50,000 photographs of 100 kinds of thing, of which a part comes from the web under wrong labels.

    `noise` is the level P of the official lists split/red_noise_nl_P: 0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6 or
    0.8. The test images, which people labelled, are those of split/clean_validation, from ILSVRC12's validation part.

    The truth for selectors comes with the names: an image with 16 hex digits was found in the web under its label, and
    its annotators refused it; the others are ImageNet's, whose class is in their name. A note has the share of wrong
    labels among the images that are there. What is really on a refused image nobody says: most show none of the
    classes.

    Many addresses of web images are dead, so a copy may lack some. It loads: what is missing is counted, said, and left
    out, and the content hash is of what is there, so that two copies that lack different images are two data sets.

    Images are brought to 32 x 32, as in the papers on noisy labels (FaMUS, PropMix): the shorter side is, and the
    middle is kept, where TFDS presses the whole image into 84 x 84. Results at 84 or 299 pixels are no comparison.
    """

    name = "red-mini-imagenet"
    aliases = ("cnwl-red",)
    summary = (
        "50,000 photographs of 100 classes, a chosen share of them wrong ones from the web; 5,000 clean for testing"
    )
    source = "Jiang et al. 2020, Beyond synthetic noise (CNWL), ICML"
    homepage = "https://google.github.io/controlled-noisy-web-labels/index.html"
    access = "lists and addresses on its homepage; web images one by one by their addresses, the others with ImageNet"
    layout = """
        DATA_ROOT/mini-imagenet/               (or red-mini-imagenet/, or DATA_ROOT itself)
            split/red_noise_nl_P               (lines "NAME.jpg LABEL")
            split/blue_noise_nl_P
            split/clean_validation             (lines "ILSVRC2012_val_N.jpg LABEL")
            all_images/NAME.jpg                (training images of both kinds)
            validation/LABEL/NAME              (or validation/NAME; .jpg or .JPEG)
        or as published:
        DATA_ROOT/dataset_no_images/
            mini-imagenet/split/...
            noisy_images/NAME.jpg              (from the web; or beside dataset_no_images/)
            mini-imagenet/images/NAME.jpg      (Mini-ImageNet's own)
            mini-imagenet/validation/NAME      (or ILSVRC2012_img_val/)
        """
    truth = "every training label, by the image's name: right (ImageNet's own), or of the web and refused by annotators"
    marks = (TEST_LIST, f"mini-imagenet/{TEST_LIST}", f"dataset_no_images/mini-imagenet/{TEST_LIST}")
    folders = ("mini-imagenet", "dataset_no_images")
    usual_size = 32
    parameters = {"noise": 0.4}
    colour: ClassVar[str] = "red"
    has_web_images: ClassVar[bool] = True
    meaning: ClassVar[str] = "found in the web under this label and refused by annotators"
    sizes: ClassVar[Mapping[float, int]] = {0.3: 49_985, 0.4: 50_010, 0.5: 49_962, 0.8: 50_008}
    """Training images by level where they aren't 50,000, as loaders of the lists state them."""

    def __init__(
        self, options: Options, argument: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(options, argument, parameters)
        if self.values["noise"] not in LEVELS:
            raise DataError(
                f"{self.name}[noise={self.values['noise']:g}]: there is no such level. Type one of "
                f"{', '.join(format(level, 'g') for level in LEVELS)}."
            )

    def describe(self) -> Description:
        return Description(
            name=self.label,
            classes=NAMES,
            image_shape=self._shape,
            train_size=self.sizes.get(self.values["noise"], 50_000),
            test_size=5_000,
            protocol=Protocol(
                recipes_from="cifar100",
                model="preact-resnet18",
                epochs=300,
                batch_size=64,
                learning_rate=0.02,
                weight_decay=5e-4,
                schedule="step:150@0.1",
                augmentation="crop4+flip",
                strong_augmentation="crop4+flip+autoaugment",
                source="what the papers on noisy labels do with it at 32 pixels: DivideMix's schedule (Li et al. 2020) "
                "on a PreAct ResNet-18, in PropMix (Cordeiro et al. 2021) and its successors",
            ),
            licence="annotations CC BY 4.0; web images CC BY 2.0 as far as identified; the others under ImageNet's "
            "terms: non-commercial research",
            citation="L. Jiang, D. Huang, M. Liu and W. Yang, Beyond synthetic noise: deep learning on controlled "
            "noisy labels, ICML 2020",
            clean_labels=False,
            clean_test_labels=True,
            usual_noise="as-given",
        )

    def read(self) -> Listing:
        home = self._lists_home()
        file = home / f"split/{self.colour}_noise_nl_{float(self.values['noise'])}"
        if not file.exists():
            raise DataError(f"{home / 'split'} lacks {file.name}. Get the lists again: {self.homepage}")
        train, test = read_labelled(file, len(NAMES)), read_labelled(home / TEST_LIST, len(NAMES))
        folders = _indexed(_image_folders(home))
        found = [folders.get(_stem(name)) for name in train.paths]
        found_tests = [_of_class(folders, name, label) for name, label in _rows(test)]
        train, notes, left_out = self._without_missing(train, found, test, found_tests, home)
        test = test.only([place is not None for place in found_tests])
        own = self._own_classes(train)
        wrong = list(compress(train.paths, (own != train.labels).tolist()))
        rate = f"{len(wrong) / len(train):.4f} of the training labels are known to be wrong"
        notes.append(f"{rate}: {len(wrong):,} of {len(train):,}" + (f" (first: {wrong[0]})" if wrong else ""))
        parts = (ImagePart(home, list(each.paths), each.labels) for each in (train, test))
        listing = self._with_truth(next(parts), next(parts), own, notes, left_out)
        return replace(listing, paths=[place for place in (*found, *found_tests) if place is not None])

    def _with_truth(
        self, train: ImagePart, test: ImagePart, own: Labels, notes: list[str], left_out: dict[str, int]
    ) -> Listing:
        """The listing of both parts, with what the images' `own` classes (n,) say of the training labels."""
        findings = np.where(own == train.labels, RIGHT, WRONG).astype(np.int8)
        return self.join_parts([train], test, NAMES, notes, left_out, Verification(findings, self.meaning))

    def _lists_home(self) -> Path:
        """The folder with split/ in it."""
        home = self.find_home()
        return next((home / mark).parent.parent for mark in self.marks if (home / mark).exists())

    def _without_missing(
        self,
        train: LabelledList,
        found: Sequence[str | None],
        test: LabelledList,
        found_tests: Sequence[str | None],
        home: Path,
    ) -> tuple[LabelledList, list[str], dict[str, int]]:
        """The training images that are there, and what to say of those that aren't, also of test images."""
        notes, missing = [], 0
        for part, rows, places in (("training", train, found), ("test", test, found_tests)):
            gone = [name for name, place in zip(rows.paths, places, strict=True) if place is None]
            if len(gone) == len(rows):
                folders = ", ".join(folder.name for folder, _ in _image_folders(home)) or "none that could hold them"
                raise DataError(
                    f"None of the {len(rows):,} {part} images of {rows.file.name} is in {home} (first: {gone[0]}). "
                    f"Folders looked through: {folders}. `show dataset {self.name}` says how they must lie."
                )
            if gone:
                missing += len(gone)
                web = sum(map(_is_of_the_web, gone))
                which = f", {web:,} of them of the web" if part == "training" else ""
                one = f"of {len(rows):,} {part} images isn't in this copy{which}, and is left out"
                many = f"of {len(rows):,} {part} images aren't in this copy{which}, and are left out"
                notes.append(count_of(gone, one, many))
        kept = train.only([place is not None for place in found])
        return kept, notes, {MISSING: missing} if missing else {}

    def _own_classes(self, train: LabelledList) -> Labels:
        """Each training image's class by its name (n,), -1 for an image of the web.

        Raises DataError for names of no known form, and for a list whose ids are those of other classes.
        """
        number = {synset: place for place, synset in enumerate(SYNSETS)}
        named = [MINI_NAME.fullmatch(_stem(name)) for name in train.paths]
        own = np.array([-1 if match is None else number.get(match[1], -2) for match in named], dtype=np.int64)
        kinds = "neither Mini-ImageNet's nor 16 hex digits" if self.has_web_images else "not Mini-ImageNet's"
        of_web = [self.has_web_images and _is_of_the_web(name) for name in train.paths]
        strange = [train.name(place) for place in np.flatnonzero((own < 0) & ~np.array(of_web)).tolist()]
        if strange:
            raise DataError(
                f"{len(strange):,} names of {train.file} are {kinds} (first: {strange[0]}), so nothing says "
                f"whether their labels are right. Get the list again: {self.homepage}"
            )
        agree = (own == train.labels)[own >= 0].mean() if (own >= 0).any() else 1.0
        if agree < AGREE * (1 - self.values["noise"]):
            raise DataError(
                f"Only {agree:.2f} of the Mini-ImageNet images of {train.file} carry the class that their names say: "
                "its labels must be ids of another list of classes than the published one."
            )
        return own


class BlueMiniImagenet(RedMiniImagenet):
    """Mini-ImageNet with a part of its labels changed by chance: the synthetic counterpart of `red-mini-imagenet`.

    `noise` is the level P of the official lists split/blue_noise_nl_P. True labels are the classes in the images'
    names; those of the list are the column `blue`, which is trained on where no noise is typed. A note has the realised
    share of wrong ones: users found it to be far from P (24 % at 0.4). Files, test images, sizes and what happens with
    partial copies are as in `red-mini-imagenet`. ASSUMPTION: 50,000 training images at each level; no source at hand
    states it.
    """

    name = "blue-mini-imagenet"
    aliases = ("cnwl-blue",)
    summary = "the same images as red-mini-imagenet's clean part, a chosen share of their labels changed by chance"
    truth = ""
    colour = "blue"
    has_web_images = False
    sizes: ClassVar[Mapping[float, int]] = {}

    def describe(self) -> Description:
        usual = f"column:{self.colour}"
        return replace(
            super().describe(),
            columns=(self.colour,),
            clean_labels=True,
            clean_test_labels=False,
            usual_noise=usual,
        )

    def _with_truth(
        self, train: ImagePart, test: ImagePart, own: Labels, notes: list[str], left_out: dict[str, int]
    ) -> Listing:
        listing = self.join_parts([replace(train, labels=own)], test, NAMES, notes, left_out)
        given = np.concatenate([train.labels, np.full(len(test.labels), -1, dtype=np.int64)])
        rows = f"{listing.rows}\x1d{hashlib.sha256(given.astype('<i8').tobytes()).hexdigest()}"
        return replace(listing, rows=rows, columns={self.colour: given})


def _rows(part: LabelledList) -> Iterator[tuple[str, int]]:
    return zip(part.paths, part.labels.tolist(), strict=True)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _is_of_the_web(name: str) -> bool:
    return WEB_NAME.fullmatch(_stem(name)) is not None


def _image_folders(home: Path) -> list[tuple[Path, str]]:
    """The folders that may hold images, each with what stands before the names of its files in an index.

    The images of validation/LABEL/ are told apart by their label.
    """
    names = ("all_images", "images", "noisy_images", "validation", "ILSVRC2012_img_val", "val")
    above = [home.parent / "noisy_images", home.parent.parent / "noisy_images", home.parent / "ILSVRC2012_img_val"]
    tops = [folder for folder in (*(home / name for name in names), *above) if folder.is_dir()]
    labelled = [(home / "validation" / str(number), f"{number}/") for number in range(len(NAMES))]
    return [(top, "") for top in tops] + [pair for pair in labelled if pair[0].is_dir()]


def _indexed(folders: Sequence[tuple[Path, str]]) -> dict[str, str]:
    """The files of folders by their names without endings; the first folder that has a name wins."""
    found: dict[str, str] = {}
    for folder, start in folders:
        for each in sorted(folder.iterdir()):
            if each.suffix.lower() in (".jpg", ".jpeg", ".png"):
                found.setdefault(f"{start}{each.stem}", str(each))
    return found


def _of_class(files: Mapping[str, str], name: str, label: int) -> str | None:
    return files.get(f"{label}/{_stem(name)}") or files.get(_stem(name))
