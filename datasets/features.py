"""Vectors in a file: features that some backbone gave, or rows of a table of numbers."""

from __future__ import annotations

from pathlib import Path

from datasets.interface import DataError
from datasets.vector_arrays import read_arrays
from datasets.vectors import ListedVectors, VectorListing


class Features(ListedVectors):
    """A file of NumPy arrays with `features` (N, D), or (N, V, D) for V views of each sample, the plain one first, and
    `labels` (N,): ids or names of classes.

    It may hold `test_features` and `test_labels`, or `split` (N,) with words such as train and test; without them, a
    stratified split of 80/20 by the split seed. `class_names` (K,) names the classes of ids. Every further integer
    array (N,) of ids is usable as `--noise column:NAME`; -1 says that there is none.
    """

    name = "features"
    summary = "your own vectors: features of a backbone in a .npz file of arrays"
    source = "yours"
    argument = "FILE.npz"
    access = "yours"
    layout = """
        FILE.npz: features (N, D) or (N, V, D), labels (N,)
                                              (more arrays, such as test_features: see data.md)
        """

    @property
    def file(self) -> Path:
        return Path(self.argument_value or "").expanduser()

    def read(self) -> VectorListing:
        if self.file.suffix.lower() == ".npz":
            return read_arrays(self.file)
        raise DataError(f"{self.file} is no .npz file of arrays. Type --dataset {self.name}:{self.argument}.")
