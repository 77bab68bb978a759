"""The data set that comes with the installation: 1,797 real scans of handwritten digits."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.arrays import check_size, resized
from datasets.interface import AsymmetricPairs, Data, DataSet, Description, Part, Protocol
from datasets.splits import stratified

TEST_SIZE = 397

MNIST_FLIPS = ((2, 7), (3, 8), (5, 6), (6, 5), (7, 1))


class Digits(DataSet):
    """8 x 8 grey scans of ten digits by 43 writers, embedded in scikit-learn.

    No official split: every split seed makes a stratified one of 1,400 training and 397 test images. Values 0..16
    become round(v * 255 / 16), halves upwards.
    """

    name = "digits"
    summary = "1,797 real 8x8 scans of handwritten digits; always there, nothing to download"
    source = "Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits (its test part), in scikit-learn"
    homepage = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
    access = "comes with scikit-learn, which this package needs"

    def describe(self) -> Description:
        check_size(self.options.image_size)
        side = self.options.image_size or 8
        return Description(
            name=self.name,
            classes=tuple("0123456789"),
            image_shape=(side, side, 1),
            train_size=1797 - TEST_SIZE,
            test_size=TEST_SIZE,
            seeded_split=True,
            protocol=Protocol(
                recipes_from="mnist",
                model="cnn-small",
                epochs=30,
                batch_size=64,
                learning_rate=0.05,
                weight_decay=1e-4,
                # none, as in the MNIST settings whose recipes digits inherits
                augmentation="none",
                strong_augmentation="crop1+randaugment+cutout",
                # at 8 x 8 a step is all overhead, and casts are overhead
                precision="fp32",
                source="ours: fixed once, so that plain cross-entropy on clean labels fits the training set and "
                "reaches 0.98 on the test set; no test accuracy under noise was looked at",
            ),
            # over all 1,797 scans, so that every split is normalised alike
            mean=(0.3053,),
            std=(0.3759,),
            pairs=AsymmetricPairs(
                MNIST_FLIPS,
                "the pairs that Patrini et al. 2017 (arXiv 1609.03683) use on MNIST, 7->1, 2->7, 5<->6, 3->8, "
                "carried over to the same ten digits",
            ),
            licence="CC BY 4.0",
            citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
            "Repository, 1998, doi:10.24432/C50P49",
        )

    def content_hash(self) -> str:
        # over the table's values, since a gzip file's bytes change with whoever packs it
        return hashlib.sha256(b"digits 1\n" + self._rows.tobytes()).hexdigest()

    def load(self, split_seed: int) -> Data:
        description = self.describe()
        labels = self._rows[:, 64].astype(np.int64)
        values = self._rows[:, :64].astype(np.float64)
        images = np.floor(values * 255 / 16 + 0.5).astype(np.uint8).reshape(-1, 8, 8, 1)
        images = resized(images, self.options.image_size)
        train, test = stratified(labels, 10, TEST_SIZE, split_seed)
        assert description.mean is not None and description.std is not None
        return Data(
            description,
            Part(images[train], labels[train]),
            Part(images[test], labels[test]),
            description.mean,
            description.std,
        )

    @cached_property
    def _rows(self) -> NDArray[np.uint8]:
        """The table (1797, 65): 64 values 0..16, and the digit. From the file where it lies, which saves an import."""
        found = importlib.util.find_spec("sklearn")
        if found is not None and found.origin is not None:
            path = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
            if path.is_file():
                text = gzip.decompress(path.read_bytes()).decode()
                values = np.array(text.replace("\n", ",").rstrip(",").split(","), dtype=np.float64)
                return values.reshape(1797, 65).astype(np.uint8)
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        return np.column_stack([values, labels]).astype(np.uint8)
