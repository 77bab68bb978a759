"""MNIST: handwritten digits."""

from __future__ import annotations

from datasets.digits import MNIST_FLIPS
from datasets.idx import IdxDataSet
from datasets.interface import AsymmetricPairs, Description, Protocol


class Mnist(IdxDataSet):
    """60,000 training and 10,000 test images of handwritten digits, 28 x 28, grey."""

    name = "mnist"
    summary = "60,000 + 10,000 handwritten digits, 28x28 grey"
    source = "LeCun et al. 1998"
    audit = "mnist"
    homepage = "http://yann.lecun.com/exdb/mnist/"
    access = "`--download`, from the mirrors that torchvision names"
    layout = """
        DATA_ROOT/MNIST/raw/                   (or mnist/, mnist/raw/, MNIST/, or DATA_ROOT itself)
            train-images-idx3-ubyte[.gz]
            train-labels-idx1-ubyte[.gz]
            t10k-images-idx3-ubyte[.gz]
            t10k-labels-idx1-ubyte[.gz]
        """
    torchvision_class = "MNIST"
    folders = ("MNIST/raw", "mnist", "mnist/raw", "MNIST", ".")

    def describe(self) -> Description:
        side = self.options.image_size or 28
        return Description(
            name=self.name,
            classes=tuple("0123456789"),
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
                source="Ma et al. 2020 (APL, arXiv 2006.13554) in the form that ANL's code gives it "
                "(Ye et al. 2023): weight decay 1e-3, cosine to 0",
            ),
            mean=(0.1307,),
            std=(0.3081,),
            pairs=AsymmetricPairs(
                MNIST_FLIPS,
                "Patrini et al. 2017 (arXiv 1609.03683): 7->1, 2->7, 5<->6, 3->8",
            ),
            licence="CC BY-SA 3.0",
            citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document "
            "recognition, Proceedings of the IEEE 86(11), 1998",
        )
