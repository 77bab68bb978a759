"""Label columns that lie in files beside a data set: read once before they are planned with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.system import cache

if TYPE_CHECKING:
    from datasets.interface import DataSet
    from datasets.noise import Noise, NoiseFacts


def check_column_files(noise: Noise, facts: NoiseFacts, data_set: DataSet, hashes: Sequence[str | None]) -> None:
    """Read the columns that a noise takes from files beside the data set, once for each state of both.

    `hashes` are those of the data and of these files. Raises DataError where a column isn't of this data set.
    """
    names = [name for name in noise.columns_read(facts) if name in facts.column_files]

    def read() -> list[int]:
        columns = data_set.outline(0).columns
        return [len(columns[name]) for name in names]

    if names:
        cache.cached_json("columns", [facts.data_set, *hashes, *names], read)
