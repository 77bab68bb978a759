"""CIFAR-10."""

from __future__ import annotations

from datasets.cifar import CifarDataSet
from datasets.human_columns import HumanFile
from datasets.interface import AsymmetricPairs, Description, Protocol


class Cifar10(CifarDataSet):
    """50,000 training and 10,000 test photographs of ten kinds of thing, 32 x 32, RGB."""

    name = "cifar10"
    aliases = ("cifar-10",)
    summary = "50,000 + 10,000 photographs of 10 classes, 32x32 RGB"
    source = "Krizhevsky 2009"
    homepage = "https://www.cs.toronto.edu/~kriz/cifar.html"
    access = "`--download`"
    layout = """
        DATA_ROOT/cifar-10-batches-py/         (or below DATA_ROOT/cifar10/ or DATA_ROOT/CIFAR10/)
            data_batch_1 ... data_batch_5
            test_batch
            batches.meta
        DATA_ROOT/CIFAR-10_human.pt            (for --noise human-aggre, human-worse, human-random1, 2 and 3; or below
                                               DATA_ROOT/cifar-10-100n/data/, from github.com/UCSC-REAL/cifar-10-100n)
        DATA_ROOT/cifar10h-counts.npy          (for calibration against people; or below DATA_ROOT/cifar-10h/data/, from
                                               github.com/jcpeterson/cifar-10h)
        """
    torchvision_class = "CIFAR10"
    batches = "cifar-10-batches-py"
    archive = "cifar-10-python.tar.gz"
    files = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")

    audit = "cifar10"
    opinion_file = "cifar10h-counts.npy"
    human_file = HumanFile(
        "CIFAR-10_human.pt",
        clean="clean_label",
        columns={
            "human-aggre": "aggre_label",
            "human-worse": "worse_label",
            "human-random1": "random_label1",
            "human-random2": "random_label2",
            "human-random3": "random_label3",
        },
    )

    def declare(self) -> Description:
        side = self.options.image_size or 32
        return Description(
            name=self.name,
            classes=(
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ),
            image_shape=(side, side, 3),
            train_size=50000,
            test_size=10000,
            protocol=Protocol(
                recipes_from="cifar10",
                model="cnn8",
                epochs=120,
                batch_size=128,
                learning_rate=0.01,
                weight_decay=1e-4,
                augmentation="crop4+flip",
                strong_augmentation="crop4+flip+autoaugment",
                source="Ma et al. 2020 (APL, arXiv 2006.13554); the same in ANL (Ye et al. 2023)",
            ),
            mean=(0.49139968, 0.48215827, 0.44653124),
            std=(0.24703233, 0.24348505, 0.26158768),
            pairs=AsymmetricPairs(
                ((2, 0), (3, 5), (4, 7), (5, 3), (9, 1)),
                "Patrini et al. 2017 (arXiv 1609.03683): truck->automobile, bird->airplane, deer->horse, cat<->dog",
            ),
            licence="not stated by its makers; research use",
            citation="A. Krizhevsky, Learning multiple layers of features from tiny images, technical report, "
            "University of Toronto, 2009",
        )
