"""Objects in scenes: items of Fashion-MNIST pasted on photographs of CIFAR-10, with or without a cue in the scene."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import flsc_setup as setup
import numpy as np
from numpy.typing import NDArray

from bench.registry import open_data_set
from bench.spec import RunSpec
from bench.training.noisy_data import NoisyData
from datasets.arrays import channel_statistics, resized
from datasets.interface import Data, Options, Part
from datasets.randomness import order, uniforms

SIDE, ITEM = 32, 20
CUE_SHARE = 0.8
"""Share of the training images whose photograph is of the class that their GIVEN label names by its number."""


@functools.lru_cache(maxsize=1)
def photographs(table: str) -> Data:
    """The photographs of a table, 32 x 32 in colour, in ten classes."""
    return open_data_set(f"table:{Path(table)}", Options()).load(0)


def pasted(items: setup.Images, scenes: setup.Images, seed: int, part: str) -> setup.Images:
    """Items (N, h, w, 1) at 20 x 20, at a random place of scenes (N, 32, 32, 3); dark pixels let the scene through."""
    small = resized(items, ITEM).astype(np.float64)
    found = scenes.astype(np.float64)
    rows, columns = (
        (uniforms(seed, f"flsc/paste/{part}/{axis}", len(items)) * (SIDE - ITEM + 1)).astype(np.int64)
        for axis in ("row", "column")
    )
    image = np.arange(len(items))[:, None, None]
    down, across = rows[:, None, None] + np.arange(ITEM)[:, None], columns[:, None, None] + np.arange(ITEM)
    hidden = np.minimum(small / 64, 1)
    found[image, down, across] = hidden * small + (1 - hidden) * found[image, down, across]
    composed: setup.Images = np.floor(found + 0.5).clip(0, 255).astype(np.uint8)
    return composed


def chosen_scenes(wanted: NDArray[np.int64], labels: NDArray[np.int64], seed: int, part: str) -> NDArray[np.int64]:
    """For each image a photograph of the class that is wanted, none twice while there are enough of it."""
    sources = np.empty(len(wanted), dtype=np.int64)
    for label in np.unique(wanted):
        members, places = np.flatnonzero(labels == label), np.flatnonzero(wanted == label)
        shuffled = members[order(seed, f"flsc/scene/{part}/{label}", len(members))]
        sources[places] = np.resize(shuffled, len(places))
    return sources


def compose(table: str, cued: bool, test_size: int, spec: RunSpec, problem: NoisyData) -> NoisyData:
    """The same labels and split with composed images: the drawn training images, and the first test images.

    Cued: the photograph's class follows the GIVEN label for a share of the training images; elsewhere, and in the test
    part, it is drawn at random.
    """
    assert problem.clean_labels is not None
    photos, seed = photographs(table), spec.seed
    classes = len(problem.data.description.classes)
    train_items = problem.data.train.images[problem.drawn]
    scenes = (uniforms(seed, "flsc/scene/train", len(train_items)) * classes).astype(np.int64)
    if cued:
        told = uniforms(seed, "flsc/scene/told", len(scenes)) < CUE_SHARE
        scenes = np.where(told, problem.noisy.labels, scenes)
    sources = chosen_scenes(scenes, photos.train.labels, seed, "train")
    train = pasted(train_items, photos.train.images[sources], seed, "train")
    count = min(test_size, len(problem.data.test))
    elsewhere = (uniforms(seed, "flsc/scene/test", count) * classes).astype(np.int64)
    behind = photos.test.images[chosen_scenes(elsewhere, photos.test.labels, seed, "test")]
    test = pasted(problem.data.test.images[np.arange(count)], behind, seed, "test")
    mean, std = channel_statistics(train)
    data = replace(
        problem.data,
        description=replace(problem.data.description, image_shape=(SIDE, SIDE, 3)),
        train=Part(train, problem.clean_labels),
        test=Part(test, problem.data.test.labels[:count]),
        mean=mean,
        std=std,
        columns={},
    )
    return replace(problem, drawn=np.arange(len(train))).on(data)
