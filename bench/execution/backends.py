"""Where runs are carried out: this machine, torchrun's processes, or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from bench import registry
from bench.execution import torchrun
from bench.execution.executor import Executor, SharedExecutor
from bench.memory import job_limits
from bench.planning.facts import Facts
from bench.planning.request import Request
from bench.spec import RunSpec, Runtime
from bench.system import hardware, processes
from bench.system.cache import cache_folder
from bench.system.console import print_note

if TYPE_CHECKING:
    from bench.execution.ray.cluster import RayCluster
    from bench.records.store import Store


def _cluster_to_join(request: Request) -> RayCluster | None:
    """A connection to the cluster that the request names, since what its nodes are is one of the plan's facts.

    None where there is none: a cluster of this machine alone is started when there is something to run.
    """
    if request.executor == "local":
        return None
    from bench.execution.ray import cluster as nodes
    from bench.execution.ray import connect

    connect.check_installed()
    return (
        None if connect.starts_own_cluster(request.ray_address) else nodes.connect_cluster(request, registry.plugins())
    )


def _job_limits(
    request: Request, facts: Facts, here: processes.TorchrunWorld, left: Sequence[RunSpec], runs: int
) -> job_limits.JobLimits:
    """How many runs at a time, and what each may take. A cluster's nodes and torchrun's processes see to themselves."""
    if here.size > 1 or request.executor != "local":
        at_once = here.local_size if here.size > 1 else request.jobs
        return job_limits.JobLimits(*hardware.share_cores(facts.cores, runs, facts.device, at_once))
    return job_limits.limit_jobs(
        left, facts, runs, request.jobs, print_note, at_most=None if request.budget else len(left)
    )


def _choose_executor(
    request: Request,
    facts: Facts,
    here: processes.TorchrunWorld,
    cluster: RayCluster | None,
    runs: int,
    store: Store,
    held: ExitStack,
) -> tuple[Facts, Callable[[], Executor] | None]:
    """What carries runs out (None: workers of this machine), and the facts with the device that is this process's.

    What is opened is closed when `held` ends; a cluster of Ray's is joined once there is something to run.
    """
    if here.size > 1:
        facts = replace(facts, device=torchrun.join_process_group(here, facts.device))
        leader = torchrun.TorchrunExecutor(store.root, store.lease)
        held.callback(leader.close)
        return facts, partial(SharedExecutor, leader)
    if request.executor == "ray":
        on_ray = cache(partial(_ray_executor, cluster, request, facts, runs, store, held))
        return facts, lambda: SharedExecutor(on_ray())
    return facts, None


def _ray_executor(
    joined: RayCluster | None, request: Request, facts: Facts, runs: int, store: Store, held: ExitStack
) -> Executor:
    """Workers on the cluster that was joined, or on one of this machine alone; both are left when `held` ends."""
    from bench.execution.ray import cluster as nodes
    from bench.execution.ray import ray_executor

    cluster = joined or nodes.connect_cluster(request, registry.plugins())
    held.callback(cluster.close)
    noises = ((noise.typed, noise.sha256) for noise in facts.noises)
    cluster.admit_for(request, facts.data_sha256, noises, stream=facts.images == "disk")
    made = ray_executor.RayExecutor(cluster, store, cluster.share(runs)[1])
    held.callback(made.close)
    return made


def note_image_placement(request: Request, facts: Facts) -> None:
    """Say where images are kept and why, where nobody asked for it and it isn't the device."""
    if request.images == "auto" and facts.images != "device":
        where = {"host": "in memory", "disk": "on disk"}[facts.images]
        print_note(f"note: images stay {where} and go to the device a batch at a time: {facts.images_why}")


def make_runtimes(request: Request, facts: Facts, made: job_limits.JobLimits) -> Callable[[RunSpec], Runtime]:
    """How each run is carried out: all alike, but for the noise's own path."""
    typed = {(noise.name, noise.sha256): noise.typed for noise in facts.noises}
    common = {
        "data_source": request.dataset,
        "labels_source": request.labels,
        "data_root": request.data_root,
        "download": request.download,
        "cache": str(cache_folder()),
        "device": facts.device,
        "threads": made.threads,
        "steps": request.steps,
        "images": facts.images,
        "card_bytes": made.card_bytes,
        "plugins": registry.plugins(),
    }
    by_noise = {key: Runtime(noise_source=text, **common) for key, text in typed.items()}
    return lambda spec: by_noise[spec.noise, spec.noise_sha256]
