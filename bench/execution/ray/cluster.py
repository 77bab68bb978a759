"""The cluster as the driver sees it: its nodes, which of them are admitted to take runs, and how many runs fit.

Read `connect_cluster` first, then `RayCluster.admit`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from typing import Any

from bench.execution.ray.capacity import NodeCapacity, count_places, fit_jobs, gpu_share, most_jobs_on_one
from bench.execution.ray.connect import connect_to_ray, import_ray, starts_own_cluster
from bench.execution.ray.node_check import DataCheck, NodeAnswer, NodeRequirements, check_node, make_requirements
from bench.planning.request import Request
from bench.system import hardware
from bench.system.errors import UsageError, list_offenders
from bench.system.hardware import Hardware

SECONDS_TO_CHECK_CODE = 120.0
"""How long nodes may take to answer which code they have."""
SECONDS_TO_CHECK_DATA = 1800.0
"""How long nodes may take to find, fetch where that is allowed, and hash the data."""
GPU_SHARE_OF_A_CHECK = 0.001
"""The share of a GPU that a node's check takes."""


class RayCluster:
    """A connection to Ray. `ours`: a cluster of this machine alone that ends with the connection.

    `gpu_share` is the share of a GPU that each run gets, 0 on the CPU; `most` is `--jobs`. `admitted` are the ids of
    the nodes that were checked and have what runs need; `refused` says of each other node why not.
    """

    def __init__(self, ours: bool, requirements: NodeRequirements, gpu_share: float, most: int | None) -> None:
        self.ray: Any = import_ray()
        self.ours, self.requirements, self.gpu_share, self.most = ours, requirements, gpu_share, most
        self.admitted: set[str] = set()
        self.refused: dict[str, str] = {}
        self.hardware: Hardware | None = None
        self._quiet = ExitStack()

    def nodes(self) -> dict[str, NodeCapacity]:
        """Living nodes that offer what a run needs, by id."""
        nodes = living_nodes(self.ray)
        return {node_id: node for node_id, node in nodes.items() if count_places([node], 1, self.gpu_share)}

    def capacities(self) -> list[NodeCapacity]:
        """The capacities of the admitted nodes that live."""
        return [node for node_id, node in self.nodes().items() if node_id in self.admitted]

    def share(self, runs: int) -> tuple[int, int]:
        """(runs at a time, threads of each)."""
        return fit_jobs(self.capacities(), runs, self.most, self.gpu_share)

    def room_for(self, threads: int) -> int:
        """How many runs of so many threads may be under way now."""
        places = count_places(self.capacities(), threads, self.gpu_share)
        return places if self.most is None else min(places, self.most)

    def start_check(self, node: str) -> Any:
        """Have a node checked; returns Ray's reference to its `NodeAnswer`. Takes no core from runs."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        gpu = GPU_SHARE_OF_A_CHECK if self.requirements.cuda else 0
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        check = self.ray.remote(num_cpus=0, num_gpus=gpu, max_retries=0, scheduling_strategy=strategy)(check_node)
        return check.remote(self.requirements)

    def finish_check(self, node: str, host: str, reference: Any) -> NodeAnswer | None:
        """Admit or refuse a node by the answer that has arrived; None where it couldn't give any."""
        try:
            answer: NodeAnswer = self.ray.get(reference)
        except Exception as error:
            self._refuse(node, f"{host}: it can't answer: {last_error_line(error)}")
            return None
        if answer.problems:
            self._refuse(node, f"{host}: {'; '.join(answer.problems)}")
        else:
            self.admitted.add(node)
        return answer

    def admit(self, seconds: float = SECONDS_TO_CHECK_CODE) -> None:
        """Check every node. Raises UsageError where one lacks what it needs, or doesn't answer within the time."""
        if self.ours:
            self.admitted = set(self.nodes())
            return
        self.admitted.clear()
        nodes = self.nodes()
        waiting = {self.start_check(node): node for node in nodes}
        deadline = time.monotonic() + seconds
        answers = []
        while waiting and (left := deadline - time.monotonic()) > 0:
            ready, _ = self.ray.wait(list(waiting), num_returns=1, timeout=left)
            for reference in ready:
                node = waiting.pop(reference)
                answers.append(self.finish_check(node, nodes[node].host, reference))
        for reference, node in waiting.items():
            self.ray.cancel(reference, force=True)
            self._refuse(node, f"{nodes[node].host}: no answer for {seconds:.0f} s")
        if self.refused:
            raise UsageError(
                "--executor ray: nodes of the cluster lack what the runs need:\n"
                f"{list_offenders(list(self.refused.values()))}\n"
                "Every node needs the same lnl-bench, plugins and data at the same paths; see docs/clusters.md"
            )
        admitted = [answer for answer in answers if answer is not None]
        self.hardware = Hardware(
            device="cuda" if self.requirements.cuda else "cpu",
            fast_bf16=all(answer.fast_bf16 for answer in admitted),
            cores=hardware.count_cores(),
            free=(min(answer.free[0] for answer in admitted), min(answer.free[1] for answer in admitted)),
            copies=most_jobs_on_one(self.capacities(), self.gpu_share, self.most),
        )

    def admit_for(self, data: DataCheck) -> None:
        """Check every node for the data as well, now and when it joins, and let it make the data ready for runs."""
        self.requirements = replace(self.requirements, data=data)
        self.admit(SECONDS_TO_CHECK_DATA)

    def close(self) -> None:
        """Leave the cluster, and end it if it is ours. Safe to call twice."""
        self.ray.shutdown()
        self._quiet.close()

    def hush(self) -> None:
        """Discard what is written to standard output until `close`.

        Ray reports there when a node dies, whatever its log settings are, and standard output is for boards alone.
        """
        self._quiet.enter_context(redirect_stdout(None))

    def _refuse(self, node: str, why: str) -> None:
        self.admitted.discard(node)
        self.refused[node] = why


def connect_cluster(request: Request, plugins: Iterable[str]) -> RayCluster:
    """The cluster of a request, its nodes' code checked. Raises UsageError where it can't take the runs."""
    if request.device.startswith("cuda:"):
        raise UsageError(f"--device {request.device}: on a cluster Ray chooses the GPU. Type --device cuda")
    if request.gpus_per_run is not None and request.device == "cpu":
        raise UsageError("--gpus-per-run is for runs on a GPU: leave it or --device cpu out")
    ours = starts_own_cluster(request.ray_address)
    # Of this machine, only the GPUs that its torch can use; Ray counts all that it sees.
    gpus = len(hardware.list_gpus()) if ours and hardware.resolve_device(request.device).startswith("cuda") else 0
    if ours and gpus == 0 and request.gpus_per_run is not None:
        raise UsageError("--gpus-per-run: this machine has no CUDA device. Leave it out")
    connect_to_ray(request.ray_address, gpus)
    cluster: RayCluster | None = None
    try:
        capacities = list(living_nodes(import_ray()).values())
        cuda = _uses_gpus(request, capacities)
        share = (request.gpus_per_run or gpu_share(request.jobs, capacities)) if cuda else 0.0
        cluster = RayCluster(ours, make_requirements(list(plugins), cuda, request.steps), share, request.jobs)
        # Other clusters' nodes are checked for a compiler one by one; graphs need a GPU only.
        if ours or request.steps == "graph":
            hardware.check_step_mode(request.steps, "cuda" if cuda else "cpu")
        if not cluster.nodes():
            raise UsageError("--executor ray: no node of the cluster offers a processor core. See: ray status")
        cluster.hush()
        cluster.admit()
    except BaseException:
        import_ray().shutdown() if cluster is None else cluster.close()
        raise
    return cluster


def last_error_line(error: BaseException) -> str:
    """The line of one of Ray's errors that says why: tracebacks and ids come before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


def _uses_gpus(request: Request, capacities: list[NodeCapacity]) -> bool:
    """Whether runs go to GPUs. Raises UsageError where the request names GPUs and no node has one."""
    if request.device == "cpu":
        return False
    has_gpu = any(node.gpus >= 1 for node in capacities)
    if has_gpu or (request.device == "auto" and request.gpus_per_run is None):
        return has_gpu
    option = "--gpus-per-run" if request.gpus_per_run is not None else f"--device {request.device}"
    raise UsageError(f"{option}: no node of the cluster has a GPU. Leave it out, or type --device cpu")


def living_nodes(ray: Any) -> dict[str, NodeCapacity]:
    """The nodes of the cluster that live, by id."""
    nodes = {}
    for node in ray.nodes():
        if node["Alive"]:
            cores, gpus = (float(node["Resources"].get(kind, 0.0)) for kind in ("CPU", "GPU"))
            nodes[str(node["NodeID"])] = NodeCapacity(cores, gpus, str(node["NodeManagerHostname"]))
    return nodes
