"""CIFAR-100, with its official superclasses, which are the classes of `cifar100[coarse]`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from datasets.cifar import CifarDataSet
from datasets.human_columns import HumanFile
from datasets.interface import AsymmetricPairs, Description, Labels, Options, Protocol

SUPERCLASSES = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""The 20 superclasses, in the order of their ids, with their five classes each."""

CLASSES = tuple(sorted(name for group in SUPERCLASSES.values() for name in group))
"""In the order of their ids, which is the alphabet's."""

SUPERCLASS_OF = tuple(next(i for i, group in enumerate(SUPERCLASSES.values()) if name in group) for name in CLASSES)

BLOCK = 5


def rotation(classes: int) -> tuple[tuple[int, int], ...]:
    """Each class to the next one inside its block of five consecutive ids."""
    return tuple((i, BLOCK * (i // BLOCK) + (i + 1) % BLOCK) for i in range(classes))


class Cifar100(CifarDataSet):
    """50,000 training and 10,000 test photographs of 100 kinds of thing, 32 x 32, RGB.

    `cifar100[coarse]` is the task with the 20 superclasses as classes. It has CIFAR-100's training settings; as nothing
    is published for it, recipes are those for few classes, CIFAR-10's (ASSUMPTION).
    """

    name = "cifar100"
    aliases = ("cifar-100",)
    summary = "50,000 + 10,000 photographs of 100 classes in 20 superclasses, 32x32 RGB"
    source = "Krizhevsky 2009"
    homepage = "https://www.cs.toronto.edu/~kriz/cifar.html"
    access = "`--download`"
    layout = """
        DATA_ROOT/cifar-100-python/            (or below DATA_ROOT/cifar100/ or DATA_ROOT/CIFAR100/)
            train
            test
            meta
        DATA_ROOT/CIFAR-100_human.pt           (for --noise human-noisy, and human-coarse on cifar100[coarse]; or below
                                               DATA_ROOT/cifar-10-100n/data/, from github.com/UCSC-REAL/cifar-10-100n)
        """
    torchvision_class = "CIFAR100"
    batches = "cifar-100-python"
    archive = "cifar-100-python.tar.gz"
    files = ("train", "test")

    audit: str | None = "cifar100"
    parameters: ClassVar[Mapping[str, float | int | str]] = {"coarse": False}

    def __init__(
        self, options: Options, argument: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(options, argument, parameters)
        if self._is_coarse:
            self.audit = None  # people voted on the fine classes

    @property
    def human_file(self) -> HumanFile:
        name = "CIFAR-100_human.pt"
        if self._is_coarse:
            return HumanFile(name, "clean_coarse_label", {"human-coarse": "noisy_coarse_label"}, len(SUPERCLASSES))
        return HumanFile(name, "clean_label", {"human-noisy": "noisy_label"})

    @property
    def _is_coarse(self) -> bool:
        return bool(self.values["coarse"])

    def task_labels(self, labels: Labels) -> Labels:
        return np.array(SUPERCLASS_OF, dtype=np.int64)[labels] if self._is_coarse else labels

    def content_hash(self) -> str:
        batches = super().content_hash()
        return hashlib.sha256(f"coarse {batches}".encode()).hexdigest() if self._is_coarse else batches

    def describe(self) -> Description:
        described = super().describe()
        other, why = (
            ("human-noisy", "it labels the 100 fine classes: --dataset cifar100")
            if self._is_coarse
            else ("human-coarse", "it labels the 20 superclasses: --dataset cifar100[coarse]")
        )
        return replace(described, unused_columns=(*described.unused_columns, (other, why)))

    def declare(self) -> Description:
        return self._coarse() if self._is_coarse else self._fine()

    def _coarse(self) -> Description:
        fine = self._fine()
        return replace(
            fine,
            name=self.recorded_call(),
            classes=tuple(SUPERCLASSES),
            protocol=replace(
                fine.protocol,
                recipes_from="cifar10",
                source=f"as CIFAR-100 with 100 classes: {fine.protocol.source}",
            ),
            pairs=AsymmetricPairs(
                rotation(len(SUPERCLASSES)),
                "the rotation i->i+1 inside blocks of five consecutive ids, as APL (Ma et al. 2020) has it for the 100 "
                "classes; for the 20 superclasses it is ours",
            ),
            superclasses=None,
        )

    def _fine(self) -> Description:
        side = self.options.image_size or 32
        return Description(
            name=self.name,
            classes=CLASSES,
            image_shape=(side, side, 3),
            train_size=50000,
            test_size=10000,
            protocol=Protocol(
                recipes_from="cifar100",
                model="resnet34",
                epochs=200,
                batch_size=128,
                learning_rate=0.1,
                weight_decay=1e-5,
                augmentation="crop4+flip+rotate20",
                strong_augmentation="crop4+flip+autoaugment",
                source="Ma et al. 2020 (APL, arXiv 2006.13554); the same in ANL (Ye et al. 2023)",
            ),
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            pairs=AsymmetricPairs(
                rotation(len(CLASSES)),
                "the rotation i->i+1 inside blocks of five consecutive class ids of APL (Ma et al. 2020), ANL, ALFs, "
                "eps-softmax and ELR; ids are alphabetical, so only 6 of the 100 flips stay inside a superclass",
            ),
            superclasses=SUPERCLASS_OF,
            licence="not stated by its makers; research use",
            citation="A. Krizhevsky, Learning multiple layers of features from tiny images, technical report, "
            "University of Toronto, 2009",
        )
