"""What happens on a node of a cluster: it is asked whether it may take runs, and carries them out.

A worker is a Ray actor that holds a local executor of one process, so a run is carried out on a node as it is on any
machine: claimed, reported, and survived if its process dies. This module is imported on the nodes.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench import registry
from bench.planning.request import Request
from bench.system import code_version, hardware
from bench.system.errors import UsageError


@dataclass(frozen=True)
class DataCheck:
    """The data of a request, and the hashes that the driver found: of the images, and of each noise's own file.

    `stream`: runs read images from their files.
    """

    request: Request
    sha256: str
    noises: tuple[tuple[str, str | None], ...]
    stream: bool = False


@dataclass(frozen=True)
class NodeRequirements:
    """What the driver has, and a node must have too. `cuda`: whether runs are for a card; `steps` as `--steps` says."""

    folder: str
    versions: dict[str, str]
    sources: str
    plugins: tuple[tuple[str, str], ...]
    cuda: bool
    steps: str = "auto"
    data: DataCheck | None = None


@dataclass(frozen=True)
class NodeAnswer:
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


def make_requirements(plugins: Sequence[str], cuda: bool, steps: str) -> NodeRequirements:
    """The question as the driver puts it, without data."""
    hashed = tuple((path, file_hash(path) or "") for path in plugins)
    return NodeRequirements(
        str(Path.cwd()), code_version.package_versions(), code_version.source_hash(), hashed, cuda, steps
    )


def check_node(asked: NodeRequirements) -> NodeAnswer:
    """Answer on this node. Imports torch for a card only."""
    _go_to(asked.folder)
    problems = list(_other_code(asked))
    if not problems and asked.data is not None:
        problems = list(_other_data(asked, asked.data))
    device = "cuda" if asked.cuda else "cpu"
    return NodeAnswer(platform.node(), tuple(problems), hardware.has_fast_bf16(device), hardware.free_bytes(device))


def _other_code(asked: NodeRequirements) -> Iterator[str]:
    here = code_version.package_versions()
    for name, there in asked.versions.items():
        # builds of one release for cards and for processors differ behind the plus sign only
        own, wanted = here.get(name, "none").partition("+")[0], there.partition("+")[0]
        if own != wanted:
            yield f"{name} is {own} there and {wanted} here"
    if code_version.source_hash() != asked.sources:
        yield f"the code of lnl-bench in {code_version.HOME} differs from this one"
    try:
        hardware.check_step_mode(asked.steps, "cuda" if asked.cuda else "cpu")
    except UsageError as error:
        yield str(error)
    for path, sha256 in asked.plugins:
        if file_hash(path) != sha256:
            yield f"--plugin {path} {'differs' if Path(path).is_file() else 'is missing'} there"


def _other_data(asked: NodeRequirements, data: DataCheck) -> Iterator[str]:
    from bench.planning import data_facts
    from datasets.interface import DataError

    try:
        registry.load_plugins(path for path, _ in asked.plugins)
        if data_facts.open_requested_data(data.request).content_hash() != data.sha256:
            yield f"the data of --dataset {data.request.dataset} differ there"
            return
        options = replace(data_facts.data_options(data.request), stream=data.stream)
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
