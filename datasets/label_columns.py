"""Label columns that are read when they are asked for, so that a bad file hinders nobody who doesn't need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from datasets.interface import Labels


class LabelColumns(Mapping[str, Labels]):
    """Labels (N,) by name; `read[name]()` gives one column, and raises DataError where it can't be had."""

    def __init__(self, read: Mapping[str, Callable[[], Labels]]) -> None:
        self._read = dict(read)

    def __getitem__(self, name: str) -> Labels:
        return self._read[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)


def take(columns: Mapping[str, Labels], index: NDArray[np.int64]) -> LabelColumns:
    """The columns at the places `index` (n,), still unread."""

    def reader(name: str) -> Callable[[], Labels]:
        return lambda: columns[name][index]

    return LabelColumns({name: reader(name) for name in columns})
