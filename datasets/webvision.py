"""WebVision 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from datasets.data_report import count_of
from datasets.file_lists import LabelledList, read_labelled, read_lines
from datasets.files import listed
from datasets.image_file import SUFFIXES
from datasets.interface import DataError, Description, Protocol
from datasets.listing import Listing
from datasets.official import ImagePart, OfficialImages

ALL_CLASSES = 1000
TRAIN_LISTS = {part: f"info/train_filelist_{part}.txt" for part in ("google", "flickr")}
TEST_LIST, SYNSETS = "info/val_filelist.txt", "info/synsets.txt"
FIRST_SYNSET = "n01440764"


class WebVision(OfficialImages):
    """Images that Google and Flickr found by the names of ImageNet's 1,000 classes, and a checked validation set.

    `webvision[flickr=false]` trains on those of Google alone. `webvision[ilsvrc12]` tests on the validation images of
    ILSVRC12 as well, as most papers do: a second accuracy at the last epoch, in records and under the tables. They lie
    in class folders in the order of info/synsets.txt, in folders that are called by ids (0, 1, ..., as DivideMix wants
    them), or in one folder beside a val.txt that says their ids. Classes are called by their ids; info/synsets.txt has
    their names.
    """

    name = "webvision"
    aliases = ("webvision1.0",)
    summary = "2.4 million web images of ImageNet's 1,000 classes, clean validation images (WebVision's or ILSVRC12's)"
    source = "Li et al. 2017 (arXiv 1708.02862)"
    homepage = "https://data.vision.ee.ethz.ch/cvl/webvision/dataset2017.html"
    access = "on its homepage; ILSVRC12's images with an account of image-net.org"
    layout = """
        DATA_ROOT/webvision/                   (or DATA_ROOT itself)
            info/train_filelist_google.txt     (lines such as "google/q0001/abc.jpg 0")
            info/train_filelist_flickr.txt
            info/val_filelist.txt              (lines such as "val000001.jpg 0")
            info/synsets.txt
            google/q0001/*.jpg                 (or google_resized_256/q0001/*.jpg; flickr/ alike)
            val_images_256/val000001.jpg       (or val_images/)
        DATA_ROOT/imagenet/                    (or inside the folder above; for [ilsvrc12] only)
            val/n01440764/*.JPEG               (or val/0/*.JPEG, or val/*.JPEG with val.txt)
        """
    marks = (TRAIN_LISTS["google"], TRAIN_LISTS["flickr"])
    folders = ("webvision", "webvision1.0", "webvision2017")
    usual_size = 299
    second_test = "ILSVRC12"
    parameters = {"flickr": True, "ilsvrc12": False}
    kept: ClassVar[int] = ALL_CLASSES
    """Classes that take part, the first."""
    published: ClassVar[Mapping[bool, int | None]] = {True: 2_439_574, False: 980_449}
    """Training images with Flickr's and without."""

    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of their ids."""
        return tuple(map(str, range(self.kept)))

    def describe(self) -> Description:
        assumed = "" if self.kept < ALL_CLASSES else "of its 50 first classes; that it serves all is an ASSUMPTION; "
        return Description(
            name=self.label,
            classes=self.class_names(),
            image_shape=self._shape,
            train_size=self.published[self.values["flickr"]],
            test_size=50 * self.kept,
            protocol=Protocol(
                recipes_from="cifar100",
                model="timm:inception_resnet_v2",
                epochs=80,
                batch_size=32,
                learning_rate=0.01,
                weight_decay=5e-4,
                schedule="step:40@0.1",
                augmentation="crop10+flip",
                strong_augmentation="crop10+flip+autoaugment",
                source=f"DivideMix (Li et al. 2020, released code), from scratch, {assumed}ASSUMPTION: crops reach 10 "
                "pixels beyond an image of 299, as those of 299 from 320 do, and don't change its scale",
            ),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            licence="research (from memory: read its page)",
            citation="W. Li, L. Wang, W. Li, E. Agustsson, L. Van Gool, WebVision database: visual learning and "
            "understanding from web data, arXiv 1708.02862, 2017",
            clean_labels=False,
            clean_test_labels=True,
            usual_noise="as-given",
        )

    def read(self) -> Listing:
        home = self.find_home()
        wanted = [part for part in TRAIN_LISTS if part == "google" or self.values["flickr"]]
        missing = [TRAIN_LISTS[part] for part in wanted if not (home / TRAIN_LISTS[part]).exists()]
        if missing:
            alone = f" Type {self.name}[flickr=false] for Google's images alone." if "flickr" in missing[0] else ""
            raise DataError(f"{home} has no {' and no '.join(missing)}.{alone}")
        train = [self._part_of(home, part) for part in wanted]
        second = self._imagenet_test(home) if self.values["ilsvrc12"] else None
        notes = [f"the training images are those of {' and '.join(part.capitalize() for part in wanted)}"]
        if second is not None:
            notes.append(f"{len(second.paths):,} validation images of {self.second_test} are a second test set")
        return self.join_parts(train, self._own_test(home), self.class_names(), notes, second=second)

    def _read(self, file: Path) -> LabelledList:
        """The lines of a list whose classes take part."""
        found = read_labelled(file, ALL_CLASSES)
        return found if self.kept == ALL_CLASSES else found.only((found.labels < self.kept).tolist())

    def _part_of(self, home: Path, part: str) -> ImagePart:
        found = self._read(home / TRAIN_LISTS[part])
        resized = home / f"{part}_resized_256"
        if not (home / part).is_dir() and resized.is_dir():
            return ImagePart(resized, found.paths, found.labels, f"{part}/")
        return ImagePart(home, found.paths, found.labels)

    def _own_test(self, home: Path) -> ImagePart:
        found = self._read(home / TEST_LIST)
        folders = [home / name for name in ("val_images_256", "val_images")]
        folder = next((place for place in folders if place.is_dir()), folders[0])
        return ImagePart(folder, found.paths, found.labels)

    def _imagenet_test(self, home: Path) -> ImagePart:
        """The validation images of ILSVRC12 of the classes that take part. Raises DataError where there are none."""
        tops = [home / "imagenet", home.parent / "imagenet", *(place / "imagenet" for place in self._places()[:1])]
        folder = next((top / "val" for top in tops if (top / "val").is_dir()), None)
        if folder is None:
            raise DataError(
                f"ILSVRC12's validation images aren't here: {self.access}. Looked for:\n"
                f"{listed([str(top / 'val') for top in dict.fromkeys(tops)])}"
            )
        for file in (folder / "val.txt", folder.parent / "val.txt"):
            if file.exists():
                found = self._read(file)
                return ImagePart(folder, found.paths, found.labels)
        names = [str(number) for number in range(self.kept)]
        if not (folder / "0").is_dir():
            names = [line.split()[0] for line in read_lines(home / SYNSETS)][: self.kept]
        missing = [name for name in names if not (folder / name).is_dir()]
        if missing:
            raise DataError(
                f"{folder} has no class folders 0, 1, ..., and lacks folders by {SYNSETS}: "
                f"{count_of(missing, 'is missing', 'are missing')}. Unpack the validation images into such folders."
            )
        images = [sorted(path.name for path in (folder / name).iterdir() if _is_image(path)) for name in names]
        paths = [f"{name}/{image}" for name, found_images in zip(names, images, strict=True) for image in found_images]
        counts = [len(found_images) for found_images in images]
        return ImagePart(folder, paths, np.repeat(np.arange(self.kept, dtype=np.int64), counts))


def _is_image(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in SUFFIXES
