"""Small data sets in the layouts that their makers give them, so that every one can be opened offline."""

from __future__ import annotations

import csv
import gzip
import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench.execution.worker import load_file
from datasets.animal10n import Animal10N
from datasets.cifar10 import Cifar10
from datasets.cifar100 import CLASSES, SUPERCLASS_OF, Cifar100
from datasets.clothing1m import Clothing1M
from datasets.digits import Digits
from datasets.elpv import Elpv
from datasets.fashion_mnist import FashionMnist
from datasets.features import Features
from datasets.folder import Folder
from datasets.food101n import Food101N
from datasets.interface import DataSet, Options
from datasets.mini_imagenet import BlueMiniImagenet, RedMiniImagenet
from datasets.mnist import Mnist
from datasets.synthetic import Synthetic
from datasets.table import Table
from datasets.tiny_imagenet import TinyImagenet
from datasets.webvision import WebVision
from datasets.webvision_mini import WebVisionMini
from tests.datasets import image_layouts
from tests.datasets.official_files import human_labels, human_labels_of_100, write_human_labels

Make = Callable[..., DataSet]
Opened = Callable[[], DataSet]


def pixels(seed: int, *shape: int) -> NDArray[np.uint8]:
    """Random bytes."""
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, shape, dtype=np.uint8)


def write_idx(path: Path, array: NDArray[np.uint8], pack: bool) -> None:
    """An IDX file of bytes, gzipped or plain."""
    content = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    content += array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if pack:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def write_mnist(folder: Path, pack: bool = False, train: int = 40, test: int = 20) -> None:
    """Four IDX files with balanced labels."""
    for stem, count in (("train", train), ("t10k", test)):
        write_idx(folder / f"{stem}-images-idx3-ubyte", pixels(count, count, 28, 28), pack)
        write_idx(folder / f"{stem}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10, pack)


def write_batches(folder: Path, files: dict[str, int], coarse: bool) -> list[list[str]]:
    """Pickled batches with `files[name]` images each; their names and checksums."""
    folder.mkdir(parents=True)
    sums = []
    for seed, (name, count) in enumerate(files.items()):
        batch: dict[str, Any] = {"data": pixels(seed, count, 3072)}
        if coarse:
            batch["fine_labels"] = [number % 100 for number in range(count)]
            batch["coarse_labels"] = [SUPERCLASS_OF[number] for number in batch["fine_labels"]]
        else:
            batch["labels"] = [number % 10 for number in range(count)]
        content = pickle.dumps(batch)
        (folder / name).write_bytes(content)
        sums.append([name, hashlib.md5(content).hexdigest()])
    return sums


@pytest.fixture
def idx() -> Callable[..., None]:
    """`write_mnist`, for tests."""
    return write_mnist


@pytest.fixture
def save() -> Callable[..., None]:
    """`save_image`, for tests."""
    return save_image


@pytest.fixture
def table() -> Callable[..., Path]:
    """`write_table`, for tests."""
    return write_table


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Nothing downloaded, everything kept below the test's own folder."""
    return Options(root=tmp_path / "data", cache=tmp_path / "cache")


@pytest.fixture
def cifar10_files(options: Options, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's folder with ten images a batch, which torchvision takes for the real one."""
    import torchvision.datasets

    assert options.root is not None
    folder = options.root / "cifar-10-batches-py"
    sums = write_batches(folder, dict.fromkeys(Cifar10.files, 10), coarse=False)
    meta = pickle.dumps({"label_names": ["any"] * 10})
    (folder / "batches.meta").write_bytes(meta)
    official = torchvision.datasets.CIFAR10
    monkeypatch.setattr(official, "train_list", sums[:5])
    monkeypatch.setattr(official, "test_list", sums[5:])
    monkeypatch.setattr(official, "meta", {**official.meta, "md5": hashlib.md5(meta).hexdigest()})
    return folder


@pytest.fixture
def cifar100_files(options: Options, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-100's folder with 100 images a part."""
    import torchvision.datasets

    assert options.root is not None
    folder = options.root / "cifar-100-python"
    sums = write_batches(folder, {"train": 200, "test": 100}, coarse=True)
    meta = pickle.dumps({"fine_label_names": list(CLASSES)})
    (folder / "meta").write_bytes(meta)
    official = torchvision.datasets.CIFAR100
    monkeypatch.setattr(official, "train_list", sums[:1])
    monkeypatch.setattr(official, "test_list", sums[1:])
    monkeypatch.setattr(official, "meta", {**official.meta, "md5": hashlib.md5(meta).hexdigest()})
    return folder


def save_image(path: Path, seed: int, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> None:
    """A lossless image of noise; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    Image.fromarray(pixels(seed, *shape)).save(path)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with 30 images a.png: 20 to train and 10 to test on, and a table of them with two further columns."""
    folder = tmp_path / "photos"
    names = ("cat", "dog")
    rows = []
    for number in range(30):
        save_image(folder / f"images/{number:02}.png", number)
        label, split = names[number % 2], "train" if number < 20 else "test"
        other = names[(number + (number < 6)) % 2]
        rows.append([f"images/{number:02}.png", label, split, other, str(names.index(other)), "someone"])
    write_table(folder / "index.csv", ["path", "label", "split", "by_name", "by_id", "photographer"], rows)
    return folder


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Two class folders of ten images each."""
    for number in range(20):
        save_image(tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number:02}.png", number)
    return tmp_path / "pets"


class FirstOfWebVision(WebVision):
    """WebVision with few of its classes, since each of a thousand would need an image."""

    kept = 60


web: ModuleType = load_file(Path(__file__).with_name("web_layouts.py"))
COPIES: dict[str, tuple[type[DataSet], Callable[[Path], Path]]] = {
    "animal10n": (Animal10N, web.write_animal10n_images),
    "clothing1m": (Clothing1M, web.write_clothing1m),
    "food101n": (Food101N, web.write_food101n),
    "webvision": (FirstOfWebVision, partial(web.write_webvision, classes=60)),
    "webvision-mini": (WebVisionMini, web.write_webvision),
    "tiny-imagenet": (TinyImagenet, image_layouts.write_tiny_imagenet),
    "red-mini-imagenet": (RedMiniImagenet, image_layouts.write_mini_imagenet),
    "blue-mini-imagenet": (BlueMiniImagenet, image_layouts.write_mini_imagenet),
    "elpv": (Elpv, image_layouts.write_elpv),
}


def open_copy(name: str, root: Path, options: Options) -> DataSet:
    """A published set of images, laid out when it is first opened: most tests need one of them at most."""
    cls, write = COPIES[name]
    folder = root / "web" / name
    if not folder.exists():
        write(folder)
    return cls(replace(options, root=folder))


@pytest.fixture
def vector_file(tmp_path: Path) -> Path:
    """40 vectors of 5 numbers in 3 classes, with 3 views each, and a column of noisy labels."""
    draw = np.random.Generator(np.random.PCG64(0))
    labels = np.arange(40) % 3
    features = (draw.normal(size=(40, 3, 5)) + labels[:, None, None]).astype(np.float32)
    noisy = np.where(np.arange(40) % 4, labels, (labels + 1) % 3)
    np.savez(tmp_path / "vectors.npz", features=features, labels=labels, noisy=noisy)
    return tmp_path / "vectors.npz"


@pytest.fixture
def openers(
    options: Options,
    photos: Path,
    class_folders: Path,
    cifar10_files: Path,
    cifar100_files: Path,
    vector_file: Path,
) -> Iterator[dict[str, Opened]]:
    """Every data set of the package, small, by name: called, it opens the data set anew."""
    assert options.root is not None
    write_mnist(options.root / "MNIST/raw")
    write_mnist(options.root / "FashionMNIST/raw", pack=True)
    write_human_labels(options.root / "CIFAR-10_human.pt", human_labels(50))
    write_human_labels(options.root / "CIFAR-100_human.pt", human_labels_of_100(200))
    yield {
        "digits": lambda: Digits(options),
        "synthetic": lambda: Synthetic(options, None, {"classes": 4, "size": 16, "train": 40, "test": 12}),
        "mnist": lambda: Mnist(options),
        "fashion-mnist": lambda: FashionMnist(options),
        "cifar10": lambda: Cifar10(options),
        "cifar100": lambda: Cifar100(options),
        "cifar100[coarse]": lambda: Cifar100(options, None, {"coarse": True}),
        "folder": lambda: Folder(options, str(class_folders)),
        "table": lambda: Table(options, str(photos / "index.csv")),
        "features": lambda: Features(options, str(vector_file)),
        **{name: partial(open_copy, name, options.root, options) for name in COPIES},
    }
