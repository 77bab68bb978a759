"""Fashion-MNIST: articles of clothing."""

from __future__ import annotations

from pathlib import Path

from datasets.idx import IdxDataSet
from datasets.interface import AsymmetricPairs, Description, Protocol


class FashionMnist(IdxDataSet):
    """60,000 training and 10,000 test images of clothing, 28 x 28, grey."""

    name = "fashion-mnist"
    aliases = ("fmnist",)
    summary = "60,000 + 10,000 articles of clothing, 28x28 grey"
    source = "Xiao et al. 2017, arXiv 1708.07747"
    homepage = "https://github.com/zalandoresearch/fashion-mnist"
    access = "`--download`; on Debian and Ubuntu also the package `dataset-fashion-mnist`, which is found where it lies"
    layout = """
        DATA_ROOT/FashionMNIST/raw/            (or fashion-mnist/, fashion-mnist/raw/, fashion_mnist/, FashionMNIST/)
            train-images-idx3-ubyte[.gz]
            train-labels-idx1-ubyte[.gz]
            t10k-images-idx3-ubyte[.gz]
            t10k-labels-idx1-ubyte[.gz]
        """
    torchvision_class = "FashionMNIST"
    folders = ("FashionMNIST/raw", "fashion-mnist", "fashion-mnist/raw", "fashion_mnist", "FashionMNIST", ".")
    packaged = (Path("/usr/share/datasets/fashion-mnist"),)
    package_hint = "on Debian and Ubuntu also: apt-get install dataset-fashion-mnist"

    def describe(self) -> Description:
        side = self.options.image_size or 28
        return Description(
            name=self.name,
            classes=(
                "T-shirt/top",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle boot",
            ),
            image_shape=(side, side, 1),
            train_size=60000,
            test_size=10000,
            protocol=Protocol(
                recipes_from="mnist",
                model="cnn4",
                epochs=50,
                batch_size=128,
                learning_rate=0.01,
                weight_decay=1e-3,
                augmentation="none",
                strong_augmentation="crop4+randaugment+cutout",
                source="MNIST's, for want of a published one",
            ),
            mean=(0.2860,),
            std=(0.3530,),
            pairs=AsymmetricPairs(
                ((2, 6), (3, 4), (4, 3), (7, 5), (9, 7)),
                "Zhang & Sabuncu 2018 (GCE, arXiv 1805.07836): ankle boot->sneaker, sneaker->sandal, pullover->shirt, "
                "coat<->dress; used again by Kim et al. 2019 (NLNL, arXiv 1908.07387)",
            ),
            licence="MIT",
            citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine "
            "learning algorithms, arXiv 1708.07747, 2017",
        )
