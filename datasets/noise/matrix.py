"""A transition matrix that the user brings."""

from __future__ import annotations

import hashlib
from pathlib import Path

from datasets.noise.files import Table, read_matrix
from datasets.noise.interface import Matrix, Noise, NoiseFacts
from datasets.noise.matrices import validate


class MatrixFile(Noise):
    """A matrix from a CSV or npy file: row clean class, column noisy class, each row summing to 1.

    A CSV may name its columns, or rows and columns; where the names are the data set's in another order, it is put in
    order.
    """

    name = "matrix"
    summary = "a transition matrix from a CSV or npy file"
    source = "the file"
    takes_rate = False
    argument = "FILE"

    def __init__(self, argument: str | None = None) -> None:
        super().__init__(argument)
        self.path = Path(self.argument_value)
        self.table: Table = read_matrix(self.path)

    def matrix(self, facts: NoiseFacts, rate: float | None) -> Matrix:
        self.checked_rate(rate)
        return validate(self.table.ordered(facts.classes), len(facts.classes), f"The matrix in {self.path}")

    def origin(self, facts: NoiseFacts) -> str:
        return str(self.path)

    def file_hash(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()
