"""Every random stream of a run, derived by hash from (seed, purpose); nothing global is ever seeded.

Streams are named by purpose ("initialisation", "order", "augmentation", "draws"), never by method, so every method
meets the same initialisation, the same order and the same crops.
"""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A seed in [0, 2**63) for one purpose; equal arguments give equal seeds on every machine."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def seeded_generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A new CPU generator for one purpose.

    Draws are made on the CPU whatever the device, so that runs on a GPU and on a CPU draw the same numbers.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))
