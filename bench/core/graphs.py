"""CUDA graphs: a step's kernels recorded once, and launched again all together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


class GraphRecorder:
    """Records work as CUDA graphs that share one pool of memory, on a stream of their own.

    Only the latest recording may be played: the next one takes over its memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._latest: torch.cuda.CUDAGraph | None = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """On the stream that is recorded later: what work makes there (workspaces, gradients' places) belongs to it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Carry out `work` once; returns a call that carries it out again, on the same tensors.

        Raises RuntimeError with the way out where the work can't be recorded.
        """
        # what the device has in hand is training, and isn't counted as recording
        torch.cuda.synchronize(self._device)
        began = time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        # a pool lives as long as a graph that uses it: the latest one is let go after the next has been made
        pool = None if self._latest is None else self._latest.pool()
        try:
            # other threads may allocate and copy meanwhile, as those that bring images do
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
