"""The backends by name, and the opening of the one that a request names.

To add an executor: a module with a subclass of `bench.execution.executor.Backend`, and an entry in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from bench.execution.executor import Backend
from bench.execution.local import LocalBackend
from bench.execution.ray.ray_backend import RayBackend
from bench.execution.torchrun import TorchrunBackend
from bench.planning.request import Request
from bench.system.errors import UsageError
from bench.system.processes import torchrun_world

BACKENDS: dict[str, type[Backend]] = {"local": LocalBackend, "torchrun": TorchrunBackend, "ray": RayBackend}
"""Every name but torchrun may be typed as `--executor NAME`; torchrun's processes say themselves that they are."""


@contextmanager
def open_backend(request: Request) -> Iterator[Backend]:
    """The backend of a request, closed at the end of the block. Connects to nothing yet.

    Raises UsageError where no executor has the name, or torchrun started a process that another executor should use.
    """
    name = request.executor
    choices = [repr(choice) for choice in BACKENDS if choice != "torchrun"]
    if repr(name) not in choices:
        raise UsageError(f"--executor {name}: must be {', '.join(choices[:-1])} or {choices[-1]}")
    if torchrun_world().size > 1:
        if name != "local":
            raise UsageError(
                f"--executor {name}: not under torchrun, whose processes train one run together. Leave one out"
            )
        name = "torchrun"
    with closing(BACKENDS[name](request)) as backend:
        yield backend
