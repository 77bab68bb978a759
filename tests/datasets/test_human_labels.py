"""CIFAR-10N and CIFAR-100N: files in the official layout, and everything that isn't one."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.cifar10 import Cifar10
from datasets.cifar100 import SUPERCLASS_OF, SUPERCLASSES, Cifar100
from datasets.human_labels import read_human_labels
from datasets.interface import DataError, Options
from datasets.noise import NoiseFacts, corrupt
from datasets.noise.column import Column
from datasets.noise.human import HumanCoarse, HumanNoisy, HumanWorse
from tests.datasets.official_files import (
    OLD_NUMPY,
    human_labels,
    human_labels_of_100,
    label_pickle,
    write_human_labels,
    write_torch_archive,
)


def root_of(options: Options) -> Path:
    assert options.root is not None
    return options.root


@pytest.mark.parametrize("names_of_old", [True, False])
def test_arrays_and_lists_come_back(names_of_old: bool, tmp_path: Path) -> None:
    labels = human_labels_of_100(300)
    content = label_pickle(labels)
    assert OLD_NUMPY[1] in content
    path = write_torch_archive(tmp_path / "a.pt", content if names_of_old else content.replace(*OLD_NUMPY[::-1]))
    read = read_human_labels(path)
    assert list(read) == list(labels)
    for key, values in labels.items():
        assert read[key].dtype == np.int64 and read[key].tolist() == list(values)


def test_what_torch_itself_saves(tmp_path: Path) -> None:
    import torch

    torch.save(human_labels(70), tmp_path / "a.pt")
    assert read_human_labels(tmp_path / "a.pt")["worse_label"].tolist() == human_labels(70)["worse_label"].tolist()
    torch.save({"clean_label": torch.zeros(3, dtype=torch.int64)}, tmp_path / "tensors.pt")
    with pytest.raises(DataError, match=r"asks for torch\._utils\._rebuild_tensor_v2"):
        read_human_labels(tmp_path / "tensors.pt")


class Harmful:
    """Unpickled by pickle itself, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    written = tmp_path / "written"
    content = pickle.dumps({"clean_label": Harmful(written)}, protocol=2)
    pickle.loads(content)
    assert written.exists()
    written.unlink()
    with pytest.raises(DataError, match=r"asks for \S+, which no list of labels needs"):
        read_human_labels(write_torch_archive(tmp_path / "a.pt", content))
    assert not written.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"asks for os\.system"),
        (b"cnumpy\nload\n(S'x'\ntR.", r"asks for numpy\.load"),
        (b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", "type O8"),
        (b"c_codecs\nencode\n(VAAAA\nVzlib\ntR.", "aren't written as pickle writes them"),
        (b"cnumpy\ndtype\n(N}S'_call'\nI1\nstb.", "would change what a name stands for"),
        (label_pickle({"a": np.zeros((3, 2), np.int64)}), "isn't a list of int64"),
        (label_pickle({"a": np.zeros(3, np.float64)}), "type f8"),
        (label_pickle({"a": [1, 2.5]}), "its a is no list of whole numbers"),
        (label_pickle({"a": [True]}), "its a is no list of whole numbers"),
        (label_pickle([1, 2]), "doesn't hold label lists by name"),
        (label_pickle({"a": [1], "b": [1, 2]}), "aren't of one length: a 1, b 2"),
        (b"\x80\x02", "no label file"),
    ],
)
def test_other_pickles_are_refused_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read_human_labels(write_torch_archive(tmp_path / "a.pt", content))
    assert "a.pt" in str(caught.value) and "github.com/UCSC-REAL" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is empty \(0 bytes\)\. Fetch it again"),
        (b"\x93NUMPY\x01\x00", "order of TensorFlow Datasets"),
        (b"<!DOCTYPE html>", "no label file of CIFAR-10N"),
        (b"version https://git-lfs.github.com/spec/v1", "no label file of CIFAR-10N"),
    ],
)
def test_other_files_are_refused_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_human_labels(tmp_path / "a.pt")


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_is_a_data_error_or_labels(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(label_pickle(human_labels(4)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write_torch_archive(tmp_path_factory.mktemp("damaged") / "a.pt", bytes(content))
    try:
        read = read_human_labels(path)
    except DataError:
        return
    assert all(values.dtype == np.int64 and values.shape == (4,) for values in read.values())


FOLDERS = [".", "data", "cifar-10-100n/data", "cifar10"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_columns_of_cifar10(folder: str, cifar10_files: Path, options: Options) -> None:
    path = write_human_labels(root_of(options) / folder / "CIFAR-10_human.pt", human_labels(50))
    data = Cifar10(options).load(0)
    assert tuple(data.columns) == data.description.columns
    assert data.description.columns == tuple(
        f"human-{kind}" for kind in ("aggre", "worse", "random1", "random2", "random3")
    )
    assert {Path(file) for _, file in data.description.column_files} == {path}
    assert data.columns["human-worse"].tolist() == human_labels(50)["worse_label"].tolist()
    noisy = corrupt(HumanWorse(), data.train.labels, NoiseFacts.of(data.description), None, 0, columns=data.columns)
    assert noisy.realised_rate == 0.5


def test_content_hash_knows_nothing_of_the_file_but_the_noise_does(cifar10_files: Path, options: Options) -> None:
    before = Cifar10(options).content_hash()
    path = write_human_labels(root_of(options) / "CIFAR-10_human.pt", human_labels(50))
    after = Cifar10(options)
    assert after.content_hash() == before
    facts = NoiseFacts.of(after.describe())
    import hashlib

    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert HumanWorse().source_hash(facts) == Column("human-worse").source_hash(facts) == sha256
    assert Column("other").source_hash(facts) is None


def test_coarse_is_a_task_of_its_own(cifar100_files: Path, options: Options) -> None:
    write_human_labels(root_of(options) / "CIFAR-100_human.pt", human_labels_of_100(200))
    fine, coarse = Cifar100(options), Cifar100(options, None, {"coarse": True})
    assert (fine.recorded_call(), coarse.recorded_call()) == ("cifar100", "cifar100[coarse]")
    assert fine.content_hash() != coarse.content_hash()
    assert coarse.describe().classes == tuple(SUPERCLASSES) and coarse.describe().superclasses is None
    data = coarse.load(0)
    assert data.train.labels.tolist() == [SUPERCLASS_OF[label] for label in fine.load(0).train.labels]
    assert list(data.columns) == ["human-coarse"] and list(fine.load(0).columns) == ["human-noisy"]
    noisy = corrupt(HumanCoarse(), data.train.labels, NoiseFacts.of(data.description), None, 0, columns=data.columns)
    assert 0 < (noisy.realised_rate or 0) < 0.4  # some wrong fine labels keep the superclass
    with pytest.raises(DataError, match=r"labels the 100 fine classes: --dataset cifar100"):
        HumanNoisy().matrix(NoiseFacts.of(data.description), None)
    with pytest.raises(DataError, match=r"--dataset cifar100\[coarse\]"):
        HumanCoarse().matrix(NoiseFacts.of(fine.describe()), None)


def broken_superclasses(labels: dict[str, Any]) -> dict[str, Any]:
    """As the first published file had them: 12 of 20."""
    return labels | {"noisy_coarse_label": [each % 12 for each in labels["noisy_coarse_label"]]}


def test_twelve_superclasses_are_refused(cifar100_files: Path, options: Options) -> None:
    labels = broken_superclasses(human_labels_of_100(200))
    write_human_labels(root_of(options) / "CIFAR-100_human.pt", labels)
    coarse = Cifar100(options, None, {"coarse": True})
    assert dict(coarse.describe().unused_columns)["human-coarse"].count("12 different classes, and there are 20") == 1
    assert Cifar100(options).load(0).columns["human-noisy"].tolist() == labels["noisy_label"].tolist()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda labels: {key: values[::-1].copy() for key, values in labels.items()}, "in another order: for 50 of 50"),
        (lambda labels: {key: values[:49] for key, values in labels.items()}, "49 labels, and cifar10 has 50"),
    ],
)
def test_labels_of_other_images_are_refused_when_they_are_read(
    change: Callable[[dict[str, Any]], dict[str, Any]], reason: str, cifar10_files: Path, options: Options
) -> None:
    write_human_labels(root_of(options) / "CIFAR-10_human.pt", change(human_labels(50)))
    data = Cifar10(options).load(0)  # who trains on other noise isn't hindered
    with pytest.raises(DataError, match=reason):
        data.columns["human-worse"]


def test_what_is_missing_says_where_it_was_looked_for_and_where_it_is_to_be_had(options: Options) -> None:
    (reason,) = {reason for _, reason in Cifar10(options).describe().unused_columns}
    assert str(options.root) in reason and "CIFAR-10_human.pt" in reason
    assert "github.com/UCSC-REAL/cifar-10-100n" in reason and "CC BY-NC 4.0" in reason
    with pytest.raises(DataError, match="no labels for --noise human-worse: there is no CIFAR-10_human"):
        HumanWorse().matrix(NoiseFacts.of(Cifar10(options).describe()), None)
    with pytest.raises(DataError, match=r"It has --noise human-aggre, human-worse"):
        HumanNoisy().matrix(NoiseFacts.of(Cifar10(options).describe()), None)


def test_ordered_files_beside_it_are_named(options: Options) -> None:
    root_of(options).mkdir()
    (root_of(options) / "CIFAR-10_human_ordered.npy").write_bytes(b"\x93NUMPY")
    (reason,) = {reason for _, reason in Cifar10(options).describe().unused_columns}
    assert "CIFAR-10_human_ordered.npy is in the order of TensorFlow Datasets" in reason


def test_a_list_that_is_missing(options: Options) -> None:
    labels = {key: values for key, values in human_labels(50).items() if key != "worse_label"}
    write_human_labels(root_of(options) / "CIFAR-10_human.pt", labels)
    assert (
        "has no worse_label (it has clean_label, aggre_label"
        in dict(Cifar10(options).describe().unused_columns)["human-aggre"]
    )


def test_a_changed_file_is_read_again(cifar10_files: Path, options: Options) -> None:
    path = root_of(options) / "CIFAR-10_human.pt"
    write_human_labels(path, human_labels(50))
    assert Cifar10(options).load(0).columns["human-aggre"][0] == 1
    labels = human_labels(50)
    write_human_labels(path, labels | {"aggre_label": labels["clean_label"]})
    os.utime(path, (1, 1))
    assert Cifar10(replace(options)).load(0).columns["human-aggre"][0] == 0
