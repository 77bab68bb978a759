"""Two ways to a faster step on CUDA: graphs, whose kernels are recorded once and launched together, and compiling.

`GraphRecorder` is the recorder that `bench.training.step_modes.StepRunner` uses; `compile_networks` is the context in
which networks run compiled.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bench.training.networks import PooledFeatures, TrainedNetwork, pooled_features


class GraphRecorder:
    """Records work as CUDA graphs that share one pool of memory, on a stream of their own.

    Only the latest recording may be replayed: the next one takes over its memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._latest: torch.cuda.CUDAGraph | None = None

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """Run on the stream that is recorded later, which then owns workspaces and the memory of gradients."""
        # the two streams wait for each other, since the work in here reads and writes what the other stream's does
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Carry out `work` once; returns a call that carries it out again, on the same tensors.

        Raises RuntimeError with the way out where the work can't be recorded.
        """
        # work that is still queued on the device is training, and isn't counted as recording
        torch.cuda.synchronize(self._device)
        began = time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        # a pool lives as long as a graph that uses it: the latest graph is freed after the next one has been made
        pool = None if self._latest is None else self._latest.pool()
        try:
            # other threads may allocate and copy meanwhile, as those that read images do
            with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(
                "this step can't be recorded as a CUDA graph: type --steps eager, or, if the method's loss looks at "
                f"values on the host, declare static_shapes = False in it ({error})"
            ) from error
        self._latest = graph
        self.seconds += time.perf_counter() - began
        graph.replay()
        return graph.replay


MOST_VARIANTS = 64
"""Compiled forms of a network's forward pass (shapes, modes, who learns) before PyTorch gives up and runs eagerly."""


class CompileClock:
    """The seconds that PyTorch's compiler has taken in this process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self, *arguments: Any) -> None:
        """Called when a compilation begins; PyTorch doesn't call it for a compilation inside another."""
        self._began = time.perf_counter()

    def stop(self, *arguments: Any) -> None:
        """Called when the compilation has ended."""
        self.seconds += time.perf_counter() - self._began


@functools.cache
def compile_clock() -> CompileClock:
    """The one clock of this process; it counts from the first call on."""
    from torch._dynamo.callback import on_compile_end, on_compile_start

    clock = CompileClock()
    on_compile_start(clock.start)
    on_compile_end(clock.stop)
    return clock


@functools.cache
def compile_pooled() -> PooledFeatures:
    """`pooled_features`, compiled anew for every shape, mode and kind of network."""
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, MOST_VARIANTS)
    compiled: PooledFeatures = torch.compile(pooled_features, dynamic=False)
    return compiled


@contextmanager
def compile_networks(networks: Iterable[TrainedNetwork]) -> Iterator[None]:
    """Compile the forward passes of `networks` for as long as the context lasts."""
    from torch._inductor import config

    # no more than the run's own threads; with a single one compilation stays in this process
    config.compile_threads = torch.get_num_threads()
    networks = list(networks)
    for network in networks:
        network.pooled = compile_pooled()
    try:
        yield
    finally:
        for network in networks:
            network.pooled = pooled_features
