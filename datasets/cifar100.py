"""CIFAR-100, with its official superclasses."""

from __future__ import annotations

from datasets.cifar import CifarDataSet
from datasets.interface import AsymmetricPairs, Description, Protocol

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


class Cifar100(CifarDataSet):
    """50,000 training and 10,000 test photographs of 100 kinds of thing, 32 x 32, RGB."""

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
        """
    torchvision_class = "CIFAR100"
    batches = "cifar-100-python"
    archive = "cifar-100-python.tar.gz"
    files = ("train", "test")

    def describe(self) -> Description:
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
                tuple((i, BLOCK * (i // BLOCK) + (i + 1) % BLOCK) for i in range(100)),
                "the rotation i->i+1 inside blocks of five consecutive class ids of APL (Ma et al. 2020), ANL, ALFs, "
                "eps-softmax and ELR; ids are alphabetical, so only 6 of the 100 flips stay inside a superclass",
            ),
            superclasses=SUPERCLASS_OF,
            licence="not stated by its makers; research use",
            citation="A. Krizhevsky, Learning multiple layers of features from tiny images, technical report, "
            "University of Toronto, 2009",
        )
