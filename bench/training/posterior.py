"""A network's class probabilities of every training image, averaged over the epochs of one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch

from bench.registry import load_plugins
from bench.spec import RunSpec, Runtime
from bench.training.content_check import check_plugins
from bench.training.inference import EvaluationSet, log_probabilities
from bench.training.noisy_data import build_noisy_data, build_trainer
from bench.training.precision import prepare_process
from datasets.noise.posterior import Posterior
from datasets.splits import split_name


def train_posterior(spec: RunSpec, runtime: Runtime, report: Callable[[int, int], None]) -> Posterior:
    """Train `spec`, which holds nothing out, and average its predictions: a row for each image of the training set.

    After each epoch the network infers every training image, unaugmented; probabilities and log-probabilities (float64)
    are averaged apart. `report(done, total)` is called after every epoch. Raises Diverged.
    """
    prepare_process(runtime.threads)
    check_plugins(runtime)
    load_plugins(runtime.plugins)
    device = torch.device(runtime.device)
    noisy_data = build_noisy_data(spec, runtime)
    with closing(noisy_data.images):
        trainer = build_trainer(noisy_data, spec, device, steps=runtime.steps)
        images = EvaluationSet(trainer.part.images, trainer.group, trainer.task.chunk_size)
        shape = (len(images), len(noisy_data.data.description.classes))
        sums = np.zeros((2, *shape))
        for epoch in trainer.epochs():
            logarithms = log_probabilities(trainer.method, trainer.networks, images).astype(np.float64)
            sums += np.exp(logarithms), logarithms
            report(epoch.number, trainer.total_epochs)
    sums /= trainer.total_epochs
    data = noisy_data.data
    rows = np.empty_like(sums)
    rows[:, noisy_data.drawn[noisy_data.train]] = sums
    return Posterior(
        rows[0] / rows[0].sum(axis=1, keepdims=True),
        np.minimum(rows[1], 0.0),
        data_set=spec.data_set,
        data_sha256=spec.data_sha256,
        split=split_name(data.description.seeded_split, spec.split_seed),
        about={"averaged_over_epochs": trainer.total_epochs, "spec": json.loads(spec.canonical())},
    )
