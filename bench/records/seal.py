"""The hash at the end of a record's line, by which a later reader knows that no bit of it has changed."""

from __future__ import annotations

import hashlib
import json
import re

KEY = "sha256"
_SEAL_BYTES = len(f',"{KEY}":""') + 64
SEAL_BYTES = 2 * _SEAL_BYTES
"""Bytes by which a sealed line is longer, with the hash of its provenance."""

_PROVENANCE = b',"provenance":'
_DECODER = json.JSONDecoder()
_SEAL = re.compile(rb',?"sha256":"([0-9a-f]{64})"\}\s*\Z')
_LONGEST_TAIL = _SEAL_BYTES + 16


def hash_of(line: bytes) -> str:
    """The SHA-256 (hex) of a line without its newline and without its provenance, which has a hash of its own.

    So equal results have equal hashes, wherever and however fast they were computed.
    """
    content = line.rstrip(b"\n")
    start, end = _provenance(content)
    return hashlib.sha256(content[:start] + content[end:]).hexdigest()


def seal(line: bytes) -> bytes:
    """A JSON object in one line, with the hash of that line as its last item, and that of its provenance in there."""
    content = line.rstrip(b"\n")
    start, end = _provenance(content)
    if end > start:
        provenance = content[start + len(_PROVENANCE) : end]
        content = content[: start + len(_PROVENANCE)] + _append(provenance) + content[end:]
    return _append(content) + b"\n"


def _append(content: bytes) -> bytes:
    comma = b"," if len(content) > 2 else b""
    return content[:-1] + comma + f'"{KEY}":"{hash_of(content)}"}}'.encode()


def is_sealed(line: bytes) -> bool:
    """Whether a line ends in a hash as `seal` writes it."""
    return _find(line) is not None


def seal_holds(line: bytes) -> bool:
    """Whether the hash of a sealed line is that of the rest of it, and that of its provenance too."""
    found = _find(line)
    if found is None:
        return False
    content = line[: found.start()] + b"}"
    start, end = _provenance(content)
    provenance = content[start + len(_PROVENANCE) : end]
    return hash_of(content) == found[1].decode() and (end == start or seal_holds(provenance))


def _provenance(content: bytes) -> tuple[int, int]:
    """Where the provenance begins and ends, its key included; an empty stretch where there is none."""
    start = content.rfind(_PROVENANCE)
    if start < 0:
        return len(content), len(content)
    text = content[start + len(_PROVENANCE) :].decode(errors="replace")
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return len(content), len(content)
    return start, start + len(_PROVENANCE) + len(text[:end].encode())


def _find(line: bytes) -> re.Match[bytes] | None:
    return _SEAL.search(line, max(0, len(line) - _LONGEST_TAIL))
