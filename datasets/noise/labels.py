"""Label files: noisy labels to hand to others, and labels that others made. They hold no clean label.

Read `save_labels` and `load_labels` first; `datasets/noise/label_file.py` knows the kinds of files.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.interface import DataError, Labels
from datasets.noise.drawing import given
from datasets.noise.interface import NoisyLabels
from datasets.noise.label_file import FORMAT, LabelFile, read_labels


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
    paths: Sequence[str] | None = None,
) -> None:
    """Write noisy labels, whole or not at all: a path ending in .csv as a table, any other as one JSON document.

    The table has a line for each image: its place, its path where there is one, and its label as a class id. Only the
    document says which data, split and draw the labels are of.

    Args:
        index: places (N,) of the labelled images in the training set.
        data_sha256: the data set's content hash, by which `load_labels` knows it again.
        draw: how the labels came about (noise, rate, seeds, training size), for people; JSON values.
        split: what tells this training set from others of the same data set, such as "seed 3"; None where the data set
            has one split.
        paths: the labelled images' files (N,), as their owner calls them.

    Raises:
        DataError: the file can't be written, or its ending is that of a format that isn't written.
    """
    if path.suffix.lower() in (".npy", ".npz", ".txt", ".tsv", ".pt", ".xlsx", ".parquet"):
        raise DataError(
            f"Labels are written as .csv or .json, not as {path.suffix}. Type --save-labels {path.stem}.csv."
        )
    if path.suffix.lower() == ".csv":
        _write(path, _as_table(noisy.labels, index, paths))
        return
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
    _write(path, text + "\n")


def _as_table(labels: Labels, index: Labels, paths: Sequence[str] | None) -> str:
    columns: dict[str, Sequence[object]] = {"place": index.tolist(), "label": labels.tolist()}
    if paths is not None:
        columns = {"place": columns["place"], "path": paths, "label": columns["label"]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
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
    paths: Sequence[str] | None = None,
) -> NoisyLabels:
    """The labels of a file for the images that take part.

    Reads what `save_labels` wrote, JSON lists and npy files of class ids, and text with one class id a line, or place
    and class id. A whole number may be written as a float everywhere.

    Args:
        classes: number of classes of the data set.
        data_sha256: its content hash; a file that names another one is refused.
        clean: clean labels (N,) of the images that take part; only the realised rate is computed from them.
        index: their places (N,) in the training set. With it, a file of the whole training set serves any part of it.
        total: size of the whole training set.
        split: as in `save_labels`; compared where both sides name one.
        paths: the files of the whole training set; compared where the label file names them.

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
    if paths is not None:
        _compare_paths(path, file, paths)
    labels = _placed(path, file, len(clean), index, total)
    return given(labels, clean, classes, f"labels from {path.name}", f"labels from {path.name}")


def _compare_paths(path: Path, file: LabelFile, paths: Sequence[str]) -> None:
    """Raise DataError where a label file names other images than the training set has at the same places."""
    if file.paths is None or file.index is None:
        return
    known = dict(enumerate(paths))
    strange = [
        f"  place {place}: {name!r}, here {known.get(place)!r}"
        for place, name in zip(file.index.tolist(), file.paths, strict=True)
        if known.get(place) != name
    ]
    if strange:
        more = [f"  ... and {len(strange) - 10} more"] if len(strange) > 10 else []
        head = (
            f"{path} labels other images, or another split of them: {len(strange)} of {len(file.paths)} paths differ."
        )
        raise DataError("\n".join([head, *strange[:10], *more]))


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
