"""The check of a node before it takes runs: same code, same plugins, same data, and the driver's output folder.

`check_node` runs on the node, in a Ray task.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.planning.request import Request
from bench.records.store import Store
from bench.system import code_version, hardware
from bench.system.errors import UsageError
from bench.system.files import file_hash

if TYPE_CHECKING:
    from bench.planning.frozen_features import PlannedFeatures


@dataclass(frozen=True)
class DataCheck:
    """The data of a request with the hashes that the driver found: of the images, and of each noise's own file.

    `stream`: runs read images from their files. `token`: a file that the driver left in its output folder. `features`
    are those that runs train on, which the node makes unless it shares the driver's cache.
    """

    request: Request
    sha256: str
    noises: tuple[tuple[str, str | None], ...]
    stream: bool
    token: str | None
    weights_sha256: str | None = None
    features: PlannedFeatures | None = None


@dataclass(frozen=True)
class NodeRequirements:
    """The driver's code and folder, which a node must have too. `cuda`: runs need a GPU; `steps` as in `--steps`."""

    folder: str
    versions: dict[str, str]
    sources: str
    plugins: tuple[tuple[str, str], ...]
    cuda: bool
    steps: str = "auto"
    data: DataCheck | None = None


@dataclass(frozen=True)
class NodeAnswer:
    """A node's name, why it can't take runs (empty: it can), and its hardware.

    `free` is bytes of (memory, a GPU's memory).
    """

    host: str
    problems: tuple[str, ...]
    fast_bf16: bool
    free: tuple[float, float]


def make_requirements(plugins: Sequence[str], cuda: bool, steps: str) -> NodeRequirements:
    """The requirements of this process's code, without data."""
    hashed = tuple((path, file_hash(path) or "") for path in plugins)
    versions, sources = code_version.package_versions(), code_version.source_hash()
    return NodeRequirements(str(Path.cwd()), versions, sources, hashed, cuda, steps)


def check_node(requirements: NodeRequirements) -> NodeAnswer:
    """The answer of this node. Imports torch only where runs need a GPU."""
    enter_folder(requirements.folder)
    problems = list(_code_problems(requirements))
    if not problems and requirements.data is not None:
        problems = list(_data_problems(requirements, requirements.data))
    device = "cuda" if requirements.cuda else "cpu"
    return NodeAnswer(platform.node(), tuple(problems), hardware.has_fast_bf16(device), hardware.free_bytes(device))


def enter_folder(folder: str) -> None:
    """Change to the folder in which the command was typed: relative paths of data start there."""
    with suppress(OSError):
        os.chdir(folder)


def _code_problems(requirements: NodeRequirements) -> Iterator[str]:
    versions = code_version.package_versions()
    for name, driver_version in requirements.versions.items():
        # Builds of one release for GPU and CPU differ only behind the plus sign.
        version, wanted = versions.get(name, "none").partition("+")[0], driver_version.partition("+")[0]
        if version != wanted:
            yield f"{name} is {version} there and {wanted} here"
    if code_version.source_hash() != requirements.sources:
        yield f"the code of lnl-bench in {code_version.HOME} differs from this one"
    try:
        hardware.check_step_mode(requirements.steps, "cuda" if requirements.cuda else "cpu")
    except UsageError as error:
        yield str(error)
    for path, sha256 in requirements.plugins:
        if file_hash(path) != sha256:
            yield f"--plugin {path} {'differs' if Path(path).is_file() else 'is missing'} there"


def _data_problems(requirements: NodeRequirements, data: DataCheck) -> Iterator[str]:
    from bench.planning import data_facts, gather_facts, starting_weights
    from datasets.interface import DataError

    if data.token is not None and not _shares_folder(Path(data.token)):
        yield (
            f"it doesn't share the output folder {Path(data.token).parent}, in which every node claims its runs and "
            "writes their records. Type an --out that all nodes see and may write, or run --shard 1/2 and 2/2 on "
            "separate machines and join their records by `merge`"
        )
        return
    try:
        registry.load_plugins(path for path, _ in requirements.plugins)
        data_set = data_facts.open_requested_data(data.request)
        if data_set.content_hash() != data.sha256:
            yield f"the data of --dataset {data.request.dataset} differ there"
            return
        weights = starting_weights.find_weights(data.request)
        if (None if weights is None else weights.sha256) != data.weights_sha256:
            yield "the file of --weights differs there"
            return
        features = None if data.features is None or weights is None else replace(data.features, weights=weights)
        gather_facts.prepare_data(data.request, data.stream, features, "auto")
        options = replace(data_facts.data_options(data.request), stream=data.stream)
        for noise, driver_sha256 in data.noises:
            labels = data.request.labels
            if labels is not None:
                sha256 = file_hash(labels)
            else:
                opened = registry.open_noise(noise)
                facts = registry.facts_for(opened, data_set.describe(), data.request.dataset, options)
                sha256 = registry.noise_hash(opened, facts, options)
            if sha256 != driver_sha256:
                yield f"the file of {noise} differs there"
    except (DataError, UsageError, OSError) as error:
        yield " ".join(str(error).split())


def _shares_folder(token: Path) -> bool:
    """Whether this node sees the driver's token, and may write beside it."""
    if not token.is_file():
        return False
    try:
        Store(token.parent).prepare()
    except UsageError:
        return False
    return True
