"""The cluster as the driver sees it: its nodes, which of them may take runs, and how many."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

from bench.execution.ray.capacity import NodeCapacity, count_places, fit_jobs, gpu_share, most_jobs_on_one
from bench.execution.ray.connect import connect_to_ray, import_ray, starts_own_cluster
from bench.execution.ray.node_check import DataCheck, NodeAnswer, NodeRequirements, check_node, make_requirements
from bench.planning.request import Request
from bench.system import hardware
from bench.system.errors import UsageError, list_offenders
from bench.system.hardware import Hardware

SECONDS_TO_ASK = 120.0
"""How long nodes may take to say what code they have."""
SECONDS_TO_READ = 1800.0
"""How long nodes may take to find, fetch where that is allowed, and hash the data."""
PART_OF_CARD = 0.001
"""What looking at a card takes of it."""


@dataclass(frozen=True)
class LivingNode:
    """A living node."""

    host: str
    room: NodeCapacity


class RayCluster:
    """A connection to Ray. `ours`: a cluster of this machine alone that ends with the connection.

    While it lasts, standard output is closed to whoever writes: Ray tells of nodes that die there, whatever it was told
    about logs, and a board belongs there alone.

    `cards` is the share of a card that each run gets, 0 on processors. `admitted` are the ids of the nodes that were
    asked and have what runs need; `refused` says why not for the others.
    """

    def __init__(self, ours: bool, asked: NodeRequirements, cards: float, most: int | None) -> None:
        self.ray: Any = import_ray()
        self.ours = ours
        self.asked = asked
        self.cards = cards
        self.most = most
        self.admitted: set[str] = set()
        self.refused: dict[str, str] = {}
        self._quiet = ExitStack()
        self.hardware: Hardware | None = None

    def nodes(self) -> dict[str, LivingNode]:
        """Living nodes that offer what a run needs, by id."""
        found = {}
        for node in self.ray.nodes():
            room = _room(node)
            if node["Alive"] and count_places([room], 1, self.cards):
                found[str(node["NodeID"])] = LivingNode(str(node["NodeManagerHostname"]), room)
        return found

    def rooms(self) -> list[NodeCapacity]:
        """What the admitted nodes that live offer."""
        return [here.room for node, here in self.nodes().items() if node in self.admitted]

    def share(self, runs: int) -> tuple[int, int]:
        """(runs at a time, threads of each)."""
        return fit_jobs(self.rooms(), runs, self.most, self.cards)

    def room_for(self, threads: int) -> int:
        """How many runs of so many threads may be under way now."""
        room = count_places(self.rooms(), threads, self.cards)
        return room if self.most is None else min(room, self.most)

    def ask(self, node: str) -> Any:
        """Put the question to a node; returns Ray's reference to its `NodeAnswer`. Takes no core from runs."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return (
            self.ray.remote(check_node)
            .options(
                num_cpus=0,
                num_gpus=PART_OF_CARD if self.asked.cuda else 0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self.asked)
        )

    def judge(self, node: str, host: str, reference: Any) -> NodeAnswer | None:
        """Admit or refuse a node by the answer that has come; None where it couldn't give any."""
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

    def admit(self, seconds: float = SECONDS_TO_ASK) -> None:
        """Ask every node. Raises UsageError where one lacks what it needs, or says nothing for so long."""
        if self.ours:
            self.admitted = set(self.nodes())
            return
        self.admitted.clear()
        nodes = self.nodes()
        waiting = {self.ask(node): node for node in nodes}
        deadline = time.monotonic() + seconds
        answers = []
        while waiting and (left := deadline - time.monotonic()) > 0:
            ready, _ = self.ray.wait(list(waiting), num_returns=1, timeout=left)
            for reference in ready:
                node = waiting.pop(reference)
                answers.append(self.judge(node, nodes[node].host, reference))
        for reference, node in waiting.items():
            self.ray.cancel(reference, force=True)
            self._refuse(node, f"{nodes[node].host}: no answer for {seconds:.0f} s")
        if self.refused:
            raise UsageError(
                "--executor ray: nodes of the cluster lack what the runs need:\n"
                f"{list_offenders(list(self.refused.values()))}\n"
                "Every node needs the same lnl-bench, plugins and data at the same paths; see docs/clusters.md"
            )
        given = [answer for answer in answers if answer is not None]
        self.hardware = Hardware(
            device="cuda" if self.asked.cuda else "cpu",
            fast_bf16=all(answer.fast_bf16 for answer in given),
            cores=hardware.count_cores(),
            free=(min(answer.free[0] for answer in given), min(answer.free[1] for answer in given)),
            copies=most_jobs_on_one(self.rooms(), self.cards, self.most),
        )

    def admit_for(
        self, request: Request, sha256: str, noises: Iterable[tuple[str, str | None]], stream: bool = False
    ) -> None:
        """Ask every node for the data as well, now and when it joins, and let it make them ready."""
        self.asked = replace(self.asked, data=DataCheck(request, sha256, tuple(noises), stream))
        self.admit(SECONDS_TO_READ)

    def close(self) -> None:
        """Leave the cluster, and end it if it is ours. Safe to call twice."""
        self.ray.shutdown()
        self._quiet.close()

    def hush(self) -> None:
        """Keep standard output for results, until `close`."""
        self._quiet.enter_context(redirect_stdout(None))

    def _refuse(self, node: str, why: str) -> None:
        self.admitted.discard(node)
        self.refused[node] = why


def connect_cluster(request: Request, plugins: Iterable[str]) -> RayCluster:
    """The cluster of a request, its nodes asked for their code. Raises UsageError where it can't take the runs."""
    if request.device.startswith("cuda:"):
        raise UsageError(f"--device {request.device}: on a cluster Ray chooses the card. Type --device cuda")
    if request.gpus_per_run is not None and request.device == "cpu":
        raise UsageError("--gpus-per-run is for runs on a card: leave it or --device cpu out")
    own = starts_own_cluster(request.ray_address)
    # Of this machine, only the cards that its torch can use; Ray counts all that it sees.
    cards = len(hardware.list_gpus()) if own and hardware.resolve_device(request.device).startswith("cuda") else 0
    if own and cards == 0 and request.gpus_per_run is not None:
        raise UsageError("--gpus-per-run: this machine has no CUDA device. Leave it out")
    connect_to_ray(request.ray_address, cards)
    cluster: RayCluster | None = None
    try:
        rooms = [_room(node) for node in import_ray().nodes() if node["Alive"]]
        cuda = _on_cards(request, rooms)
        share = (request.gpus_per_run or gpu_share(request.jobs, rooms)) if cuda else 0.0
        cluster = RayCluster(own, make_requirements(list(plugins), cuda, request.steps), share, request.jobs)
        if own or request.steps == "graph":  # what compiling needs, each node is asked for
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


def _on_cards(request: Request, rooms: list[NodeCapacity]) -> bool:
    """Whether runs go to cards; raises UsageError where they were asked for and there is none."""
    if request.device == "cpu":
        return False
    here = any(room.cards >= 1 for room in rooms)
    if here or (request.device == "auto" and request.gpus_per_run is None):
        return here
    what = "--gpus-per-run" if request.gpus_per_run is not None else f"--device {request.device}"
    raise UsageError(f"{what}: no node of the cluster has a card. Leave it out, or type --device cpu")


def _room(node: Mapping[str, Any]) -> NodeCapacity:
    offers = node["Resources"]
    return NodeCapacity(float(offers.get("CPU", 0.0)), float(offers.get("GPU", 0.0)))
