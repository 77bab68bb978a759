"""Vectors in a file: features that some backbone gave, or the rows of a table of numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.interface import DataError, Options
from datasets.number_table import is_parquet, read_number_table
from datasets.vector_arrays import read_arrays
from datasets.vector_listing import VectorListing
from datasets.vectors import ListedVectors

MISSING = ("refuse", "drop")
"""What `missing` may say of rows that lack a number or their label: an error, or left out."""
PACKED = b"PK\x03\x04"
"""The first bytes of a .npz file, as of every zip archive."""


class Features(ListedVectors):
    """Vectors with labels, in a file of NumPy arrays, a CSV table or a Parquet file.

    A file of arrays (.npz) holds `features` (N, D), or (N, V, D) for V views of each sample, the plain one first, and
    `labels` (N,): ids or names of classes. It may hold `test_features` and `test_labels`, or `split` (N,) with words
    such as train and test. `class_names` (K,) names the classes of ids. Every further integer array (N,) of ids is
    usable as `--noise column:NAME`; -1 says that there is none.

    In a table, the column `label` holds classes, by name or as whole numbers, and every other column of numbers is a
    feature. `split` and columns such as is_test say parts as for `table`. Columns of class names are further labels; so
    are columns of classes that are whole numbers if their name says so, such as noisy_label or annotator2. Columns that
    only number the rows, such as id, and other text aren't used. Another column of labels is typed:
    `features[label=diagnosis]:FILE.csv`, by its number where the file has no header. `missing=drop` leaves out rows
    that lack a number or a label.

    Where nothing says which samples are for testing: a stratified split of 80/20 by the split seed. Each feature is
    standardised by its mean and standard deviation over the training part.
    """

    name = "features"
    summary = "your own vectors: features of a backbone (.npz), or a table of numbers (.csv, .parquet)"
    source = "yours"
    argument = "FILE"
    access = "yours"
    layout = """
        FILE.npz                               with the arrays features (N, D) or (N, V, D), labels (N,), and others
        FILE.csv or FILE.parquet               with columns of numbers and the column label
        """
    parameters = {"label": "label", "missing": "refuse"}
    unrecorded = frozenset({"missing"})

    def __init__(
        self,
        options: Options,
        argument: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        typed_name: str = name,
    ) -> None:
        super().__init__(options, argument, parameters)
        self.typed_name = typed_name
        if self.values["missing"] not in MISSING:
            raise DataError(
                f"{typed_name}[missing={self.values['missing']}] is impossible. Type missing=drop to leave out rows "
                "that lack a number or a label."
            )

    @property
    def file(self) -> Path:
        return Path(self.argument_value or "").expanduser()

    @property
    def reading(self) -> str:
        return f"label {self.values['label']}, missing {self.values['missing']}"

    def recorded_call(self) -> str:
        return super().recorded_call().replace(self.name, self.typed_name, 1)

    def read(self) -> VectorListing:
        file = self.file
        if file.suffix.lower() == ".npz" or (self._begins_with(PACKED) and file.suffix.lower() != ".xlsx"):
            if self.values["label"] != self.parameters["label"]:
                raise DataError(f"{file} is a file of arrays: labels stand in the array labels. Leave out label=.")
            return read_arrays(file)
        if file.suffix.lower() in (".npy", ".pt", ".pth", ".pkl", ".h5", ".hdf5", ".mat"):
            raise DataError(
                f"{file} isn't a file that is read here. Save it by numpy.savez(FILE.npz, features=..., labels=...)."
            )
        if file.suffix.lower() == ".parquet" and not is_parquet(file):
            raise DataError(f"{file} isn't Parquet inside. Is it whole? A table of text ends in .csv.")
        return read_number_table(file, self.values["label"], self.values["missing"] == "drop", self.typed)

    def typed(self, **more: str) -> str:
        """The option that reads the file with some more parameters, as a shell takes it."""
        values = {key: value for key, value in self.values.items() if value != self.parameters[key]} | more
        call = ",".join(f"{key}={value}" for key, value in values.items())
        bracket = f"[{call}]" if call else ""
        return f"--dataset {shlex.quote(f'{self.typed_name}{bracket}:{self.file}')}"

    def _begins_with(self, mark: bytes) -> bool:
        try:
            with self.file.open("rb") as stream:
                return stream.read(len(mark)) == mark
        except OSError:
            return False
