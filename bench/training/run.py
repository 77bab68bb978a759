"""One spec, start to record: the story of a run, read top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from bench.records.schema import SCHEMA
from bench.records.store import Store
from bench.registry import load_plugins
from bench.spec import RunSpec, Runtime
from bench.training import checkpoint, provenance
from bench.training.curves import CurveRecorder, compute_cost
from bench.training.distributed import current_process_group
from bench.training.noisy_data import NoisyData, build_noisy_data, build_trainer
from bench.training.outcome import PauseReached, ReportProgress
from bench.training.precision import limit_gpu_memory, prepare_process
from bench.training.trainer import Trainer, never_stop


def run_spec(
    spec: RunSpec, runtime: Runtime, store: Store, report: ReportProgress, should_stop: Callable[[], bool] = never_stop
) -> None:
    """Carry out `spec` and write its record to `store`; `report(done, total)` is called after every epoch.

    Where several processes have met, all call this at once with one spec, and the first of them writes. Raises
    Diverged; Interrupted once `should_stop()` is true, and Pause where `runtime.pause_at` is reached: a checkpoint then
    lets the next call continue.
    """
    prepare_process(runtime.threads)
    load_plugins(runtime.plugins)
    device = torch.device(runtime.device)
    if runtime.gpu_bytes is not None:
        limit_gpu_memory(device, runtime.gpu_bytes)
    clock = provenance.RunClock(device)
    problem = build_noisy_data(spec, runtime)
    with closing(problem.images):
        train_and_record(problem, spec, runtime, store, report, should_stop, clock)


def train_and_record(
    problem: NoisyData,
    spec: RunSpec,
    runtime: Runtime,
    store: Store,
    report: ReportProgress,
    should_stop: Callable[[], bool],
    clock: provenance.RunClock,
) -> None:
    """Train on a problem that has been posed, from its checkpoint if there is one, and write the record."""
    ranks = current_process_group()
    trainer = build_trainer(problem, spec, clock.device, should_stop, ranks, runtime.steps)
    observer = CurveRecorder(problem, trainer)
    path = store.checkpoint_path(spec.run_id)
    resume_run(path, trainer, observer, clock)
    report(trainer.epochs_done, trainer.total_epochs)
    pause_if_due(spec, runtime, store, trainer, observer)
    saved = time.monotonic()
    for done in trainer.epochs():
        observer.epoch_done(done)
        report(done.number, trainer.total_epochs)
        due = is_pause_due(runtime, trainer)
        if ranks.leads and not done.last and (due or time.monotonic() - saved >= runtime.checkpoint_seconds):
            save_run(path, trainer, observer, clock)
            saved = time.monotonic()
        pause_if_due(spec, runtime, store, trainer, observer)
    cache = None if runtime.cache is None else Path(runtime.cache)
    record = {
        "schema": SCHEMA,
        "run_id": spec.run_id,
        "spec": spec.model_dump(mode="json"),
        "curves": observer.curves,
        "measures": {**observer.measures(), **compute_cost(trainer, cache)},
        "provenance": provenance.collect_provenance(clock, trainer, observer.seconds, runtime),
    }
    if ranks.leads:
        store.write_record(record)
        store.discard_checkpoint(spec.run_id)


def is_pause_due(runtime: Runtime, trainer: Trainer) -> bool:
    """Whether an unfinished run has come as far as its runtime lets it."""
    if runtime.pause_at is None or trainer.epochs_done >= trainer.total_epochs:
        return False
    return trainer.epochs_done >= math.ceil(runtime.pause_at * trainer.total_epochs)


def pause_if_due(spec: RunSpec, runtime: Runtime, store: Store, trainer: Trainer, observer: CurveRecorder) -> None:
    """Where the run may go no further: write its curves, which are read without torch, and raise Pause."""
    if not is_pause_due(runtime, trainer):
        return
    if trainer.ranks.leads:
        store.write_partial(spec, observer.curves, trainer.total_epochs)
    raise PauseReached(trainer.epochs_done)


def save_run(path: Path, trainer: Trainer, observer: CurveRecorder, clock: provenance.RunClock) -> None:
    """Write a checkpoint: the training, the curves so far, and the time spent."""
    checkpoint.save_checkpoint(
        path,
        {
            "trainer": trainer.state(),
            "curves": observer.curves,
            "seconds": observer.seconds,
            "clock": clock.state(),
            "threads": torch.get_num_threads(),
        },
    )


def resume_run(path: Path, trainer: Trainer, observer: CurveRecorder, clock: provenance.RunClock) -> None:
    """Continue from a checkpoint if there is one, with its number of threads: sums depend on it in the last bit."""
    ranks = trainer.ranks
    saved = ranks.told(checkpoint.load_checkpoint(path) if ranks.leads else None)
    if saved is None:
        return
    torch.set_num_threads(saved["threads"])
    trainer.load_state(saved["trainer"])
    observer.curves = saved["curves"]
    observer.seconds = saved["seconds"]
    clock.load_state(saved["clock"])
