"""ELPV: solar cells, with the expert's doubt, out of the installed package `elpv-dataset`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.data_report import DataReport
from datasets.file_lists import read_lines
from datasets.files import listed
from datasets.interface import RIGHT, WRONG, DataError, Description, Options, Protocol, Verification
from datasets.listing import ListedImages, Listing
from datasets.splits import TEST_SHARE, stratified

PACKAGE = "elpv_dataset"
LABELS = "labels.csv"
NAMES = ("functional", "defective")
MODULES = ("all", "mono", "poly")
USUAL_SIZE = 64
DOUBT = 0.4
"""A probability of a defect nearer to a half than this is a doubted label."""
COUNTS = {"all": (2624, 401), "mono": (1074, 173), "poly": (1550, 228)}
"""Images, and doubted ones among them, of the published table by `module`."""
SHA256 = "0abe6fe7700aea571717d7d7dfec005a47c6207b4cde26a4556b6807a115483d"
"""Of labels.csv in release 1.0.0.post1."""


class Elpv(ListedImages):
    """Electroluminescence images of 2,624 solar cells, grey, 300 x 300, whose expert said how sure the label is.

    A cell is functional or defective, by a probability of a defect of 0, 1/3, 2/3 or 1: a label is the side of a half.
    The 401 cells of 1/3 and 2/3 have doubted labels. All of them are for training; tests are a seeded, stratified
    fifth of the cells that the expert was certain of. So the doubted labels are the noisy ones, and the doubt is a real
    truth for selectors: nobody knows which doubted labels are wrong, so it says *doubted*, and not *wrong*.

    `module` is all, mono or poly: the kind of crystal. Cells come from 44 modules, and no file says which from which,
    so cells of one module fall on both sides of the split: accuracies are those on modules already seen. Images are
    brought to 64 x 64 unless `--image-size` says otherwise. Defects are in 31 % of the cells.
    """

    name = "elpv"
    summary = "2,624 real images of solar cells, functional or defective, 401 labels doubted by their expert; grey"
    source = "Deitsch et al. 2019, Buerhop-Lutz et al. 2018"
    homepage = "https://github.com/zae-bayern/elpv-dataset"
    access = "`pip install elpv-dataset` (91 MB); found in any Python environment that runs this"
    layout = """
        site-packages/elpv_dataset/data/       (or below DATA_ROOT, or DATA_ROOT itself)
            labels.csv                         (lines "images/cell0001.png  1.0  mono": path, probability, module)
            images/cellN.png
        """
    truth = "the expert's own doubt: which labels are doubted, not which are wrong"
    parameters = {"module": "all"}
    file_size = (300, 300)

    def __init__(
        self, options: Options, argument: str | None = None, parameters: Mapping[str, Any] | None = None
    ) -> None:
        sized = options if options.image_size is not None else replace(options, image_size=USUAL_SIZE)
        super().__init__(sized, argument, parameters)
        if self.values["module"] not in MODULES:
            raise DataError(f"elpv[module={self.values['module']}]: type one of {', '.join(MODULES)}.")

    @property
    def label(self) -> str:
        return self.recorded_call()

    def describe(self) -> Description:
        size = self.options.image_size or USUAL_SIZE
        count, doubted = COUNTS[self.values["module"]]
        tests = round(TEST_SHARE * (count - doubted))
        return Description(
            name=self.label,
            classes=NAMES,
            image_shape=(size, size, 1),
            train_size=count - tests,
            test_size=tests,
            seeded_split=True,
            protocol=Protocol(
                recipes_from="mnist",
                model="cnn-pool",
                epochs=30,
                batch_size=64,
                learning_rate=0.01,
                weight_decay=1e-3,
                augmentation="crop4+flip",
                strong_augmentation="crop4+flip+randaugment+cutout",
                source="ours, for want of a published one on these labels: MNIST's with flips and a small network; no "
                "accuracy was looked at",
            ),
            licence="data CC BY-NC-SA 4.0 (no commercial use), the package's code Apache-2.0",
            citation="S. Deitsch et al., Automatic classification of defective photovoltaic module cells in "
            "electroluminescence images, Solar Energy 185, 2019; C. Buerhop-Lutz et al., A benchmark for visual "
            "identification of defective solar cells in electroluminescence imagery, EU PVSEC 2018",
            clean_labels=False,
            clean_test_labels=True,
            usual_noise="as-given",
        )

    def known_files(self) -> Mapping[Path, str]:
        return {self.home / LABELS: f"sha256:{SHA256}"}

    def read(self) -> Listing:
        file = self.home / LABELS
        rows = _read_rows(file, self.values["module"])
        paths, probabilities = [path for path, _ in rows], np.array([value for _, value in rows])
        doubted = np.abs(probabilities - 0.5) < DOUBT
        labels = (probabilities > 0.5).astype(np.int64)
        count = int(doubted.sum())
        note = (
            f"{count:,} of {len(rows):,} labels are doubted by the expert who gave them, and nobody knows which are "
            "wrong; no file says which cells are of one module, so its cells are on both sides of the split"
        )
        return Listing(
            paths=[f"{self.home}/{path}" for path in paths],
            written=paths,
            lines=None,
            rows="\n".join(f"{path} {value!r}" for path, value in rows),
            classes=NAMES,
            labels=labels,
            test=None,
            notes=(note,),
            verified=Verification(np.where(doubted, WRONG, RIGHT).astype(np.int8), "doubted by the expert who gave it"),
        )

    def report(self) -> DataReport | None:
        return None if self._found is None else super().report()

    def explain_missing(self, paths: Sequence[str]) -> str:
        return "Install the package again: pip install --force-reinstall --no-deps elpv-dataset."

    @property
    def home(self) -> Path:
        """The folder with labels.csv in it. Raises DataError where the package isn't installed."""
        if self._found is None:
            raise DataError(
                "elpv isn't here: it comes with the Python package elpv-dataset (91 MB; its data are CC BY-NC-SA 4.0, "
                "so not for commercial use). Type: pip install elpv-dataset"
            )
        return self._found

    @cached_property
    def _found(self) -> Path | None:
        root = self.options.root if self.options.root is not None else Path("data")
        inside = (PACKAGE, f"{PACKAGE}/data", f"src/{PACKAGE}/data", f"elpv-dataset/src/{PACKAGE}/data")
        # a folder that nobody typed may hold a labels.csv of something else
        places = [*([] if self.options.root is None else [root]), *(root / name for name in inside)]
        found = importlib.util.find_spec(PACKAGE)
        if found is not None and found.submodule_search_locations:
            places += [Path(folder) / "data" for folder in found.submodule_search_locations]
        return next((place for place in places if (place / LABELS).is_file() and (place / "images").is_dir()), None)

    def _split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Training and test positions: tests are drawn among the cells that the expert was certain of."""
        listing = self._listing
        assert listing.verified is not None
        certain = np.flatnonzero(listing.verified.findings == RIGHT)
        size = max(1, round(TEST_SHARE * len(certain)))
        is_test = np.zeros(len(listing.labels), dtype=np.bool_)
        is_test[certain[stratified(listing.labels[certain], len(NAMES), size, seed)[1]]] = True
        return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _read_rows(file: Path, module: str) -> list[tuple[str, float]]:
    """Path and probability of a defect of each cell of a kind of module. Raises DataError naming wrong lines."""
    rows, wrong = [], []
    for number, line in enumerate(read_lines(file), start=1):
        words = line.split()
        probability = _probability(words[1]) if len(words) == 3 else None
        if probability is None or words[2] not in MODULES[1:] or words[0].startswith("/") or ".." in words[0]:
            wrong.append(f"line {number}: {line[:100]!r}")
        elif module in ("all", words[2]):
            rows.append((words[0], probability))
    if wrong:
        raise DataError(
            f"{len(wrong):,} lines of {file} aren't a path, a probability and mono or poly. Install the package again: "
            f"pip install --force-reinstall --no-deps elpv-dataset\n{listed(wrong)}"
        )
    if not rows:
        raise DataError(f"{file} has no cell of {module} modules.")
    return rows


def _probability(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
