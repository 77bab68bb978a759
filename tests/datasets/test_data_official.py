"""The published data sets: files found where they lie, damage named, declarations against the literature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets import download
from datasets.cifar10 import Cifar10
from datasets.cifar100 import CLASSES, SUPERCLASS_OF, SUPERCLASSES, Cifar100
from datasets.digits import Digits
from datasets.download import Bar, fetch
from datasets.fashion_mnist import FashionMnist
from datasets.idx import read_idx
from datasets.interface import DataError, DataSet, Options
from datasets.mnist import Mnist


@pytest.fixture(autouse=True)
def nothing_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without Debian's package."""
    monkeypatch.setattr(FashionMnist, "packaged", ())


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist", "."])
@pytest.mark.parametrize("pack", [False, True])
def test_idx_files_are_found_plain_or_gzipped(
    folder: str, pack: bool, options: Options, idx: Callable[..., None]
) -> None:
    assert options.root is not None
    idx(options.root / folder, pack)
    data = Mnist(options).load(0)
    assert data.train.images.shape == (40, 28, 28, 1) and data.test.images.shape == (20, 28, 28, 1)
    assert data.train.labels[:11].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_same_hash_plain_and_gzipped(options: Options, tmp_path: Path, idx: Callable[..., None]) -> None:
    idx(tmp_path / "a", False)
    idx(tmp_path / "b", True)
    idx(tmp_path / "c", True, train=41)
    a, b, c = (Mnist(replace(options, root=tmp_path / name)).content_hash() for name in "abc")
    assert a == b != c


def test_hash_follows_a_changed_file(options: Options, idx: Callable[..., None]) -> None:
    assert options.root is not None
    idx(options.root)
    before = Mnist(options).content_hash()
    assert Mnist(options).content_hash() == before
    path = options.root / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert Mnist(options).content_hash() != before


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"\0\0\x08\x04" + b"\0\x01\0\0" * 4, "promises 65536 x 65536 x 65536 x 65536"),  # 2^64: no bytes, modulo 2^64
        (b"\0\0\x08\xff" + b"\0\0\0\x01" * 255, "isn't an IDX file"),
        (b"\0\0\x08\0", "isn't an IDX file"),
    ],
)
def test_impossible_idx_headers(header: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(header)
    with pytest.raises(DataError, match=reason) as caught:
        read_idx(tmp_path / "a")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_packaged_copy_is_found(options: Options, tmp_path: Path, idx: Callable[..., None], monkeypatch: Any) -> None:
    idx(tmp_path / "usr", True)
    monkeypatch.setattr(FashionMnist, "packaged", (tmp_path / "usr",))
    assert len(FashionMnist(options).load(0).train) == 40


@pytest.mark.parametrize(
    ("cls", "other", "first"),
    [(Mnist, "fashion-mnist", [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]), (FashionMnist, "mnist", [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])],
)
def test_one_does_not_pass_for_the_other(
    cls: type[DataSet], other: str, first: list[int], options: Options, idx: Callable[..., None]
) -> None:
    assert options.root is not None
    idx(options.root)
    path = options.root / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:8] + bytes(first) + bytes(30))
    with pytest.raises(DataError, match=f"holds {other}, not {cls.name}"):
        cls(options).load(0)


@pytest.mark.parametrize("cls", [Mnist, FashionMnist, Cifar10, Cifar100])
def test_missing_data_says_where_it_looked_and_what_to_type(cls: Any, options: Options) -> None:
    for call in (lambda: cls(options).load(0), cls(options).content_hash):
        with pytest.raises(DataError) as caught:
            call()
        message = str(caught.value)
        assert "--download" in message and "--data-root DIR" in message and str(options.root) in message


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda content: content[:-5], "its header|promises"),
        (lambda content: b"garbage" + content, "isn't an IDX file"),
        (lambda content: b"", "isn't an IDX file"),
        (lambda content: b"\x1f\x8b" + content, "can't be read"),
    ],
)
def test_damaged_idx_file_is_named(
    damage: Callable[[bytes], bytes], expected: str, options: Options, idx: Callable[..., None]
) -> None:
    assert options.root is not None
    idx(options.root)
    path = options.root / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=expected) as caught:
        Mnist(options).load(0)
    assert str(path) in str(caught.value)


def test_images_without_their_labels(options: Options, tmp_path: Path, idx: Callable[..., None]) -> None:
    assert options.root is not None
    idx(options.root)
    idx(tmp_path / "other", train=41)
    labels = tmp_path / "other/train-labels-idx1-ubyte"
    labels.replace(options.root / labels.name)
    with pytest.raises(DataError, match="40 x 28 x 28 images and 41 labels"):
        Mnist(options).load(0)


def test_read_idx_shape(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6)))
    assert read_idx(path).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_cifar_layout(cifar10_files: Path, options: Options) -> None:
    data = Cifar10(options).load(0)
    assert data.train.images.shape == (50, 32, 32, 3) and data.test.images.shape == (10, 32, 32, 3)
    batch = np.load(cifar10_files / "data_batch_1", allow_pickle=True)
    assert np.array_equal(data.train.images[1, :, :, 2].ravel(), batch["data"][1, 2048:])
    assert data.train.labels[:12].tolist() == [*range(10), 0, 1]


def test_cifar_root_may_be_the_batches_folder(cifar10_files: Path, options: Options) -> None:
    inside = Cifar10(replace(options, root=cifar10_files))
    assert len(inside.load(0).train) == 50
    assert inside.content_hash() == Cifar10(options).content_hash()


def test_cifar100_takes_fine_labels(cifar100_files: Path, options: Options) -> None:
    assert Cifar100(options).load(0).test.labels.tolist() == list(range(100))


def test_damaged_cifar_names_the_file(cifar10_files: Path, options: Options) -> None:
    (cifar10_files / "data_batch_3").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"damaged: data_batch_3 .*checksum"):
        Cifar10(options).load(0)
    (cifar10_files / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"damaged: data_batch_3 missing"):
        Cifar10(options).content_hash()


def test_packed_cifar_is_noticed(options: Options) -> None:
    assert options.root is not None
    options.root.mkdir()
    (options.root / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"is packed: .*--download"):
        Cifar10(options).load(0)


def test_declared_files_are_torchvisions() -> None:
    import torchvision.datasets as official

    for ours, theirs in ((Cifar10, official.CIFAR10), (Cifar100, official.CIFAR100)):
        assert ours.files == tuple(name for name, _ in (*theirs.train_list, *theirs.test_list))
        assert (ours.batches, ours.archive) == (theirs.base_folder, theirs.filename)


def test_download_reports_progress_and_checks_the_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    import pooch

    sent, seen = b"0123456789" * 50, []

    def serve(self: Any, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        if "broken" in url:
            raise ConnectionError("nobody there")
        self.progressbar.total = len(sent)
        self.progressbar.update(100)
        self.progressbar.update(400)
        Path(output_file).write_bytes(sent)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", serve)
    md5 = hashlib.md5(sent).hexdigest()
    target = tmp_path / "new/file.gz"
    urls = ("https://broken.example/file.gz", "https://good.example/file.gz")
    assert fetch(urls, md5, target, lambda *report: seen.append(report)) == target
    assert target.read_bytes() == sent
    assert seen == [("downloading file.gz", 100, 500), ("downloading file.gz", 500, 500)]
    with pytest.raises(DataError, match="couldn't be downloaded") as caught:
        fetch(urls, "0" * 32, tmp_path / "wrong.gz", lambda *report: None)
    assert "nobody there" in str(caught.value) and not (tmp_path / "wrong.gz").exists()


def test_bar_never_exceeds_its_total() -> None:
    seen: list[tuple[str, int, int]] = []
    bar = Bar("a", lambda *report: seen.append(report))
    bar.update(3)
    bar.reset()
    bar.update(1)
    assert seen == [("a", 3, 3), ("a", 1, 1)]


def test_mnist_downloads_torchvisions_files(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(urls: tuple[str, ...], md5: str, target: Path, progress: Any) -> Path:
        asked.append((urls[0].rsplit("/", 1)[1], md5, target))
        return target

    monkeypatch.setattr("datasets.idx.fetch", refuse)
    files = Mnist(replace(options, download=True))._download()
    import torchvision.datasets

    assert [(name, md5) for name, md5, _ in asked] == list(torchvision.datasets.MNIST.resources)
    assert options.root is not None
    assert all(file.parent == options.root / "MNIST/raw" for file in files)
    assert download.fetch is fetch


def flips(cls: type[DataSet]) -> dict[str, str]:
    """Asymmetric pairs by name."""
    described = cls(Options()).describe()
    assert described.pairs is not None
    return {described.classes[i]: described.classes[j] for i, j in described.pairs.flips}


def test_pairs_are_the_literatures() -> None:
    assert flips(Mnist) == flips(Digits) == {"7": "1", "2": "7", "5": "6", "6": "5", "3": "8"}
    assert flips(Cifar10) == {
        "truck": "automobile",
        "bird": "airplane",
        "cat": "dog",
        "dog": "cat",
        "deer": "horse",
    }
    assert flips(FashionMnist) == {
        "ankle boot": "sneaker",
        "sneaker": "sandal",
        "pullover": "shirt",
        "coat": "dress",
        "dress": "coat",
    }


def test_cifar100_rotation_stays_in_blocks_but_hardly_in_superclasses() -> None:
    pairs = Cifar100(Options()).describe().pairs
    assert pairs is not None
    assert sorted(i for i, _ in pairs.flips) == sorted(j for _, j in pairs.flips) == list(range(100))
    assert all(i // 5 == j // 5 for i, j in pairs.flips)
    # counted in the sheet of the robust losses' protocols
    assert sum(SUPERCLASS_OF[i] == SUPERCLASS_OF[j] for i, j in pairs.flips) == 6


def test_superclasses_are_twenty_of_five() -> None:
    assert len(SUPERCLASSES) == 20 and all(len(set(group)) == 5 for group in SUPERCLASSES.values())
    assert len(set(CLASSES)) == 100 and list(SUPERCLASSES) == sorted(SUPERCLASSES)
    assert np.bincount(SUPERCLASS_OF).tolist() == [5] * 20
    # spot checks against the official coarse ids of apple, aquarium_fish, baby, bear, beaver, bed, bee, beetle, bicycle
    assert SUPERCLASS_OF[:9] == (4, 1, 14, 8, 0, 6, 7, 7, 18)
    assert SUPERCLASS_OF[-3:] == (8, 14, 13)
    assert SUPERCLASS_OF[CLASSES.index("mushroom")] == SUPERCLASS_OF[CLASSES.index("sweet_pepper")] == 4


def test_protocols_are_the_sheets() -> None:
    rows = {
        Mnist: ("cnn4", 50, 0.01, 1e-3, "none"),
        FashionMnist: ("cnn4", 50, 0.01, 1e-3, "none"),
        Cifar10: ("cnn8", 120, 0.01, 1e-4, "crop4+flip"),
        Cifar100: ("resnet34", 200, 0.1, 1e-5, "crop4+flip+rotate20"),
    }
    for cls, (model, epochs, rate, decay, weak) in rows.items():
        protocol = cls(Options()).describe().protocol  # type: ignore[abstract]
        assert (protocol.model, protocol.epochs, protocol.learning_rate) == (model, epochs, rate)
        assert (protocol.weight_decay, protocol.augmentation, protocol.batch_size) == (decay, weak, 128)
        assert (protocol.momentum, protocol.schedule, protocol.gradient_clip) == (0.9, "cosine", 5.0)
    assert FashionMnist(Options()).describe().protocol.recipes_from == "mnist"
