"""CIFAR in small, as a plugin: the data sets of the package with few images made on the spot, and files beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from datasets.audited import _read
from datasets.cifar10 import Cifar10
from datasets.cifar100 import Cifar100
from datasets.interface import Part


def make_images(classes: int, count: int) -> tuple[Any, Any]:
    pixels = np.random.Generator(np.random.PCG64(count)).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return pixels, np.arange(count, dtype=np.int64) % classes


class SmallTen(Cifar10):
    """60 and 20 images."""

    name = "small10"
    aliases = ()

    def content_hash(self) -> str:
        return "0" * 64

    def _part(self, train: bool) -> Part:
        return Part(*make_images(10, 60 if train else 20))


class OfficialTests(SmallTen):
    """10,000 test images whose labels are those that people voted on, as far as they did."""

    name = "official-tests"
    aliases = ()

    def content_hash(self) -> str:
        return "3" * 64

    def _part(self, train: bool) -> Part:
        if train:
            return super()._part(train)
        index, given, _ = _read("cifar10")
        labels = np.arange(10000, dtype=np.int64) % 10
        labels[index] = given
        return Part(np.zeros((10000, 32, 32, 3), np.uint8), labels)


class SmallHundred(Cifar100):
    """200 and 100 images."""

    name = "small100"
    aliases = ()

    def content_hash(self) -> str:
        return ("1" if self._is_coarse else "2") * 64

    def _part(self, train: bool) -> Part:
        pixels, labels = make_images(100, 200 if train else 100)
        return Part(pixels, self.task_labels(labels))
