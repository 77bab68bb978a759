"""The hash at the end of a record's line, by which a later reader knows that no bit of it has changed."""

from __future__ import annotations

import hashlib
import re

KEY = "sha256"
SEAL_BYTES = len(f',"{KEY}":""') + 64
"""Bytes by which a sealed line is longer."""

_SEAL = re.compile(rb',"sha256":"([0-9a-f]{64})"\}\s*\Z')
_LONGEST_TAIL = SEAL_BYTES + 16


def hash_of(line: bytes) -> str:
    """The SHA-256 (hex) of a line without its newline."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def seal(line: bytes) -> bytes:
    """A JSON object in one line, with the hash of that line as its last item."""
    return line.rstrip(b"\n")[:-1] + f',"{KEY}":"{hash_of(line)}"}}\n'.encode()


def is_sealed(line: bytes) -> bool:
    """Whether a line ends in a hash as `seal` writes it."""
    return _find(line) is not None


def seal_holds(line: bytes) -> bool:
    """Whether the hash of a sealed line is that of the rest of it."""
    found = _find(line)
    return found is not None and hash_of(line[: found.start()] + b"}") == found[1].decode()


def _find(line: bytes) -> re.Match[bytes] | None:
    return _SEAL.search(line, max(0, len(line) - _LONGEST_TAIL))
