"""Networks compiled by `torch.compile`, for steps of the usual shape, and the time that compiling took."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bench.core.networks import CoreNetwork, Pooled, pooled

MOST_VARIANTS = 64
"""Compiled forms of a network's forward pass (shapes, modes, who learns) before PyTorch gives up and runs eagerly."""


class CompileClock:
    """Seconds that PyTorch's compiler has taken in this process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self, *about: Any) -> None:
        """A compilation begins; those inside it aren't told."""
        self._began = time.perf_counter()

    def stop(self, *about: Any) -> None:
        """It has ended."""
        self.seconds += time.perf_counter() - self._began


@functools.cache
def compile_clock() -> CompileClock:
    """The process's one clock; it runs from the first call on."""
    from torch._dynamo.callback import on_compile_end, on_compile_start

    clock = CompileClock()
    on_compile_start(clock.start)
    on_compile_end(clock.stop)
    return clock


@functools.cache
def compiled_pooled() -> Pooled:
    """`bench.core.networks.pooled`, compiled anew for every shape, mode and kind of network that it meets."""
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, MOST_VARIANTS)
    compiled: Pooled = torch.compile(pooled, dynamic=False)
    return compiled


@contextmanager
def compiled(networks: Iterable[CoreNetwork]) -> Iterator[None]:
    """Inside, the networks' forward passes are compiled."""
    from torch._inductor import config

    # as many as the run may have; a single one compiles in this process
    config.compile_threads = torch.get_num_threads()
    fast, held = compiled_pooled(), list(networks)
    for network in held:
        network.pooled = fast
    try:
        yield
    finally:
        for network in held:
            network.pooled = pooled
