"""CIFAR in small, as a plugin: the data sets of the package with few images made on the spot, and files beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

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


class SmallHundred(Cifar100):
    """200 and 100 images."""

    name = "small100"
    aliases = ()

    def content_hash(self) -> str:
        return ("1" if self._is_coarse else "2") * 64

    def _part(self, train: bool) -> Part:
        pixels, labels = make_images(100, 200 if train else 100)
        return Part(pixels, self.task_labels(labels))
