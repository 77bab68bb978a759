"""Going on without the images that can't be read, where the user asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from datasets.data_report import UNREADABLE, count_of
from datasets.files import in_order, listed, remembered
from datasets.images import DECODED_AT_ONCE, DECODER, Chunk, decode_chunk
from datasets.interface import DataError, Options

if TYPE_CHECKING:
    from datasets.listing import Listing


def find_unreadable(paths: Sequence[str], content: str, options: Options) -> dict[int, str]:
    """The positions of files that can't be decoded, each with what the decoder says.

    All files are decoded for it, a few at a time, and what came of it is remembered until one of them changes.
    `content` is the hash of their bytes.
    """
    known = f"unreadable\n{content}\n{options.image_size}"
    found = json.loads(remembered(options, known, f"{DECODER}", lambda: json.dumps(_decode_all(paths, options))))
    return {int(number): reason for number, reason in found}


def _decode_all(paths: Sequence[str], options: Options) -> list[tuple[int, str]]:
    starts = range(0, len(paths), DECODED_AT_ONCE)
    chunks = [Chunk(paths[start : start + DECODED_AT_ONCE], start, None, options.image_size) for start in starts]
    found, done = [], 0
    for chunk, result in zip(chunks, in_order(decode_chunk, chunks), strict=True):
        found += result.unreadable
        done += len(chunk.paths)
        options.progress("looking for images that can't be read", done, len(paths))
    return found


def without(listing: Listing, unreadable: Mapping[int, str]) -> Listing:
    """The listing without some of its images, which are counted in its notes.

    Raises DataError where a class, or everything, is gone.
    """
    if not unreadable:
        return listing
    keep = np.ones(len(listing.paths), dtype=np.bool_)
    keep[list(unreadable)] = False
    kept = keep.tolist()
    labels = listing.labels[keep]
    sizes = np.bincount(labels, minlength=len(listing.classes))
    if (sizes == 0).any():
        gone = [listing.classes[number] for number in np.flatnonzero(sizes == 0)]
        reasons = [f"{listing.name(number)}: {reason}" for number, reason in unreadable.items()]
        raise DataError(
            f"{len(gone)} of {len(listing.classes)} classes have no image that can be read (first: {gone[0]}). Repair "
            f"some of these:\n{listed(reasons)}"
        )
    named = [f"{listing.written[number]}: {reason}" for number, reason in unreadable.items()]
    note = count_of(named, "image can't be read, and is left out", "images can't be read, and are left out")
    return replace(
        listing,
        paths=list(compress(listing.paths, kept)),
        written=list(compress(listing.written, kept)),
        lines=None if listing.lines is None else list(compress(listing.lines, kept)),
        labels=labels,
        test=None if listing.test is None else listing.test[keep],
        columns={name: values[keep] for name, values in listing.columns.items()},
        left_out={**listing.left_out, UNREADABLE: len(unreadable)},
        notes=(note, *listing.notes),
        verified=None if listing.verified is None else listing.verified.only(keep),
        second=None if listing.second is None else listing.second[keep],
    )
