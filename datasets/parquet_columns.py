"""The columns of a Parquet file: numbers as float32, everything else as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datasets.interface import DataError
from datasets.number_columns import NumberColumns


def read_parquet_columns(file: Path, as_text: Callable[[str], bool]) -> NumberColumns:
    """The columns of a Parquet file. Those for which `as_text` holds, by their name, stay text whatever they hold.

    A column of lists of numbers, as embeddings are stored, becomes a column for each place in the lists. Raises
    DataError where the file can't be read, or the package that reads it isn't installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{file} is a Parquet file, which needs one more package: pip install 'lnl-bench[parquet]'. Or save it as "
            "CSV."
        ) from error
    try:
        table = parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{file} can't be read as Parquet: {reason}. Is it whole?") from error
    if not table.num_rows:
        raise DataError(f"{file} has no rows. Add a row for each sample.")
    found: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    texts: dict[str, list[str]] = {}
    header: list[str] = []
    for name in table.column_names:
        if name in header:
            raise DataError(f"{file} names columns twice: {name!r}. Rename or remove one of each.")
        header.append(name)
        column = table.column(name)
        kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
        if _is_list(pyarrow, kind):
            found |= _split_lists(file, name, column)
        elif _is_number(pyarrow, kind) and not as_text(name):
            found[name] = _as_float32(column.to_numpy())
        else:
            texts[name] = ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]
    named = [each for name in header for each in ([name] if name in texts or name in found else _of_list(name, found))]
    return NumberColumns(tuple(named), found, texts, range(table.num_rows), place="row")


def _is_number(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind))


def _is_list(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(listed and _is_number(pyarrow, kind.value_type))


def _as_float32(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Numbers as float32; objects are numbers of other kinds, and None where there is none."""
    if values.dtype == object:
        values = np.array([np.nan if value is None else float(value) for value in values])
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _split_lists(file: Path, name: str, column: Any) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """A column for each place of lists that all have one length."""
    lists = column.combine_chunks()
    lengths = np.asarray(lists.value_lengths().fill_null(-1))
    if (lengths != lengths[0]).any() or lengths[0] < 1:
        other = int((lengths != lengths[0]).argmax())
        raise DataError(
            f"{file}: the lists of {name} don't have one length (row 0: {max(0, lengths[0])}, row {other}: "
            f"{max(0, lengths[other])}). Vectors must have as many numbers in every row."
        )
    values = _as_float32(lists.flatten().to_numpy(zero_copy_only=False)).reshape(len(lengths), -1)
    return {f"{name}.{place}": values[:, place] for place in range(values.shape[1])}


def _of_list(name: str, found: dict[str, Any]) -> list[str]:
    return [each for each in found if each.rpartition(".")[0] == name]
