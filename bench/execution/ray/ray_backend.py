"""The Ray backend: connects to a cluster, has its nodes checked, and makes the executor on them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress

from bench import registry
from bench.execution.backends import Backend
from bench.execution.executor import Executor, SharedExecutor
from bench.execution.ray.cluster import RayCluster, connect_cluster
from bench.execution.ray.connect import check_installed, starts_own_cluster
from bench.execution.ray.node_check import DataCheck
from bench.execution.ray.ray_executor import RayExecutor
from bench.memory.job_limits import JobLimits
from bench.planning.facts import Facts
from bench.planning.request import Request
from bench.records.store import Store
from bench.spec import RunSpec
from bench.system.hardware import Hardware, share_cores


class RayBackend(Backend):
    """A Ray cluster that the request names, or one of this machine alone."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self._cluster: RayCluster | None = None
        self._executor: RayExecutor | None = None
        self._token: DriverToken | None = None

    def find_hardware(self) -> Hardware | None:
        """The hardware that all nodes have at least; None for a cluster of this machine alone, which isn't started yet.

        Raises UsageError where Ray isn't installed, or the cluster can't be reached or can't take the runs.
        """
        check_installed()
        if starts_own_cluster(self.request.ray_address):
            return None
        self._cluster = connect_cluster(self.request, registry.plugins())
        return self._cluster.hardware

    def limit_jobs(self, specs: Sequence[RunSpec], facts: Facts, runs: int, at_most: int | None = None) -> JobLimits:
        """As many runs as the nodes have room for; memory is not estimated, since Ray places the runs."""
        if self._cluster is None:
            return JobLimits(*share_cores(facts.cores, runs, facts.device, self.request.jobs))
        return JobLimits(*self._cluster.share(runs))

    def count_jobs(self) -> int:
        """Runs that the admitted nodes have room for; starts the cluster of this machine alone."""
        return self._open_executor().cluster.share(self.runs)[0]

    def make_executor(self, runs: int) -> Executor:
        """The one executor, for one study after another."""
        return SharedExecutor(self._open_executor())

    def close(self) -> None:
        """End the workers, leave the cluster, and end it if it is this machine's alone."""
        if self._executor is not None:
            self._executor.close()
        if self._token is not None:
            self._token.remove()
        if self._cluster is not None:
            self._cluster.close()

    def _open_executor(self) -> RayExecutor:
        if self._executor is None:
            facts, request = self.facts, self.request
            if self._cluster is None:
                self._cluster = connect_cluster(request, registry.plugins())
            if not self._cluster.ours:
                self._token = DriverToken(self.store)
            token = None if self._token is None else str(self._token.path)
            noises = [(noise.typed, noise.sha256) for noise in facts.noises]
            if facts.matrix_sha256 is not None:
                noises.append((f"matrix:{request.transition_matrix}", facts.matrix_sha256))
            # Before the first run: a node that fetches or decodes data then does it once, not in each of its workers.
            weights = None if facts.weights is None else facts.weights.sha256
            about = (request, facts.data_sha256, tuple(noises), facts.stream, token)
            self._cluster.admit_for(DataCheck(*about, weights, facts.features))
            self._executor = RayExecutor(self._cluster, self.store, self._cluster.share(self.runs)[1])
        return self._executor


class DriverToken:
    """A file in the output folder, by which nodes recognise that they see the same folder as the driver.

    Raises UsageError where the folder can't be written.
    """

    def __init__(self, store: Store) -> None:
        root = store.root.resolve()
        self._new_folders = [folder for folder in (root, *root.parents) if not folder.exists()]
        store.prepare()
        self.path = root / f".driver-{secrets.token_hex(8)}.tmp"
        self.path.touch()

    def remove(self) -> None:
        """Remove the file, and the folders made for it if they are empty: a refused request leaves nothing written."""
        with suppress(OSError):
            self.path.unlink()
            for folder in self._new_folders:
                folder.rmdir()
