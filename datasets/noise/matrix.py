"""A transition matrix that the user brings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.noise.files import Table, read_matrix
from datasets.noise.interface import Matrix, Noise, NoiseFacts
from datasets.noise.matrices import ROUNDING, TOLERANCE, count_rescaled, validate


class MatrixFile(Noise):
    """A matrix from a CSV or npy file: row clean class, column noisy class, each row summing to 1.

    A CSV may name its columns, or rows and columns; where the names are the data set's in another order, it is put in
    order. Rows that miss a sum of 1 by what rounding to the written digits can leave are divided by their sums.
    """

    name = "matrix"
    summary = "a transition matrix from a CSV or npy file"
    source = "the file"
    takes_rate = False
    argument = "FILE"

    def __init__(self, argument: str | None = None, parameters: Mapping[str, Any] | None = None) -> None:
        super().__init__(argument, parameters)
        self.path = Path(self.argument_value)
        self.table: Table = read_matrix(self.path)

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        self.checked_rate(rate)
        return validate(self.table.ordered(facts.classes), len(facts.classes), f"The matrix in {self.path}")

    def notes(self, facts: NoiseFacts) -> tuple[str, ...]:
        values = self.table.ordered(facts.classes).astype(np.float64)
        rescaled = count_rescaled(values)
        said = []
        if rescaled:
            off = np.abs(values.sum(axis=1) - 1) > TOLERANCE + ROUNDING
            first = facts.classes[int(np.argmax(off))]
            said.append(
                f"{rescaled} of {len(values)} rows of {self.path} sum to 1 only up to the rounding of their digits, "
                f"and are divided by their sums (first: {first}, {values[np.argmax(off)].sum():.7g})"
            )
        if self.table.decimal_commas:
            count = self.table.decimal_commas
            said.append(f"{count} numbers of {self.path} have a decimal comma and are read with a point")
        return tuple(said)

    def origin(self, facts: NoiseFacts) -> str:
        return str(self.path)

    def file_hash(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()
