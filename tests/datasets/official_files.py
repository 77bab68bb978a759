"""Writes label files in the layouts that their makers give them, from labels of one's own."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datasets.cifar100 import SUPERCLASS_OF

OLD_NUMPY = (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
"""The module of `_reconstruct` in pickles of NumPy 2, and in the published files."""


def label_pickle(content: Any) -> bytes:
    """A pickle as `torch.save` writes it, by protocol 2, with NumPy's names of old."""
    return pickle.dumps(content, protocol=2).replace(*OLD_NUMPY)


def write_torch_archive(path: Path, content: bytes) -> Path:
    """The zip archive that `torch.save` makes of a pickle without tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{path.stem}/data.pkl", content)
        archive.writestr(f"{path.stem}/version", "3\n")
    return path


def write_human_labels(path: Path, labels: Mapping[str, Any]) -> Path:
    """A file such as CIFAR-10_human.pt: a dictionary of int64 arrays and lists by their keys."""
    return write_torch_archive(path, label_pickle(dict(labels)))


def human_labels(count: int) -> dict[str, Any]:
    """The lists of CIFAR-10_human.pt for training labels 0 to 9 in turn: each wrong for another share of images."""
    places = np.arange(count, dtype=np.int64)
    labels = {"clean_label": places % 10}
    for key, every in {"aggre_label": 11, "worse_label": 2, "random_label1": 6, "random_label2": 5}.items():
        labels[key] = (places + (places % every == 0)) % 10
    return labels | {"random_label3": (places + 3 * (places % 7 == 0)) % 10}


def human_labels_of_100(count: int) -> dict[str, Any]:
    """The lists of CIFAR-100_human.pt for training labels 0 to 99 in turn: two in five wrong."""
    places = np.arange(count, dtype=np.int64)
    clean, noisy = places % 100, (places + 7 * (places % 5 < 2)) % 100
    superclasses = np.array(SUPERCLASS_OF, dtype=np.int64)
    return {
        "clean_label": clean,
        "noisy_label": noisy,
        "clean_coarse_label": superclasses[clean].tolist(),
        "noisy_coarse_label": superclasses[noisy].tolist(),
    }
