"""What happens on a node of a cluster: it is asked whether it may take runs, and carries them out.

A worker is a Ray actor that holds a local executor of one process, so a run is carried out on a node as it is on any
machine: claimed, reported, and survived if its process dies. This module is imported on the nodes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import machine, registry, versions
from bench.errors import UsageError
from bench.executors.local import LocalExecutor
from bench.job import Event, Failed, Finished, Job, Paused
from bench.request import Request
from bench.store import Store


@dataclass(frozen=True)
class Data:
    """The data of a request, and the hashes that the driver found: of the images, and of each noise's own file.

    `stream`: runs read images from their files.
    """

    request: Request
    sha256: str
    noises: tuple[tuple[str, str | None], ...]
    stream: bool = False


@dataclass(frozen=True)
class Asked:
    """What the driver has, and a node must have too. `cuda`: whether runs are for a card; `steps` as `--steps` says."""

    folder: str
    versions: dict[str, str]
    sources: str
    plugins: tuple[tuple[str, str], ...]
    cuda: bool
    steps: str = "auto"
    data: Data | None = None


@dataclass(frozen=True)
class Answer:
    """What a node says: its name, why it can't take runs (nothing: it can), and what it has.

    That is whether it computes fast in bf16, and the free bytes of its memory and of a card's.
    """

    host: str
    problems: tuple[str, ...]
    fast_bf16: bool
    free: tuple[float, float]


def file_hash(path: str) -> str | None:
    """SHA-256 of a file's bytes, None where it can't be read."""
    with suppress(OSError):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return None


def ask_for(plugins: Sequence[str], cuda: bool, steps: str) -> Asked:
    """The question as the driver puts it, without data."""
    hashed = tuple((path, file_hash(path) or "") for path in plugins)
    return Asked(str(Path.cwd()), versions.versions(), versions.sources(), hashed, cuda, steps)


def look(asked: Asked) -> Answer:
    """Answer on this node. Imports torch for a card only."""
    _go_to(asked.folder)
    problems = list(_other_code(asked))
    if not problems and asked.data is not None:
        problems = list(_other_data(asked, asked.data))
    device = "cuda" if asked.cuda else "cpu"
    return Answer(platform.node(), tuple(problems), machine.fast_bf16(device), machine.free_bytes(device))


def _other_code(asked: Asked) -> Iterator[str]:
    here = versions.versions()
    for name, there in asked.versions.items():
        # builds of one release for cards and for processors differ behind the plus sign only
        own, wanted = here.get(name, "none").partition("+")[0], there.partition("+")[0]
        if own != wanted:
            yield f"{name} is {own} there and {wanted} here"
    if versions.sources() != asked.sources:
        yield f"the code of lnl-bench in {versions.HOME} differs from this one"
    try:
        machine.check_steps(asked.steps, "cuda" if asked.cuda else "cpu")
    except UsageError as error:
        yield str(error)
    for path, sha256 in asked.plugins:
        if file_hash(path) != sha256:
            yield f"--plugin {path} {'differs' if Path(path).is_file() else 'is missing'} there"


def _other_data(asked: Asked, data: Data) -> Iterator[str]:
    from bench import look_up
    from datasets.interface import DataError

    try:
        registry.load_plugins(path for path, _ in asked.plugins)
        if look_up.open_data(data.request).content_hash() != data.sha256:
            yield f"the data of --dataset {data.request.dataset} differ there"
            return
        options = replace(look_up.options(data.request), stream=data.stream)
        registry.open_data_set(data.request.dataset, options).prepare()
        for text, sha256 in data.noises:
            if data.request.labels is not None:
                own = file_hash(data.request.labels)
            else:
                own = registry.open_noise(text).file_hash()
            if own != sha256:
                yield f"the file of {text} differs there"
    except (DataError, UsageError, OSError) as error:
        yield " ".join(str(error).split())


def _go_to(folder: str) -> None:
    """Relative paths of data are meant from where the command was typed."""
    with suppress(OSError):
        os.chdir(folder)


@dataclass(frozen=True)
class Order:
    """What a worker is made with. `token`: a file that the driver left in `root`; who sees it shares the folder."""

    root: str
    token: str
    folder: str
    driver: str
    runner: str
    lease: float
    threads: int
    poll_seconds: float


@dataclass(frozen=True)
class Hello:
    """A worker is there: the node's id and name, and whether it writes its records to the driver's folder itself."""

    node: str
    host: str
    shared: bool


@dataclass(frozen=True)
class Heard:
    """An event, and where the driver's folder isn't shared what goes with it: record, failure, or curves so far."""

    event: Event
    record: bytes | None = None
    failure: dict[str, Any] | None = None
    partial: dict[str, Any] | None = None


Said = tuple[str, Any]
"""What the driver tells a worker: ("run", Job), ("stop", None), or ("got", run id): the record has arrived."""


class Node:
    """A worker on a node. Made and called by Ray, one call at a time."""

    def __init__(self, order: Order) -> None:
        import ray

        _go_to(order.folder)
        self.seconds, self.threads = order.poll_seconds, order.threads
        self.node = str(ray.get_runtime_context().get_node_id())
        self.shared = _shares(Path(order.root), order.token)
        # Apart for each driver's folder and each state of the code, so that no checkpoint of other code goes on.
        apart = hashlib.sha256(f"{order.driver} {order.root} {versions.sources()}".encode()).hexdigest()[:16]
        root = Path(order.root) if self.shared else registry.cache_folder() / "away" / apart
        self.store = Store(root, lease=order.lease)
        self.store.prepare()
        self.executor = LocalExecutor(root, 1, order.threads, order.runner, order.lease)

    def hello(self) -> Hello:
        """Say where this is."""
        return Hello(self.node, platform.node(), self.shared)

    def exchange(self, said: Sequence[Said]) -> list[Heard]:
        """Do as told, and say what has happened; waits a little for the first event."""
        for what, about in said:
            if what == "run":
                self.executor.submit(self._here(about))
            elif what == "stop":
                self.executor.stop()
            elif what == "got":
                shutil.rmtree(self.store.folder(about), ignore_errors=True)
        return [self._with_result(event) for event in self.executor.poll(self.seconds)]

    def _here(self, job: Job) -> Job:
        """The job with the threads that a run has here, and this node's cache where the driver's is missing."""
        update: dict[str, Any] = {"threads": self.threads}
        cache = job.runtime.cache
        if cache is None or not os.access(cache, os.W_OK):
            update["cache"] = str(registry.cache_folder())
        return replace(job, runtime=job.runtime.model_copy(update=update))

    def _with_result(self, event: Event) -> Heard:
        if self.shared:
            return Heard(event)
        if isinstance(event, Finished):
            return Heard(event, record=self.store.record_path(event.run_id).read_bytes())
        if isinstance(event, Failed):
            return Heard(event, failure=self.store.read_failure(event.run_id))
        if isinstance(event, Paused):
            return Heard(event, partial=self.store.read_partial(event.run_id))
        return Heard(event)


def _shares(root: Path, token: str) -> bool:
    """Whether this node sees the driver's folder, and may write there."""
    if not (root / token).is_file():
        return False
    try:
        Store(root).prepare()
    except UsageError:
        return False
    return True
