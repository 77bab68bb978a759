"""Labels that the data set brings beside the clean ones."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise.interface import Noise, NoiseFacts


class Column(Noise):
    """A further column of labels, such as those of one annotator: real noise, without a rate or a matrix."""

    name = "column"
    summary = "labels that stand in a further column of the data set"
    source = "the data set's own"
    takes_rate = False
    argument = "NAME"

    def matrix(self, facts: NoiseFacts, rate: float | None) -> None:
        self.checked_rate(rate)
        self._find(facts.columns, facts.data_set, facts.unused_columns)

    def origin(self, facts: NoiseFacts) -> str:
        return f"column {self.argument_value} of {facts.data_set}"

    def convention(self, facts: NoiseFacts) -> str:
        return f"column {self.argument_value}"

    def columns_read(self, facts: NoiseFacts) -> tuple[str, ...]:
        return (self.argument_value,)

    def labelled(self, columns: Mapping[str, Labels]) -> NDArray[np.int64] | None:
        labels = self.labels(columns)
        return np.flatnonzero(labels >= 0) if (labels < 0).any() else None

    def labels(self, columns: Mapping[str, Labels]) -> Labels:
        self._find(tuple(columns), "the data set")
        return columns[self.argument_value]

    def _find(self, known: tuple[str, ...], data_set: str, unused: Mapping[str, str] | None = None) -> None:
        if self.argument_value in known:
            return
        reason = (unused or {}).get(self.argument_value)
        if reason is not None:
            way_out = " Correct these cells, or empty them: rows without a label stay out of training."
            others = f" Columns that can: {', '.join(known[:10])}." if known else ""
            raise DataError(
                f"The column {self.argument_value!r} of {data_set} can't be used as labels: {reason}."
                f"{way_out if 'hold no class' in reason else ''}{others}"
            )
        if self.argument_value.casefold() == "label":
            raise DataError(
                f"The column {self.argument_value!r} of {data_set} holds the labels that predictions are judged by. "
                "Type --noise as-given to train on them as they are."
            )
        if not known:
            raise DataError(f"There is no column {self.argument_value!r}: {data_set} has no further label columns.")
        likely = get_close_matches(self.argument_value, known, n=3, cutoff=0.5) or list(known[:3])
        raise DataError(
            f"There is no label column {self.argument_value!r} in {data_set}. "
            f"Type --noise column:{likely[0]}" + "".join(f" or column:{each}" for each in likely[1:]) + "."
        )
