"""Food-101N."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from datasets.data_report import count_of
from datasets.file_lists import read_labelled, read_lines, read_paths
from datasets.files import listed
from datasets.interface import RIGHT, UNSEEN, WRONG, DataError, Description, Findings, Labels, Protocol, Verification
from datasets.listing import Listing
from datasets.official import ImagePart, OfficialImages

LIST, VERIFIED = "meta/imagelist.tsv", ("meta/verified_train.tsv", "meta/verified_val.tsv")
TEST_LIST = "meta/test.txt"
NAMES = """
apple_pie baby_back_ribs baklava beef_carpaccio beef_tartare beet_salad beignets bibimbap bread_pudding
breakfast_burrito bruschetta caesar_salad cannoli caprese_salad carrot_cake ceviche cheese_plate cheesecake
chicken_curry chicken_quesadilla chicken_wings chocolate_cake chocolate_mousse churros clam_chowder club_sandwich
crab_cakes creme_brulee croque_madame cup_cakes deviled_eggs donuts dumplings edamame eggs_benedict escargots falafel
filet_mignon fish_and_chips foie_gras french_fries french_onion_soup french_toast fried_calamari fried_rice
frozen_yogurt garlic_bread gnocchi greek_salad grilled_cheese_sandwich grilled_salmon guacamole gyoza hamburger
hot_and_sour_soup hot_dog huevos_rancheros hummus ice_cream lasagna lobster_bisque lobster_roll_sandwich
macaroni_and_cheese macarons miso_soup mussels nachos omelette onion_rings oysters pad_thai paella pancakes
panna_cotta peking_duck pho pizza pork_chop poutine prime_rib pulled_pork_sandwich ramen ravioli red_velvet_cake
risotto samosa sashimi scallops seaweed_salad shrimp_and_grits spaghetti_bolognese spaghetti_carbonara spring_rolls
steak strawberry_shortcake sushi tacos takoyaki tiramisu tuna_tartare waffles
"""
CLASSES = tuple(NAMES.split())


class Food101N(OfficialImages):
    """Photographs of 101 dishes by the words that found them on the web, tested on those of Food-101.

    People looked at a part of the labels (published: 52,868 + 4,741) and said whether each is right. These findings are
    a real truth for whoever looks for wrong labels: selectors are judged on them, and a note says how many of them are
    wrong, over all and in the worst class. Class ids follow meta/classes.txt; a first line that names the columns, as
    each file in meta/ has one, is no class and no image.
    """

    name = "food101n"
    aliases = ("food-101n",)
    summary = "310,009 photographs of 101 dishes by web search, part of the labels verified, tested on Food-101"
    source = "Lee et al. 2018 (CleanNet, arXiv 1711.07131)"
    homepage = "https://kuanghuei.github.io/Food-101N/"
    access = "on its homepage, where Food-101 is had as well"
    layout = """
        DATA_ROOT/Food-101N_release/           (or food101n/, or DATA_ROOT itself)
            images/CLASS/KEY.jpg
            meta/classes.txt
            meta/imagelist.tsv                 (first line: class_name/key)
            meta/verified_train.tsv            (lines CLASS/KEY, tab, 0 or 1)
            meta/verified_val.tsv
        DATA_ROOT/food-101/                    (or inside or beside the folder above)
            images/CLASS/KEY.jpg
            meta/test.txt                      (lines CLASS/KEY)
        """
    truth = "people's findings on a part of the labels (meta/verified_*.tsv)"
    marks = (LIST,)
    folders = ("Food-101N_release",)
    usual_size = 224

    def describe(self) -> Description:
        return Description(
            name=self.label,
            classes=CLASSES,
            image_shape=self._shape,
            train_size=310_009,
            test_size=25_250,
            protocol=Protocol(
                recipes_from="cifar100",
                model="timm:resnet50",
                epochs=25,
                batch_size=32,
                learning_rate=0.01,
                weight_decay=1e-3,
                schedule="step:12,20@0.1",
                augmentation="crop16+flip",
                strong_augmentation="crop16+flip+autoaugment",
                source="ASSUMPTION: DISC's setting for food (released code), which trains on Food-101: 100 epochs of "
                "its 75,750 images, the rate divided by 10 after 50 and 80, are as many images as 25 epochs here; from "
                "ImageNet's weights there, which --weights brings; with momentum, and crops that reach 16 pixels out",
            ),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            licence="research; images belong to their owners (Food-101 too)",
            citation="K.-H. Lee, X. He, L. Zhang, L. Yang, CleanNet: transfer learning for scalable image classifier "
            "training with label noise, CVPR 2018; L. Bossard, M. Guillaumin, L. Van Gool, Food-101 - mining "
            "discriminative components with random forests, ECCV 2014",
            clean_labels=False,
            clean_test_labels=True,
            usual_noise="as-given",
        )

    def read(self) -> Listing:
        home = self.find_home()
        classes = self._read_classes(home / "meta/classes.txt")
        paths, train, notes = _read_images(home / LIST, classes)
        test_home = self._test_home(home)
        test_paths, test, more = _read_images(test_home / TEST_LIST, classes)
        verified, about = self._read_verified(home, paths, train, classes)
        return self.join_parts(
            [ImagePart(home / "images", paths, train)],
            ImagePart(test_home / "images", [f"{path.removesuffix('.jpg')}.jpg" for path in test_paths], test),
            classes,
            [*notes, *more, *about],
            verified=verified,
        )

    def _read_classes(self, file: Path) -> tuple[str, ...]:
        """The classes in the order of their ids. Raises DataError where they aren't those of Food-101."""
        names = [line.strip() for line in read_lines(file)]
        names = names[1:] if names[0] not in CLASSES else names
        if sorted(names) != sorted(CLASSES):
            strange = sorted(set(names) ^ set(CLASSES))
            raise DataError(
                f"{file} doesn't hold the {len(CLASSES)} classes of {self.name}, each once"
                + (f"; these are too many or missing:\n{listed(strange)}" if strange else ".")
            )
        return tuple(names)

    def _test_home(self, home: Path) -> Path:
        """The folder of Food-101. Raises DataError where it isn't near."""
        places = [home / "food-101", home.parent / "food-101", *self._places()[:1]]
        found = next((place for place in places if (place / TEST_LIST).exists()), None)
        if found is None:
            raise DataError(
                f"The test images of {self.name} are those of Food-101, which isn't here. Get it by the link on "
                f"{self.homepage}, and unpack it beside {home}. Looked for:\n"
                f"{listed([str(place / TEST_LIST) for place in places])}"
            )
        return found

    def _read_verified(
        self, home: Path, paths: Sequence[str], labels: Labels, classes: tuple[str, ...]
    ) -> tuple[Verification | None, list[str]]:
        """What people found of the training labels, and sentences on it; None where the copy has no such list."""
        files = [home / name for name in VERIFIED if (home / name).exists()]
        if not files:
            return None, [f"{home / 'meta'} has no verified_*.tsv: nothing says who finds the wrong labels"]
        place = {path.removesuffix(".jpg"): number for number, path in enumerate(paths)}
        findings: Findings = np.full(len(paths), UNSEEN, dtype=np.int8)
        strange = []
        for file in files:
            header = int(read_lines(file)[0].split()[-1:] not in (["0"], ["1"]))
            found = read_labelled(file, 2, skip=header)
            places = np.array([place.get(path.removesuffix(".jpg"), -1) for path in found.paths], dtype=np.int64)
            known = places >= 0
            findings[places[known]] = np.where(found.labels[known] == 1, RIGHT, WRONG)
            strange += list(compress(found.paths, (~known).tolist()))
        one, many = "verified label is of no image", "verified labels are of no image"
        unknown = [count_of(strange, f"{one} of {LIST}", f"{many} of {LIST}")] if strange else []
        notes = [*unknown, *_rate_notes(findings, labels, classes)]
        return Verification(findings, "found wrong by a person"), notes


def _read_images(file: Path, classes: tuple[str, ...]) -> tuple[list[str], Labels, list[str]]:
    """Paths CLASS/KEY (N) of a list, their labels (N,), and sentences; the first line may name the column.

    Raises DataError for classes that there aren't.
    """
    found, notes = read_paths(file)
    paths, lines = list(found.paths), list(found.lines)
    ids = {name: number for number, name in enumerate(classes)}
    labels = np.array([ids.get(path.partition("/")[0], -1) for path in paths], dtype=np.int64)
    if labels[0] < 0:
        paths, lines, labels = paths[1:], lines[1:], labels[1:]
    if (labels < 0).any():
        wrong = [f"line {lines[place]}: {paths[place]}" for place in np.flatnonzero(labels < 0).tolist()]
        raise DataError(f"{len(wrong):,} lines of {file} name a class that there isn't:\n{listed(wrong)}")
    return paths, labels, notes


def _rate_notes(findings: Findings, labels: Labels, classes: tuple[str, ...]) -> list[str]:
    """The measured share of wrong labels, over all and in the worst class."""
    seen, wrong = findings != UNSEEN, findings == WRONG
    if not seen.any():
        return []
    looked = np.bincount(labels[seen], minlength=len(classes))
    rates = np.bincount(labels[wrong], minlength=len(classes)) / np.maximum(looked, 1)
    worst = int(rates.argmax())
    return [
        f"people looked at {int(seen.sum()):,} of {len(labels):,} training labels and found {int(wrong.sum()):,} wrong "
        f"({wrong.sum() / seen.sum():.1%}; most in {classes[worst]}, {rates[worst]:.1%} of {looked[worst]:,})"
    ]
