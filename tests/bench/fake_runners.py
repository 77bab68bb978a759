"""Runners without training, for workers in tests. Loaded by its path; see `Runner` in bench/job.py."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.records.store import Store
from bench.spec import RunSpec, Runtime
from bench.system.files import write_atomically
from bench.training.outcome import Diverged, Interrupted, OutOfMemory, PauseReached, ReportProgress


def spec_for(seed: int = 0, method: str = "ce", epochs: int = 2, **parameters: Any) -> RunSpec:
    """A spec that tells `pretend` by its parameters what to do."""
    return RunSpec(
        method=method,
        parameters=parameters,
        data_set="digits",
        data_sha256="0" * 64,
        noise="sym",
        rate=0.4,
        noise_seed=seed,
        split_seed=seed,
        seed=seed,
        model="mlp",
        epochs=epochs,
        batch_size=32,
        learning_rate=0.1,
    )


def runtime_for(**values: Any) -> Runtime:
    """A runtime for one CPU thread."""
    return Runtime(data_source="digits", noise_source="sym", **values)


def held_accuracy(spec: RunSpec, epoch: int) -> float:
    """What `pretend` comes to: best at q = 0.3, a little less at other splits, rising with the epochs."""
    off = abs(float(spec.parameters.get("q", 0.7)) - 0.3)
    return (0.9 - off / 2 - spec.split_seed % 7 / 1000) * epoch / spec.epochs


def record_of(spec: RunSpec, provenance: dict[str, Any] | None = None) -> dict[str, Any]:
    """A small whole record; all but its provenance depends on the spec alone."""
    epochs = list(range(1, spec.epochs + 1))
    return {
        "schema": 1,
        "run_id": spec.run_id,
        "spec": spec.model_dump(mode="json"),
        "curves": {
            "epoch": epochs,
            "test_accuracy": [spec.seed + 1 / epoch for epoch in epochs],
            "noisy_holdout_accuracy": [held_accuracy(spec, epoch) for epoch in epochs],
            "clean_holdout_accuracy": [held_accuracy(spec, epoch) / 2 for epoch in epochs],
        },
        "measures": {"test_accuracy": 0.5, "selector": {"source": "loss", "auroc": 0.75}, "assumes": []},
        "provenance": provenance or {},
    }


def pretend(
    spec: RunSpec, runtime: Runtime, store: Store, report: ReportProgress, should_stop: Callable[[], bool]
) -> None:
    """Note the start, do as the spec's parameters say, and write a record."""
    do = spec.parameters.get("do", "finish")
    with (store.root / "starts.log").open("a") as log:
        log.write(f"{spec.run_id} {os.getpid()} {os.environ['OMP_NUM_THREADS']}\n")
    first = not store.checkpoint_path(spec.run_id).exists()
    write_atomically(store.checkpoint_path(spec.run_id), b"{}")
    if do == "fail" or float(spec.parameters.get("q", 0)) > float(spec.parameters.get("fail_above", 1)):
        raise ValueError("as told")
    if do == "diverge":
        raise Diverged(2, "the loss is nan")
    if do == "batch":
        raise OutOfMemory("a batch of 64 doesn't fit")
    if do == "exhaust":
        raise RuntimeError("can't allocate memory")
    if do == "fill":
        raise OSError(28, "No space left on device")
    if do == "die" or (do == "die once" and first):
        sys.stderr.write("last words\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "forget":
        return
    for epoch in range(spec.epochs):
        until = time.monotonic() + float(spec.parameters.get("seconds", 0.0))
        while time.monotonic() < until:
            if should_stop() and do != "ignore":
                raise Interrupted
            time.sleep(0.005)
        report(epoch + 1, spec.epochs)
        if runtime.pause_at is not None and epoch + 1 == math.ceil(runtime.pause_at * spec.epochs) < spec.epochs:
            curves = {name: curve[: epoch + 1] for name, curve in record_of(spec)["curves"].items()}
            store.write_partial(spec, curves, spec.epochs)
            raise PauseReached(epoch + 1)
    store.write_record(record_of(spec, {"process": os.getpid()}))
    store.discard_checkpoint(spec.run_id)
