"""Floating-point operations of a backbone's matrix products, counted on shapes alone."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

import torch

from bench.models import build
from bench.system.cache import cached_json

Flops = tuple[int, int]
"""(forward, forward and backward) operations of one image."""


@functools.lru_cache(maxsize=64)
def flops_per_image(model: str, size: tuple[int, int], channels: int, classes: int) -> Flops:
    """(forward, forward and backward) floating-point operations of one image (height, width) in eval mode.

    A multiplication and its addition are two. Only shapes are computed, unless a layer has no rule for them.
    Raises UsageError as `bench.models.build` does.
    """
    try:
        return _count(model, size, channels, classes, "meta")
    except NotImplementedError:
        return _count(model, size, channels, classes, "cpu")


def _count(model: str, size: tuple[int, int], channels: int, classes: int, device: str) -> Flops:
    from torch.utils.flop_counter import FlopCounterMode  # here, since the import takes a second

    with torch.device(device):
        network = build(model, num_classes=classes, in_chans=channels, image_size=size).eval()
        images = torch.zeros(1, channels, *size)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        network(images)
    with FlopCounterMode(display=False) as both:
        torch.autograd.backward(network(images).sum())
    return int(forward.get_total_flops()), int(both.get_total_flops())


@functools.lru_cache(maxsize=64)
def cached_flops(model: str, size: tuple[int, int], channels: int, classes: int, cache: Path | None) -> Flops:
    """`flops_per_image`, stored in the folder `cache` (None: in this process only), so that few runs wait for it."""
    if cache is None:
        return flops_per_image(model, size, channels, classes)
    question = [_code_hash(), model, size, channels, classes]
    answer = cached_json("flops", question, lambda: flops_per_image(model, size, channels, classes), folder=cache)
    forward, both = map(int, answer)
    return forward, both


@functools.cache
def _code_hash() -> str:
    """A hash of all that a count depends on beside its question: the backbones' code, versions of timm and torch."""
    state = hashlib.sha256(f"{version('timm')} {version('torch')}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        state.update(path.read_bytes())
    return state.hexdigest()[:16]
