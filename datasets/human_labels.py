"""Reads the label files of CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022), which `torch.save` wrote, without torch.

Such a file is a zip archive with a pickle of arrays and lists. A pickle may name any function and have it called; here
only five names are known, and each stands for a few lines of this module: what a file holds is never executed.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from datasets.files import read_regular_file
from datasets.interface import DataError, Labels

SOURCE = "github.com/UCSC-REAL/cifar-10-100n, folder data (CC BY-NC 4.0: not for commercial use)"
"""Where the files are to be had, and on which terms."""
MOST_BYTES = 64 << 20
"""A pickle of these labels has a twentieth of it."""
NUMPY = b"\x93NUMPY"
TFDS_REASON = (
    "is in the order of TensorFlow Datasets, which isn't that of the batches, and holds pickled objects. Take the .pt "
    f"file from {SOURCE}"
)


def read_human_labels(path: Path) -> Mapping[str, Labels]:
    """The labels of a file by their key, such as "worse_label": int64 arrays of one length.

    Raises DataError with the reason where the file is something else.
    """
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}.") from error


@lru_cache(maxsize=4)
def _read(path: Path, size: int, changed: int) -> Mapping[str, Labels]:
    content = read_regular_file(path)
    if not content:
        raise DataError(f"{path} is empty (0 bytes). Fetch it again: {SOURCE}.")
    if content.startswith(NUMPY):
        raise DataError(f"{path} {TFDS_REASON}.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickles = [entry for entry in archive.infolist() if entry.filename.rpartition("/")[2] == "data.pkl"]
            if len(pickles) != 1 or pickles[0].file_size > MOST_BYTES:
                raise ValueError("it isn't an archive of torch.save with one pickle of labels")
            document = LabelUnpickler(io.BytesIO(archive.read(pickles[0]))).load()
        labels = {str(key): _labels(key, value) for key, value in _items(document)}
        lengths = {key: len(values) for key, values in labels.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"its lists aren't of one length: {', '.join(f'{k} {n:,}' for k, n in lengths.items())}")
    except Exception as error:  # zipfile and pickle raise whatever they stumble over in a broken file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise DataError(f"{path} is no label file of CIFAR-10N or CIFAR-100N: {reason}. Fetch it: {SOURCE}.") from error
    return labels


def _items(document: Any) -> list[tuple[Any, Any]]:
    if not isinstance(document, dict) or not document:
        raise ValueError("it doesn't hold label lists by name")
    return list(document.items())


def _labels(key: Any, value: Any) -> Labels:
    if isinstance(value, list) and all(type(each) is int for each in value):
        return np.array(value, dtype=np.int64)
    if isinstance(value, PickledArray) and value.labels is not None:
        return value.labels
    raise ValueError(f"its {key!s:.40} is no list of whole numbers")


class PickledType:
    """Stands for `numpy.dtype`: the one type that label files have, int64 with the lowest byte first."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        if code != "i8":
            raise ValueError(f"it holds values of type {code!s:.20}, and labels are int64")

    def __setstate__(self, state: Any) -> None:
        if state[1] != "<":
            raise ValueError("its numbers have the highest byte first")


class PickledArray:
    """Stands for `numpy.ndarray`, as NumPy's pickles make one: first empty, then filled from bytes."""

    labels: Labels | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, _, content = state
        if not isinstance(kind, PickledType) or not isinstance(content, bytes) or shape != (len(content) // 8,):
            raise ValueError("one of its arrays isn't a list of int64 values")
        self.labels = np.frombuffer(content, dtype="<i8").astype(np.int64)


def _encode(text: Any, encoding: Any = None) -> bytes:
    """Stands for `_codecs.encode`, by which protocol 2 of pickle writes bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("its bytes aren't written as pickle writes them")
    return text.encode("latin1")


class AllowedName:
    """What an allowed name stands for. The pickle can call it, and nothing else: it has no attributes to set."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it would change what a name stands for")


ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): AllowedName(lambda *_: PickledArray()),
    ("numpy._core.multiarray", "_reconstruct"): AllowedName(lambda *_: PickledArray()),  # since NumPy 2
    ("numpy", "ndarray"): AllowedName(lambda *_: PickledArray()),
    ("numpy", "dtype"): AllowedName(PickledType),
    ("numpy.dtypes", "Int64DType"): AllowedName(lambda *_: PickledType("i8")),
    ("_codecs", "encode"): AllowedName(_encode),
}


class LabelUnpickler(pickle.Unpickler):
    """An unpickler that knows the names in ALLOWED only, by what stands for them here."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        found = ALLOWED.get((module_name, global_name))
        if found is None:
            raise ValueError(f"it asks for {module_name}.{global_name}, which no list of labels needs; nothing was run")
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it holds tensors, and these files hold arrays")
