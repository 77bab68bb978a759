"""Label files: noisy labels to hand to others, and labels that others made. They hold no clean label."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.interface import DataError, Labels
from datasets.noise.drawing import given
from datasets.noise.files import NPY, parse_csv, parse_npy, read_bytes
from datasets.noise.interface import NoisyLabels, label_hash

FORMAT = "label-noise benchmark: noisy labels"


@dataclass(frozen=True, eq=False)
class LabelFile:
    """What a label file says; None where it doesn't say. `index` holds the labels' places in the training set."""

    labels: Labels
    index: Labels | None = None
    classes: int | None = None
    data_set: str | None = None
    data_sha256: str | None = None
    split: str | None = None


def save_labels(
    path: Path,
    noisy: NoisyLabels,
    index: Labels,
    *,
    classes: int,
    data_set: str,
    data_sha256: str,
    draw: Mapping[str, Any] | None = None,
    split: str | None = None,
) -> None:
    """Write noisy labels as one JSON document, whole or not at all.

    Args:
        index: places (N,) of the labelled images in the training set.
        data_sha256: the data set's content hash, by which `load_labels` knows it again.
        draw: how the labels came about (noise, rate, seeds, training size), for people; JSON values.
        split: what tells this training set from others of the same data set, such as "seed 3"; None where the data set
            has one split.

    Raises:
        DataError: the file can't be written.
    """
    document = {
        "format": FORMAT,
        "version": 1,
        "data_set": data_set,
        "data_sha256": data_sha256,
        "split": split,
        "draw": dict(draw or {}),
        "caption": noisy.caption,
        "source": noisy.source,
        "classes": classes,
        "labels_sha256": noisy.sha256,
        "index": index.tolist(),
        "labels": noisy.labels.tolist(),
    }
    text = json.dumps(document, indent=1, allow_nan=False).replace(",\n  ", ", ").replace("[\n  ", "[")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise DataError(f"{path} can't be written: {error.strerror}. Give another place to --save-labels.") from error


def load_labels(
    path: Path,
    classes: int,
    data_sha256: str,
    clean: Labels,
    index: Labels | None = None,
    total: int | None = None,
    split: str | None = None,
) -> NoisyLabels:
    """The labels of a file for the images that take part.

    Reads what `save_labels` wrote, npy files of integers, and text with one class id a line, or `index,label`.

    Args:
        classes: number of classes of the data set.
        data_sha256: its content hash; a file that names another one is refused.
        clean: clean labels (N,) of the images that take part; only the realised rate is computed from them.
        index: their places (N,) in the training set. With it, a file of the whole training set serves any part of it.
        total: size of the whole training set.
        split: as in `save_labels`; compared where both sides name one.

    Raises:
        DataError: unreadable, of another data set or split, too few or too many, or not class ids.
    """
    file = read_labels(path)
    theirs = file.data_set or "another data set"
    if file.data_sha256 is not None and file.data_sha256 != data_sha256:
        raise DataError(
            f"The labels in {path} are of other data ({theirs}, content {file.data_sha256[:12]}; this is content "
            f"{data_sha256[:12]}). Give the data set that they were made for to --dataset, or other labels."
        )
    if file.classes is not None and file.classes != classes:
        raise DataError(f"The labels in {path} are of {file.classes} classes; this data set has {classes}.")
    if split is not None and file.split is not None and file.split != split:
        raise DataError(
            f"The labels in {path} are of another training split ({file.split}; this is {split}). "
            "A data set without an official split needs labels for each."
        )
    labels = _placed(path, file, len(clean), index, total)
    return given(labels, clean, classes, f"labels from {path.name}", f"labels from {path.name}")


def file_hash(path: Path) -> str:
    """SHA-256 (hex) over a label file's bytes. Raises DataError where it can't be read."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def read_labels(path: Path) -> LabelFile:
    """A label file of any of the known kinds. Raises DataError with the reason where it is none."""
    content = read_bytes(path)
    if content.startswith(NPY):
        array = parse_npy(path, content)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise DataError(
                f"{path} holds {array.dtype} values with {array.ndim} axes. Labels are one axis of integers."
            )
        return LabelFile(array.astype(np.int64))
    if content.lstrip().startswith(b"{"):
        return _from_json(path, content)
    return _from_text(path, content)


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
        raise DataError(f"{path} is no label file of --save-labels: {reason}.") from error
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
    if not _is_integer(lines[0][1][-1]):
        lines = lines[1:]  # a header
    width = max((len(cells) for _, cells in lines), default=0)
    if width not in (1, 2):
        raise DataError(f"{path} has {width} columns. Labels are one class id a line, or index and class id.")
    wrong = [
        f"  line {number}: {', '.join(cells)!r}"
        for number, cells in lines
        if len(cells) != width or not all(map(_is_integer, cells))
    ]
    if wrong:
        more = [f"  ... and {len(wrong) - 10} more"] if len(wrong) > 10 else []
        raise DataError("\n".join([f"{path}: labels are whole numbers, and these aren't:", *wrong[:10], *more]))
    numbers = np.array([[int(cell) for cell in cells] for _, cells in lines], dtype=np.int64)
    return LabelFile(numbers[:, -1], numbers[:, 0] if width == 2 else None)


def _is_integer(cell: str) -> bool:
    digits = cell.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19


def _placed(path: Path, file: LabelFile, samples: int, index: Labels | None, total: int | None) -> Labels:
    """The file's labels for the images at `index`, which the file may hold among others."""
    if file.index is not None and index is not None:
        order = np.argsort(file.index, kind="stable")
        known = file.index[order]
        if len(np.unique(known)) < len(known):
            raise DataError(f"{path} labels some images twice.")
        place = np.minimum(np.searchsorted(known, index), len(known) - 1)
        missing = index[known[place] != index]
        if len(missing):
            raise DataError(
                f"{path} has no labels for {len(missing)} of the {len(index)} training images (the first: number "
                f"{missing[0]}). Draw the same images (--train-size, --imbalance, seeds) as when they were saved."
            )
        return file.labels[order[place]]
    if index is not None and total is not None and len(file.labels) == total:
        return file.labels[index]
    if len(file.labels) != samples:
        whole = f" (or {total} for the whole training set)" if total not in (None, samples) else ""
        raise DataError(
            f"{path} has {len(file.labels)} labels, and there are {samples} training images{whole}. "
            "It looks like labels of another data set or draw; it needs one for each image."
        )
    return file.labels
