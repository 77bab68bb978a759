"""What a label file says, for any of the known kinds of files: ours, and those that people have.

Read `read_labels` first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.interface import DataError, Labels
from datasets.noise.files import NPY, first_line, parse_csv, parse_npy, read_bytes, whole_number
from datasets.noise.interface import label_hash

FORMAT = "label-noise benchmark: noisy labels"


@dataclass(frozen=True, eq=False)
class LabelFile:
    """What a label file says; None where it doesn't say.

    `index` holds the labels' places in the training set, `paths` the images as their owner calls them.
    """

    labels: Labels
    index: Labels | None = None
    classes: int | None = None
    data_set: str | None = None
    data_sha256: str | None = None
    split: str | None = None
    paths: tuple[str, ...] | None = None


def file_hash(path: Path) -> str:
    """SHA-256 (hex) over a label file's bytes. Raises DataError where it can't be read."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_labels(path: Path) -> LabelFile:
    """A label file of any of the known kinds. Raises DataError with the reason where it is none."""
    content = read_bytes(path)
    if content.startswith(NPY):
        array = parse_npy(path, content)
        whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and _are_whole(array))
        if array.ndim != 1 or not whole:
            raise DataError(
                f"{path} holds {array.dtype} values with {array.ndim} axes. Labels are one axis of integers, or of "
                "floats that are whole."
            )
        return LabelFile(array.astype(np.int64))
    if content.lstrip().startswith(b"{"):
        return _from_json(path, content)
    if content.lstrip().startswith(b"["):
        return _from_list(path, content)
    return _from_text(path, content)


def _are_whole(values: NDArray[Any]) -> bool:
    return bool((np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**53)).all())


def _from_list(path: Path, content: bytes) -> LabelFile:
    """A JSON list of class ids, one for each training image: the commonest label file of the field."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no complete JSON list: {first_line(error)}") from error
    wrong = [
        f"  position {place}: {value!r:.60}"
        for place, value in enumerate(values)
        if isinstance(value, bool)
        or not isinstance(value, int | float)
        or not abs(value) < 2**53
        or value != int(value)
    ]
    if wrong:
        more = [f"  ... and {len(wrong) - 10} more"] if len(wrong) > 10 else []
        head = f"{path}: a list of labels holds one class id for each training image, and these are none:"
        raise DataError("\n".join([head, *wrong[:10], *more]))
    return LabelFile(np.array(values, dtype=np.float64).astype(np.int64))


def _from_json(path: Path, content: bytes) -> LabelFile:
    try:
        document = json.loads(content)
        if document["format"] != FORMAT or document["version"] != 1:
            raise DataError(
                f"{path} is of format {document['format']!r}, version {document['version']!r}: unknown here."
            )
        labels, index = (_integers(document[key]) for key in ("labels", "index"))
        file = LabelFile(
            labels,
            index,
            int(document["classes"]),
            str(document["data_set"]),
            str(document["data_sha256"]),
            None if document["split"] is None else str(document["split"]),
        )
        stated = document["labels_sha256"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(
            f"{path} is no label file of --save-labels: {reason}. A plain JSON list of class ids is read as well, one "
            "for each training image."
        ) from error
    if len(labels) != len(index) or label_hash(labels) != stated:
        raise DataError(f"{path} was changed or cut off: its labels aren't those of its hash. Save it anew.")
    return file


def _integers(values: Any) -> Labels:
    array = np.array(values, dtype=object)
    if array.ndim != 1 or not all(type(each) is int for each in values):
        raise ValueError("its labels or index aren't lists of integers")
    return array.astype(np.int64)


def _from_text(path: Path, content: bytes) -> LabelFile:
    lines = parse_csv(path, content)
    header = [cell.strip('"').casefold() for cell in lines[0][1]]
    places = {name: header.index(name) for name in ("place", "index", "path", "label") if name in header}
    if whole_number(lines[0][1][-1]) is None or "label" in places:
        lines = lines[1:]
    width = max((len(cells) for _, cells in lines), default=0)
    label = places.get("label", width - 1)
    place = places.get("place", places.get("index", 0 if width == 2 and "path" not in places else None))
    if not width or (width > 2 and "label" not in places):
        raise DataError(
            f"{path} has {width} columns. Labels are one class id a line, place and class id, or columns named place, "
            "path and label."
        )
    numbers = [column for column in (place, label) if column is not None]
    wrong = [
        f"  line {number}: {', '.join(cells)!r}"
        for number, cells in lines
        if len(cells) != width or any(whole_number(cells[column]) is None for column in numbers)
    ]
    if wrong:
        more = [f"  ... and {len(wrong) - 10} more"] if len(wrong) > 10 else []
        raise DataError("\n".join([f"{path}: labels are whole numbers, and these aren't:", *wrong[:10], *more]))

    def column(number: int) -> Labels:
        return np.array([whole_number(cells[number]) for _, cells in lines], dtype=np.int64)

    return LabelFile(
        column(label),
        None if place is None else column(place),
        paths=tuple(cells[places["path"]] for _, cells in lines) if "path" in places else None,
    )
