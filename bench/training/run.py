"""One run: a spec in, a record out.

Read `run_spec` top to bottom: it draws the data and its noise, trains epoch by epoch, measures, and writes the record.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.records.schema import SCHEMA
from bench.records.store import Store
from bench.registry import load_plugins
from bench.registry.method_code import FileHashes, method_code
from bench.spec import RunSpec, Runtime
from bench.training.checkpoint import Checkpoint, Part, UnusableCheckpoint
from bench.training.content_check import check_plugins
from bench.training.curves import CurveRecorder, compute_cost
from bench.training.distributed import current_process_group
from bench.training.noisy_data import build_noisy_data, build_trainer
from bench.training.outcome import PauseReached, ReportProgress
from bench.training.precision import limit_gpu_memory, prepare_process
from bench.training.pretrained import describe_features, open_starting_weights
from bench.training.provenance import RunClock, collect_provenance
from bench.training.trainer import Trainer, never_stop

if TYPE_CHECKING:
    from datasets.interface import Data


def run_spec(
    spec: RunSpec, runtime: Runtime, store: Store, report: ReportProgress, should_stop: Callable[[], bool] = never_stop
) -> None:
    """Train `spec` and write its record to `store`; `report(done, total)` is called after every epoch.

    In a process group all processes call this at once with one spec, and the main one writes. Raises Diverged;
    Interrupted once `should_stop()` is true, and PauseReached at `runtime.pause_at`: a checkpoint then lets the next
    call continue.
    """
    prepare_process(runtime.threads)
    check_plugins(runtime)
    load_plugins(runtime.plugins)
    device = torch.device(runtime.device)
    if runtime.gpu_bytes is not None:
        limit_gpu_memory(device, runtime.gpu_bytes)
    clock, group = RunClock(device), current_process_group()
    weights, noisy_data = open_starting_weights(spec, runtime), build_noisy_data(spec, runtime)
    with closing(noisy_data.images):

        def begin() -> tuple[Trainer, CurveRecorder, dict[str, Part]]:
            trainer = build_trainer(noisy_data, spec, device, should_stop, group, runtime.steps, weights)
            curves = CurveRecorder(noisy_data, trainer)
            return trainer, curves, {"trainer": trainer, "curves": curves, "seconds": curves.stopwatch, "clock": clock}

        trainer, curves, parts = begin()
        code = method_code(spec.method)
        checkpoint = Checkpoint(store.checkpoint_path(spec.run_id), group, code)
        try:
            checkpoint.load(parts)
        except UnusableCheckpoint:
            del trainer, curves, parts
            clock = RunClock(device)
            trainer, curves, parts = begin()
        report(trainer.epochs_done, trainer.total_epochs)
        stop_at_pause(spec, runtime, store, trainer, curves)
        for epoch in trainer.epochs():
            curves.record_epoch(epoch)
            report(epoch.number, trainer.total_epochs)
            is_due = checkpoint.age >= runtime.checkpoint_seconds or is_pause_due(runtime, trainer)
            if is_due and not epoch.last:
                checkpoint.save(parts)
            stop_at_pause(spec, runtime, store, trainer, curves)
        record = build_record(spec, runtime, trainer, curves, clock, code, noisy_data.data)
    if group.is_main:
        # the record first: a kill between the two costs no result, and the store removes the checkpoint later
        store.write_record(record)
        store.discard_checkpoint(spec.run_id)


def build_record(
    spec: RunSpec,
    runtime: Runtime,
    trainer: Trainer,
    curves: CurveRecorder,
    clock: RunClock,
    code: FileHashes,
    data: Data,
) -> dict[str, Any]:
    """The record of a finished run. All processes of a group call it, since measuring takes all of them."""
    cache = None if runtime.cache is None else Path(runtime.cache)
    return {
        "schema": SCHEMA,
        "run_id": spec.run_id,
        "spec": spec.model_dump(mode="json"),
        "curves": curves.curves,
        "measures": {**curves.measures(), **describe_features(spec, data), **compute_cost(trainer, cache)},
        "provenance": collect_provenance(clock, trainer, curves.stopwatch.seconds, runtime, code, data.report),
    }


def is_pause_due(runtime: Runtime, trainer: Trainer) -> bool:
    """Whether an unfinished run has reached the share of its epochs at which its runtime pauses it."""
    if runtime.pause_at is None or trainer.epochs_done >= trainer.total_epochs:
        return False
    return trainer.epochs_done >= math.ceil(runtime.pause_at * trainer.total_epochs)


def stop_at_pause(spec: RunSpec, runtime: Runtime, store: Store, trainer: Trainer, curves: CurveRecorder) -> None:
    """If a pause is due, write the curves, which a study reads without torch, and raise PauseReached."""
    if not is_pause_due(runtime, trainer):
        return
    if trainer.group.is_main:
        store.write_partial(spec, curves.curves, trainer.total_epochs)
    raise PauseReached(trainer.epochs_done)
