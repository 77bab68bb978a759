"""What holds for every data set of the package: a new file in `datasets/` must be added to `openers` to pass."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import datasets
from datasets.interface import DataError, DataSet, Options

FOLDER = Path(str(datasets.__file__)).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
Openers = dict[str, Callable[[], DataSet]]


def declared() -> dict[str, type[DataSet]]:
    """Every data set class that a file of the package defines, by name."""
    found = {}
    for module in (importlib.import_module(f"datasets.{name}") for name in MODULES):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, DataSet) and "name" in vars(value):
                found[value.name] = value
    return found


NAMES = sorted(declared())
IN_FULL = ("digits", "synthetic", "features", "folder", "table")
WITHOUT_FILES = ("digits", "synthetic")
"""What nobody has to lay out."""
VECTORS = frozenset({"features"})
TASKS = [*NAMES, "cifar100[coarse]"]
"""The data sets, and the further tasks that their parameters make of them."""


def test_every_data_set_is_covered(openers: Openers) -> None:
    assert sorted(openers) == sorted(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_parts_are_what_the_interface_says(name: str, openers: Openers) -> None:
    data = openers[name]().load(0)
    assert (data.verified is not None) == bool(openers[name]().truth)
    classes = len(data.description.classes)
    for part in (data.train, data.test):
        if data.description.vectors is None:
            assert part.images[np.arange(1)].dtype == part.images.dtype == np.uint8 and len(part.images.shape) == 4
        else:
            assert part.images[np.arange(1)].dtype == part.images.dtype in (np.float16, np.float32)
            assert len(part.images.shape) == 3
        assert part.images.shape[0] == len(part.labels) == len(part) > 0
        assert part.labels.dtype == np.int64
        assert part.labels.min() >= 0 and part.labels.max() < classes
        if part.masks is not None:
            assert part.masks.dtype == np.bool_ and part.masks.shape == part.images.shape[:3]
    assert len(data.mean) == len(data.std) == data.train.images.shape[-1]
    assert all(0 < value <= 1 for value in data.std) or data.description.vectors is not None
    assert all(0 < value < 1 for value in data.mean) or data.description.vectors is not None
    assert min(data.std) > 0
    assert set(np.unique(data.train.labels)) == set(range(classes))
    for values in data.columns.values():
        assert values.shape == data.train.labels.shape and values.dtype == np.int64
        assert values.min() >= 0 and values.max() < classes


@pytest.mark.parametrize("name", TASKS)
def test_description_tells_what_loading_gives(name: str, openers: Openers) -> None:
    described, data = openers[name]().describe(), openers[name]().load(0)
    assert described == data.description
    if described.vectors is None:
        assert data.train.images.shape[1:] == data.test.images.shape[1:] == described.image_shape
    else:
        assert data.train.images.shape[1:] == (described.vectors.views, described.vectors.length)
        assert data.test.images.shape[1:] == (1, described.vectors.length) and described.image_shape is None
    assert tuple(data.columns) == described.columns
    if name in IN_FULL:  # of the others, a small part stands for the whole
        assert (len(data.train), len(data.test)) == (described.train_size, described.test_size)
    assert len(set(described.classes)) == len(described.classes) >= 2
    assert described.mean is None or described.mean == data.mean


@pytest.mark.parametrize("name", TASKS)
def test_same_seed_same_data_and_hash(name: str, openers: Openers) -> None:
    first, second = openers[name](), openers[name]()
    one, other = first.load(3), second.load(3)
    for part in ("train", "test"):
        assert np.array_equal(getattr(one, part).images, getattr(other, part).images)
        assert np.array_equal(getattr(one, part).labels, getattr(other, part).labels)
    assert first.content_hash() == second.content_hash()
    assert len(first.content_hash()) == 64 and int(first.content_hash(), 16) >= 0


@pytest.mark.parametrize("name", TASKS)
def test_split_seed_matters_only_without_an_official_split(name: str, openers: Openers) -> None:
    data_set = openers[name]()
    one, other = data_set.load(0), data_set.load(1)
    assert np.array_equal(one.test.images, other.test.images) != one.description.seeded_split
    if one.description.seeded_split:
        assert np.array_equal(np.bincount(one.test.labels), np.bincount(other.test.labels))
        together = [
            np.sort(
                np.concatenate([part.images[np.arange(len(part))][:, :1] for part in (each.train, each.test)]), None
            )
            if each.description.vectors is not None
            else np.sort(np.concatenate([each.train.images, each.test.images]).ravel())
            for each in (one, other)
        ]
        assert np.array_equal(*together)


@pytest.mark.parametrize("name", TASKS)
def test_image_size(name: str, openers: Openers) -> None:
    data_set = openers[name]()
    plain = openers[name]().content_hash()
    data_set.options = replace(data_set.options, image_size=10)
    if name in VECTORS:
        with pytest.raises(DataError, match="--image-size is for images"):
            data_set.load(0)
        return
    data = data_set.load(0)
    assert data.train.images.shape[1:3] == (10, 10)
    assert data.description.image_shape == data.train.images.shape[1:]
    assert data_set.content_hash() == plain
    assert data.train.masks is None or data.train.masks.shape == data.train.images.shape[:3]


@pytest.mark.parametrize("name", TASKS)
def test_declarations_are_whole(name: str, openers: Openers) -> None:
    cls, described = declared()[name.partition("[")[0]], openers[name]().describe()
    assert cls.name and cls.summary and cls.source and cls.__doc__
    protocol = described.protocol
    assert protocol.recipes_from in ("mnist", "cifar10", "cifar100") and protocol.source
    assert protocol.epochs > 0 and protocol.batch_size > 0 and protocol.learning_rate > 0
    assert described.licence
    assert cls.access and (cls.homepage or cls.argument or cls.source == "ours")
    assert cls.layout == cls.layout.expandtabs() and (cls.layout.strip() or name in WITHOUT_FILES)
    assert described.citation or cls.argument
    if described.pairs is not None:
        left = [i for i, _ in described.pairs.flips]
        assert len(set(left)) == len(left) and described.pairs.source
        classes = len(described.classes)
        assert all(i != j and 0 <= i < classes and 0 <= j < classes for i, j in described.pairs.flips)


@pytest.mark.parametrize("name", sorted(name for name, cls in declared().items() if cls.argument is None))
def test_declared_without_data(name: str, tmp_path: Path) -> None:
    described = declared()[name](Options(root=tmp_path)).describe()
    assert described.train_size and described.test_size and described.image_shape


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_checked(name: str, openers: Openers) -> None:
    data_set, told = openers[name](), list[tuple[str, int, int]]()
    data_set.options = replace(data_set.options, progress=lambda *report: told.append(report))
    found = data_set.check()
    # a small part stands for the whole: its counts and checksums are others
    expected = ("where there should be", "checksum is another one")
    assert [problem for problem in found.problems if not any(words in problem for words in expected)] == []
    assert found.facts["classes"] == str(len(data_set.describe().classes))
    assert told and all(done <= total for _, done, total in told) and told[-1][1] == told[-1][2]


def test_modules_import_only_numpy() -> None:
    heavy = ("torch", "torchvision", "sklearn", "PIL", "pooch", "pandas", "scipy", "platformdirs")
    program = (
        f"import importlib, sys; [importlib.import_module('datasets.' + name) for name in {MODULES!r}];"
        f"sys.exit(', '.join(name for name in {heavy!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=FOLDER.parent
    )
    assert done.returncode == 0, done.stderr
