"""What CIFAR-10 and CIFAR-100 share: torchvision's loaders and checksums, where files may lie, and human labels."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from datasets.arrays import check_size, resized
from datasets.audited import audited_where_it_fits
from datasets.download import fetch
from datasets.files import digests, listed, remembered, states
from datasets.human_columns import HumanColumns, HumanFile
from datasets.interface import Data, DataError, DataSet, Description, Labels, Part
from datasets.opinions import OpinionFile


class CifarDataSet(DataSet):
    """Base of the two: looked for under `options.root` (default: `data`), unpacked as torchvision unpacks them."""

    torchvision_class: ClassVar[str]
    batches: ClassVar[str]
    """The folder that the archive unpacks to."""
    archive: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    """The batches, named here as well so that a hash needs no import of torchvision."""

    opinion_file: ClassVar[str | None] = None
    """The name of a file that says what many people chose for each test image."""

    @property
    @abstractmethod
    def human_file(self) -> HumanFile:
        """The file of labels that people gave."""

    @abstractmethod
    def declare(self) -> Description:
        """The declarations, without what depends on files."""

    def describe(self) -> Description:
        human = self._human
        if human.problem is not None:
            reasons = tuple((name, human.problem) for name in human.file.columns)
            return replace(self.declare(), unused_columns=reasons)
        names = tuple(human.file.columns)
        return replace(self.declare(), columns=names, column_files=tuple((name, str(human.path)) for name in names))

    def known_files(self) -> Mapping[Path, str]:
        official, folder = self._official, self._home / self.batches
        sums = [*official.train_list, *official.test_list, (official.meta["filename"], official.meta["md5"])]
        return {folder / name: f"md5:{md5}" for name, md5 in sums}

    def content_hash(self) -> str:
        home = self._home
        paths = [str(home / self.batches / name) for name in self.files]
        stat, missing = states(paths)
        if missing:
            raise self._damaged(home, f"{', '.join(self.files[number] for number in missing)} missing")
        known = hashlib.sha256(stat.tobytes()).hexdigest()
        return remembered(
            self.options,
            "cifar\n" + "\n".join(paths),
            known,
            lambda: hashlib.sha256(digests(paths, self.options.progress)).hexdigest(),
        )

    def load(self, split_seed: int) -> Data:
        description = self.describe()
        check_size(self.options.image_size)
        train, test = self._part(train=True), self._part(train=False)
        assert description.mean is not None and description.std is not None
        columns = self._human.of(train.labels, description.name)
        audited = audited_where_it_fits(self.audit, test.labels)
        opinions = None if self._opinions is None else self._opinions.of(test.labels)
        mean, std = description.mean, description.std
        return Data(description, train, test, mean, std, columns, audited=audited, opinions=opinions)

    def notes(self) -> tuple[str, ...]:
        file = self._opinions
        if file is None or file.path is None:
            return ()
        known = f"{self.content_hash()} {hashlib.sha256(file.path.read_bytes()).hexdigest()}"
        what = f"opinions\n{self.describe().name}\n{file.path}"
        problem = remembered(self.options, what, known, lambda: file.problem(self._part(train=False).labels))
        return (f"people's opinions on test images are left unused: {problem}",) if problem else ()

    def _part(self, train: bool) -> Part:
        home = self._home
        try:
            read = self._official(home, train=train, download=False)
        except (RuntimeError, OSError, EOFError) as error:
            raise self._damaged(home, self._damage(home)) from error
        labels = self.task_labels(np.array(read.targets, dtype=np.int64))
        return Part(resized(np.ascontiguousarray(read.data), self.options.image_size), labels)

    def task_labels(self, labels: Labels) -> Labels:
        """The labels to learn, of the ones that torchvision reads."""
        return labels

    @cached_property
    def _human(self) -> HumanColumns:
        return HumanColumns(self.human_file, self._roots)

    @cached_property
    def _opinions(self) -> OpinionFile | None:
        if self.opinion_file is None:
            return None
        return OpinionFile(self.opinion_file, self._roots, len(self.declare().classes))

    @property
    def _roots(self) -> list[Path]:
        """Folders below which files beside the batches are looked for."""
        root = self._root
        inside = root.parent if root.name == self.batches else root
        return [inside, *([] if inside == root else [root]), inside / self.name]

    def _damaged(self, home: Path, how: str) -> DataError:
        return DataError(
            f"{self.name} in {home / self.batches} is damaged: {how}. Delete that folder and type --download, or type "
            "another --data-root DIR."
        )

    def _damage(self, home: Path) -> str:
        from torchvision.datasets.utils import check_integrity

        official = self._official
        listed_files = [*official.train_list, *official.test_list, (official.meta["filename"], official.meta["md5"])]
        wrong = [name for name, md5 in listed_files if not check_integrity(str(home / self.batches / name), md5)]
        return f"{', '.join(wrong) or 'a file'} can't be read or has another checksum than torchvision's"

    @cached_property
    def _official(self) -> Any:
        import torchvision.datasets

        return getattr(torchvision.datasets, self.torchvision_class)

    @property
    def _root(self) -> Path:
        return self.options.root if self.options.root is not None else Path("data")

    @cached_property
    def _home(self) -> Path:
        """The folder in which the batches' folder lies. Raises DataError where it is neither found nor fetched."""
        root = self._root
        places = [root, root / self.name, root / self.torchvision_class]
        if root.name == self.batches:
            places.insert(0, root.parent)
        for place in places:
            if (place / self.batches).is_dir():
                return place
        if self.options.download:
            return self._download(root)
        looked = [str(place / self.batches) for place in places]
        packed = [str(place / self.archive) for place in places if (place / self.archive).is_file()]
        if packed:
            raise DataError(f"{self.name} is packed: {packed[0]}. Type --download to have it checked and unpacked.")
        raise DataError(
            f"{self.name} isn't here. Type --download to fetch it, or --data-root DIR if you have it. "
            f"Looked for:\n{listed(looked)}"
        )

    def _download(self, root: Path) -> Path:
        official = self._official
        fetch((official.url,), official.tgz_md5, root / self.archive, self.options.progress)
        try:
            official(root, download=True)  # finds the archive, checks it again and unpacks it
        except (RuntimeError, OSError) as error:
            reason = f"{root / self.archive} can't be unpacked: {error}"
            raise DataError(f"{reason}. Type another --data-root DIR.") from error
        return root
