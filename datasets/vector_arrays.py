"""Vectors in a file of NumPy arrays: which arrays it may hold, and what can be wrong with them. Read `read_arrays`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from datasets.arrays import blocks
from datasets.classes import ordered_classes
from datasets.interface import DataError, Labels
from datasets.parts import PartPlan, assign_parts, part_of
from datasets.samples import Vectors
from datasets.vector_listing import VectorListing

Arrays = Mapping[str, NDArray[Any]]
OWN = frozenset({"features", "labels", "split", "test_features", "test_labels", "class_names"})
"""Names of arrays that mean something; any other is a further column of labels, or isn't used."""
MOST_VIEWS = 64
"""More than that in the middle of (N, V, D) are no views, but rows of an image."""


def read_arrays(file: Path) -> VectorListing:
    """The vectors of a file of arrays; docs/data.md has their names. Nothing in it is executed.

    Raises DataError naming what is wrong.
    """
    arrays = _load(file)
    missing = sorted({"features", "labels"} - set(arrays))
    if missing:
        raise DataError(
            f"{file} lacks the array {' and '.join(missing)}: it holds {', '.join(arrays) or 'nothing'}. Save it by "
            "numpy.savez(FILE, features=..., labels=...), features (N, D) or (N, V, D) and labels (N,)."
        )
    vectors = as_vectors(file, "features", arrays["features"])
    labels = _one_for_each(file, "labels", arrays["labels"], len(vectors))
    test_vectors, test_labels = _read_test_arrays(file, arrays, vectors.shape[2])
    classes, ids, test_ids = _as_classes(file, labels, test_labels, arrays.get("class_names"))
    plan = PartPlan() if "split" not in arrays else _read_split(file, arrays["split"], len(vectors))
    columns, unused = _further_columns(arrays, len(vectors), len(classes))
    notes = list(plan.notes)
    if unused:
        name, why = next(iter(unused.items()))
        others = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
        notes.append(f"{len(unused)} arrays of {file.name} can't be used as labels: {name}{others} ({why})")
    if plan.kept is not None:
        vectors, ids = vectors[plan.kept], ids[plan.kept]
        columns = {name: values[plan.kept] for name, values in columns.items()}
    return VectorListing(
        vectors, classes, ids, plan.test, test_vectors, test_ids, columns, unused, plan.left_out, tuple(notes)
    )


def _load(file: Path) -> Arrays:
    """All arrays of the file, by name."""
    try:
        stored = np.load(file, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise DataError(f"{file} is one array. Save features and labels by numpy.savez into one .npz.")
        with stored:
            return {name: _read_array(file, stored, name) for name in stored.files}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, BadZipFile, AttributeError, TypeError) as error:
        raise DataError(
            f"{file} can't be read as NumPy arrays ({error or type(error).__name__}). Save it by numpy.savez(FILE, "
            "features=..., labels=...)."
        ) from error


def _read_array(file: Path, stored: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    try:
        return stored[name]
    except ValueError as error:
        raise DataError(
            f"{file}: the array {name} holds Python objects, which are never read. Save numbers or text: "
            f"{name}.astype(float), or {name}.astype(str) for names."
        ) from error


def as_vectors(file: Path, name: str, values: NDArray[Any]) -> Vectors:
    """An array (N, D) or (N, V, D) as float32 or float16 (N, V, D). Raises DataError where it can't be one."""
    if values.dtype.kind not in "fiub":
        raise DataError(f"{file}: {name} holds {values.dtype} and no numbers. Save it as float32.")
    vectors = values[:, None] if values.ndim == 2 else values
    looks_like_images = vectors.ndim == 3 and (vectors.shape[1] > MOST_VIEWS or values.dtype == np.uint8)
    if vectors.ndim != 3 or (values.ndim == 3 and looks_like_images):
        raise DataError(
            f"{file}: {name} has shape {values.shape}. Vectors are (N, D), or (N, V, D) with V views of each; of "
            f"images save {name}.reshape({len(values) if values.ndim else 1}, -1), or type --dataset folder: or table:"
        )
    if not vectors.size:
        raise DataError(f"{file}: {name} has shape {values.shape}, which holds nothing.")
    with np.errstate(over="ignore"):
        found: Vectors = vectors if values.dtype == np.float16 else vectors.astype(np.float32, copy=False)
    refuse_non_numbers(file, name, found, values.dtype)
    return found


def refuse_non_numbers(file: Path, name: str, vectors: Vectors, written: np.dtype[Any]) -> None:
    """Raise DataError where vectors (N, V, D) hold NaN, or what is infinite as float32."""
    count, first = 0, None
    steps = blocks(vectors)
    for start in steps:
        wrong = ~np.isfinite(vectors[start : start + steps.step])
        if wrong.any():
            count += int(wrong.any(axis=(1, 2)).sum())
            if first is None:
                row, view, feature = (int(axis) for axis in np.argwhere(wrong)[0])
                first = start + row, view, feature
    if first is not None:
        value = vectors[first]
        said = (
            "NaN" if np.isnan(value) else "infinite" if written.kind == "f" and written.itemsize <= 4 else "too large"
        )
        raise DataError(
            f"{file}: {count:,} of {len(vectors):,} rows of {name} have numbers that are missing, infinite or too "
            f"large for float32 (first: row {first[0]}, feature {first[2]}: {said}; both count from 0). Fill them, or "
            "leave these rows out."
        )


def _one_for_each(file: Path, name: str, values: NDArray[Any], count: int) -> NDArray[Any]:
    """An array of labels (N,). Raises DataError where its shape or type is another."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or len(values) != count:
        raise DataError(f"{file}: {name} has shape {values.shape}, and {count:,} rows of features need ({count},).")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind not in "iubU":
        raise DataError(
            f"{file}: {name} holds {values.dtype}, which are no classes. Save whole numbers, {name}.astype(int), or "
            "names of classes as text."
        )
    return values.astype(np.int64) if values.dtype.kind in "iub" else values


def _read_test_arrays(file: Path, arrays: Arrays, length: int) -> tuple[Vectors | None, NDArray[Any] | None]:
    """The plain views and the labels of test arrays that stand apart; None where there are none."""
    apart = [name for name in ("test_features", "test_labels") if name in arrays]
    if not apart:
        return None, None
    if len(apart) == 1:
        other = "test_labels" if apart == ["test_features"] else "test_features"
        raise DataError(f"{file} holds {apart[0]} without {other}. Save both, or neither for a split by a seed.")
    if "split" in arrays:
        raise DataError(f"{file} holds both split and test_features. Leave one of them out.")
    vectors = as_vectors(file, "test_features", arrays["test_features"])
    if vectors.shape[2] != length:
        raise DataError(
            f"{file}: features are vectors of {length:,} numbers, and test_features of {vectors.shape[2]:,}. Both must "
            "hold the same features."
        )
    return vectors[:, :1], _one_for_each(file, "test_labels", arrays["test_labels"], len(vectors))


def _as_classes(
    file: Path, labels: NDArray[Any], test: NDArray[Any] | None, class_names: NDArray[Any] | None
) -> tuple[tuple[str, ...], Labels, Labels | None]:
    """The classes, and the ids of training and test labels."""
    joined = labels if test is None else np.concatenate([labels, test])
    if joined.dtype.kind == "U":
        if class_names is not None:
            raise DataError(f"{file}: class_names names the classes of labels that are numbers, and these are text.")
        classes = ordered_classes(np.unique(joined).tolist())
        order = np.argsort(classes)
        ids = order[np.searchsorted(np.array(classes)[order], joined)]
    else:
        negative = np.flatnonzero(joined < 0)
        if len(negative):
            raise DataError(
                f"{file}: {len(negative):,} labels are below 0, which is no class (first: row {int(negative[0])}). "
                "Leave these rows out."
            )
        if class_names is None:
            values, ids = np.unique(joined, return_inverse=True)
            classes = tuple(map(str, values.tolist()))
        else:
            classes, ids = _read_names(file, class_names), joined
            outside = np.flatnonzero(joined >= len(classes))
            if len(outside):
                raise DataError(
                    f"{file}: {len(outside):,} labels are none of the {len(classes)} classes of class_names (first: "
                    f"row {int(outside[0])}: {int(joined[outside[0]])}). They count from 0."
                )
    ids = ids.astype(np.int64)
    return classes, ids[: len(labels)], None if test is None else ids[len(labels) :]


def _read_names(file: Path, values: NDArray[Any]) -> tuple[str, ...]:
    names = tuple(map(str, values.tolist())) if values.ndim == 1 else ()
    if not names or values.dtype.kind not in "US" or len(set(names)) < len(names):
        raise DataError(
            f"{file}: class_names must be different names (K,), as text, not {values.dtype} {values.shape}."
        )
    return tuple(map(str, np.char.decode(values).tolist())) if values.dtype.kind == "S" else names


def _read_split(file: Path, values: NDArray[Any], count: int) -> PartPlan:
    """The parts that an array of words such as train and test says."""
    if values.shape != (count,) or values.dtype.kind not in "US":
        raise DataError(
            f"{file}: split must be ({count},) words such as train and test, not {values.dtype} of shape "
            f"{values.shape}."
        )
    cells = (np.char.decode(values) if values.dtype.kind == "S" else values).tolist()
    known = {cell: part_of(cell) for cell in set(cells)}
    unknown = sorted(cell for cell, part in known.items() if part is None)
    if unknown:
        row = cells.index(unknown[0])
        raise DataError(
            f"{file}: {len(unknown)} words of split are neither train, val nor test (first: row {row}: "
            f"{unknown[0]!r}). Correct them, or leave split out for a split by a seed."
        )
    return assign_parts([part for cell in cells if (part := known[cell])], _RowNames(), "split", ("split",))


class _RowNames(list[str]):
    """Names of rows for notes."""

    def __getitem__(self, number: Any) -> Any:
        return f"row {number}"


def _further_columns(arrays: Arrays, count: int, classes: int) -> tuple[dict[str, Labels], dict[str, str]]:
    """The arrays that are labels of the training vectors, and the reasons why others aren't."""
    further: dict[str, Labels] = {}
    unused: dict[str, str] = {}
    for name, values in arrays.items():
        if name in OWN:
            continue
        if values.shape != (count,):
            unused[name] = f"it has shape {values.shape}, not ({count},)"
        elif values.dtype.kind not in "iu":
            unused[name] = f"it holds {values.dtype}, not ids of classes"
        elif values.size and (values.min() < -1 or values.max() >= classes):
            unused[name] = f"its ids don't go from 0 to {classes - 1}"
        elif values.size and values.max() < 0:
            unused[name] = "it holds no label"
        else:
            further[name] = values.astype(np.int64)
    return further, unused
