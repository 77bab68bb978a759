"""What was read of a user's vectors, kept in the cache folder, where later processes map it into memory at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from datasets.files import cache_folder, replacing
from datasets.interface import Options
from datasets.vector_listing import VectorListing

READER = 1
"""Raised whenever the same file would be read as other vectors or labels."""


def kept_listing(content: str, name: str, options: Options, read: Callable[[], VectorListing]) -> VectorListing:
    """What `read` gives, with its vectors mapped from the cache folder.

    They are kept by the hash of the content, and by the `name` of the file, which notes mention.

    What can't be kept (a read-only cache folder, a full disk) is read again next time, and stays in memory now.
    """
    named = hashlib.sha256(name.encode()).hexdigest()[:8]
    target = cache_folder(options) / "vectors" / f"{content[:40]}-{named}-{READER}.npz"
    kept = _open(target)
    if kept is not None:
        return kept
    listing = read()
    with suppress(OSError):
        _write(target, listing)
        return _open(target) or listing
    return listing


def _vector_file(target: Path, part: str) -> Path:
    return target.with_name(f"{target.stem}-{part}.npy")


def _write(target: Path, listing: VectorListing) -> None:
    """The vectors first: what describes them comes last, so that it never stands without them."""
    for part, vectors in (("all", listing.vectors), ("test", listing.test_vectors)):
        if vectors is not None:
            with replacing(_vector_file(target, part)) as stream:
                np.save(stream, vectors, allow_pickle=False)
    said = {
        "classes": listing.classes,
        "unused_columns": dict(listing.unused_columns),
        "left_out": dict(listing.left_out),
        "notes": listing.notes,
        "columns": list(listing.columns),
        "shape": listing.vectors.shape,
        "test_shape": None if listing.test_vectors is None else listing.test_vectors.shape,
    }
    arrays: dict[str, NDArray[Any]] = {"labels": listing.labels, "said": np.array(json.dumps(said))}
    arrays |= {f"column{number}": values for number, values in enumerate(listing.columns.values())}
    for name, values in (("test", listing.test), ("test_labels", listing.test_labels)):
        if values is not None:
            arrays[name] = values
    with replacing(target) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def _open(target: Path) -> VectorListing | None:
    """What is kept, or None where it isn't there or isn't whole."""
    with suppress(OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile), np.load(target) as stored:
        said = json.loads(str(stored["said"]))
        vectors = np.load(_vector_file(target, "all"), mmap_mode="r")
        test_vectors = None if said["test_shape"] is None else np.load(_vector_file(target, "test"), mmap_mode="r")
        shapes = [list(each.shape) for each in (vectors, test_vectors) if each is not None]
        if shapes != [shape for shape in (said["shape"], said["test_shape"]) if shape is not None]:
            return None
        return VectorListing(
            np.asarray(vectors),
            tuple(said["classes"]),
            stored["labels"],
            stored.get("test"),
            None if test_vectors is None else np.asarray(test_vectors),
            stored.get("test_labels"),
            {name: stored[f"column{number}"] for number, name in enumerate(said["columns"])},
            said["unused_columns"],
            said["left_out"],
            tuple(said["notes"]),
        )
    return None
