"""Sets with real noise on their official layouts, in miniature: every trap of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench.execution.worker import load_file
from bench.registry import open_data_set
from datasets.animal10n import PAIRS, Animal10N
from datasets.clothing1m import Clothing1M
from datasets.food101n import CLASSES as FOOD
from datasets.food101n import Food101N
from datasets.interface import DataError, DataSet, Options
from datasets.noise.interface import label_hash
from datasets.webvision import WebVision
from datasets.webvision_mini import WebVisionMini

web: ModuleType = load_file(Path(__file__).with_name("web_layouts.py"))
ALL = (Animal10N, Clothing1M, Food101N, WebVision, WebVisionMini)


@pytest.fixture
def small(tmp_path: Path) -> Options:
    """Images of 8 pixels, everything below the test's own folder."""
    return Options(root=tmp_path / "data", cache=tmp_path / "cache", image_size=8)


def has_note(data_set: DataSet, text: str) -> bool:
    report = data_set.report()
    assert report is not None
    return any(text in note for note in report.notes)


@pytest.mark.parametrize("cls", ALL)
def test_without_data_it_says_where_to_ask_what_it_looks_like_and_what_was_found(cls: Any, small: Options) -> None:
    assert small.root is not None
    small.root.mkdir()
    (small.root / "stray.tar").write_bytes(b"")
    for call in (cls(small).content_hash, lambda: cls(small).load(0), lambda: cls(small).outline(0)):
        with pytest.raises(DataError) as caught:
            call()
        message = str(caught.value)
        assert cls.access in message and cls.homepage in message and "--data-root" in message
        assert "must look like this:\n  DATA_ROOT/" in message and f"{small.root}: stray.tar" in message
    assert cls(small).report() is None


@pytest.mark.parametrize("cls", ALL)
def test_real_noise_is_declared(cls: Any, small: Options) -> None:
    described = cls(small).describe()
    assert not described.clean_labels and described.clean_test_labels and described.usual_noise == "as-given"
    assert described.protocol.source and described.licence and described.citation


# Clothing1M


@pytest.mark.parametrize(
    ("lists", "images"), [("", "images"), ("annotations", "images"), ("label", "images"), ("annotations", "")]
)
@pytest.mark.parametrize("place", ["clothing1m", "Clothing-1M", "."])
def test_clothing1m_layouts(lists: str, images: str, place: str, small: Options, tmp_path: Path) -> None:
    assert small.root is not None
    web.write_clothing1m(small.root / place, lists, images)
    data = Clothing1M(small).load(0)
    assert (len(data.train), len(data.test)) == (56, 28)
    assert data.train.labels[:14].tolist() == list(range(14)) and data.train.labels[45] == 4
    assert data.mean == (0.6959, 0.6537, 0.6371) and data.train.images.shape[1:] == (8, 8, 3)
    same = web.write_clothing1m(tmp_path / "other")
    assert Clothing1M(replace(small, root=same)).content_hash() == Clothing1M(small).content_hash()


def test_clothing1m_notes(small: Options) -> None:
    assert small.root is not None
    web.write_clothing1m(small.root)
    found = Clothing1M(small)
    assert has_note(found, "has 56 training images and 28 test images, the published one has 1,000,000 and 10,526")
    assert has_note(found, "noisy training and clean training 2, noisy training and clean validation 0")
    assert has_note(found, "14 clean validation images take no part")
    assert has_note(found, "3 labels of noisy_label_kv.txt outside noisy_train_key_list.txt")
    report = found.report()
    assert report is not None and report.left_out["validation images"] == 14


def test_clothing1m_class_folders_without_lists(small: Options) -> None:
    assert small.root is not None
    for part in ("noisy_train", "clean_train", "clean_val", "clean_test"):
        web.write_image(small.root / "clothing1m" / part / "0/a.jpg", 1)
    with pytest.raises(DataError, match=r"without any list \(clean_test, clean_train, .*folder:"):
        Clothing1M(small).content_hash()


def test_clothing1m_lines_that_lack_what_they_need(small: Options) -> None:
    assert small.root is not None
    web.write_clothing1m(small.root)
    file = small.root / "clean_label_kv.txt"
    lines = file.read_text().split("\n")
    file.write_text("\n".join([*lines[:4], lines[4].split()[0], *lines[5:]]))
    with pytest.raises(DataError, match=r"clean_label_kv.txt lack their label.*\n  line 5: 'images/"):
        Clothing1M(small).content_hash()
    file.write_text("\n".join(line for line in lines if "1042" not in line))
    with pytest.raises(
        DataError, match=r"1 of 28 images of .*clean_test_key_list.txt have no label in .*\n  line 1: i"
    ):
        Clothing1M(small).content_hash()
    file.unlink()
    (small.root / "noisy_label_kv.txt").unlink()
    with pytest.raises(DataError, match=r"lacks lists of clothing1m: noisy_label_kv.txt, clean_label_kv.txt"):
        Clothing1M(small).content_hash()


def test_clothing1m_balanced(small: Options) -> None:
    assert small.root is not None
    web.write_clothing1m(small.root)
    subsets = [
        Clothing1M(small, None, {"balanced": True, "subset_seed": seed}).outline(split).labels
        for seed, split in ((0, 0), (0, 1), (1, 0))
    ]
    assert [np.bincount(labels).tolist() for labels in subsets] == [[2] * 14] * 3
    paths = [Clothing1M(small, None, {"balanced": True, "subset_seed": seed}).paths(0) for seed in (0, 0, 1)]
    assert paths[0] == paths[1] != paths[2]
    hashes = {Clothing1M(small, None, values).content_hash() for values in ({}, {"balanced": True})}
    assert len(hashes) == 2
    described = Clothing1M(small, None, {"balanced": True}).describe()
    assert (
        described.train_size == 265_664 and described.name == "clothing1m[balanced]"
    ) or "balanced" in described.name


def test_clothing1m_clean_training_list_is_no_default(small: Options) -> None:
    assert small.root is not None
    web.write_clothing1m(small.root)
    noisy, told = Clothing1M(small), Clothing1M(small, None, {"clean_train": True})
    assert len(told.outline(0).labels) == 56 + 28 and noisy.content_hash() != told.content_hash()
    # the first two images are in both lists: their clean labels are 28 % 14 and 29 % 14
    assert told.outline(0).labels[:2].tolist() == [0, 1] and told.label != noisy.label
    assert has_note(told, "30 training images have clean labels (clean_train), 2 of them in place of noisy ones")
    (small.root / "clean_train_key_list.txt").unlink()
    assert len(Clothing1M(small).outline(0).labels) == 56
    with pytest.raises(DataError, match=r"lacks lists of clothing1m: clean_train_key_list.txt"):
        Clothing1M(small, None, {"clean_train": True}).content_hash()


def test_missing_images_are_skipped_on_request(small: Options) -> None:
    assert small.root is not None
    web.write_clothing1m(small.root)
    gone = small.root / web.clothing_paths(5, 1)[0]
    gone.unlink()
    with pytest.raises(DataError, match=r"1 of 84 image files don't exist(.|\n)*--skip-unreadable"):
        Clothing1M(small).content_hash()
    skipping = Clothing1M(replace(small, skip_unreadable=True))
    report = skipping.report()
    assert len(skipping.load(0).train) == 55 and report is not None and report.unreadable == 1


# WebVision


@pytest.mark.parametrize("resized", [False, True])
def test_webvision_mini_is_google_and_the_first_50_classes(resized: bool, small: Options, tmp_path: Path) -> None:
    assert small.root is not None
    web.write_webvision(small.root / "WebVision1.0", resized=resized)
    data = WebVisionMini(small).load(0)
    assert (len(data.train), len(data.test)) == (100, 50)
    assert data.train.labels.tolist() == [*range(50), *range(50)] and data.test.labels.tolist() == list(range(50))
    assert has_note(WebVisionMini(small), "the training images are those of Google")
    both = WebVisionMini(small, None, {"flickr": True})
    assert len(both.outline(0).labels) == 200 and has_note(both, "those of Google and Flickr")
    assert data.description.classes[0] == "tench" and len(data.description.classes) == 50


def test_webvision_without_flickr(small: Options) -> None:
    assert small.root is not None
    web.write_webvision(small.root, flickr=False)
    with pytest.raises(DataError, match=r"no info/train_filelist_flickr.txt. Type webvision\[flickr=false\]"):
        WebVision(small).content_hash()
    with pytest.raises(DataError, match="classes have no training image"):
        WebVision(small, None, {"flickr": False}).content_hash()


@pytest.mark.parametrize("name", ["webvision[flickr=false]", "webvision-mini[flickr,ilsvrc12]", "clothing1m[balanced]"])
def test_recorded_names_can_be_typed_again(name: str, small: Options) -> None:
    assert open_data_set(name, small).recorded_call() == name


@pytest.mark.parametrize("way", ["ids", "synsets", "list"])
@pytest.mark.parametrize("inside", [False, True])
def test_imagenet_validation_images(way: str, inside: bool, small: Options) -> None:
    assert small.root is not None
    home = web.write_webvision(small.root / "webvision")
    top = (home if inside else small.root) / "imagenet"
    synsets = [line.split()[0] for line in (home / "info/synsets.txt").read_text().splitlines()]
    if way == "ids":
        web.write_imagenet(top, [str(number) for number in range(50)])
    elif way == "synsets":
        web.write_imagenet(top, [*synsets[:50], synsets[70]])
    else:
        web.write_imagenet(top, [""] * 52)
        web.write_lines(top / "val.txt", [f"ILSVRC2012_val_{number:08}.JPEG {number}" for number in range(52)])
    data_set = WebVisionMini(small, None, {"ilsvrc12": True})
    data, plain = data_set.load(0), WebVisionMini(small)
    assert data.second_test is not None and data.second_test.name == "ILSVRC12"
    second = data.second_test.part
    assert second.labels.tolist() == list(range(50)) and len(data.test) == 50 and len(data.train) == 100
    assert np.array_equal(second.images[np.array([10])][0], _image(top, way, synsets, 10))
    alone = plain.load(0)
    assert alone.second_test is None and np.array_equal(np.asarray(alone.test.images), np.asarray(data.test.images))
    assert plain.content_hash() != data_set.content_hash() and has_note(data_set, "50 validation images of ILSVRC12")
    assert data_set.outline(0).test == 50 and data_set.check().facts["images of a second test set"] == "50"


def _image(top: Path, way: str, synsets: Sequence[str], number: int) -> Any:
    from datasets.image_file import decode

    folder = {"ids": str(number), "synsets": synsets[number], "list": ""}[way]
    return decode(str(top / "val" / folder / f"ILSVRC2012_val_{number:08}.JPEG"), 8)[0]


def test_missing_imagenet_folders(small: Options) -> None:
    assert small.root is not None
    web.write_webvision(small.root)
    ask = {"ilsvrc12": True}
    with pytest.raises(DataError, match="ILSVRC12's validation images aren't here"):
        WebVisionMini(small, None, ask).content_hash()
    web.write_imagenet(small.root / "imagenet", ["n01440764"])
    with pytest.raises(DataError, match=r"49 are missing \(first: n01500000\)"):
        WebVisionMini(small, None, ask).content_hash()


# ANIMAL-10N


@pytest.mark.parametrize("files", [1, 3])
def test_animal10n_versions_agree(files: int, small: Options, tmp_path: Path) -> None:
    own = replace(small, image_size=None)
    images = Animal10N(replace(own, root=web.write_animal10n_images(tmp_path / "a/ANIMAL-10N").parent))
    binary = Animal10N(replace(own, root=web.write_animal10n_binary(tmp_path / "b", files)))
    one, other = images.load(0), binary.load(0)
    for left, right in ((one.train, other.train), (one.test, other.test)):
        assert label_hash(left.labels) == label_hash(right.labels)
        assert np.array_equal(np.asarray(left.images), np.asarray(right.images))
    assert one.mean == other.mean and one.train.images.shape == (40, 64, 64, 3)
    assert one.train.labels.tolist() == [label for _, label in web.animals()["training"]]
    assert np.array_equal(images.outline(0).labels, binary.outline(0).labels)
    assert has_note(binary, "has 40 training images and 20 test images, the published one has 50,000 and 5,000")
    assert binary.load(0).description == binary.describe() and binary.paths(0) is None
    assert not binary.check().problems or all("where there should be" in each for each in binary.check().problems)


def test_animal10n_pairs() -> None:
    assert set(PAIRS) == {(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4), (6, 7), (7, 6), (8, 9), (9, 8)}


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[:-1], "no whole number of records of 12,296"),
        (lambda data: b"", "no whole number"),
        (lambda data: data + data[:12296], "1 ids of data_batch_1.bin come twice"),
        (
            lambda data: data[:4] + bytes([0, 0, 0, 10]) + data[8:],
            "no label from 0 to 9; the first is record 1 with 10",
        ),
    ],
)
def test_animal10n_damaged_records(damage: Any, expected: str, small: Options) -> None:
    assert small.root is not None
    file = web.write_animal10n_binary(small.root) / "data_batch_1.bin"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=expected):
        Animal10N(small).load(0)


def test_animal10n_other_ids_and_names(small: Options) -> None:
    assert small.root is not None
    file = web.write_animal10n_binary(small.root) / "data_batch_1.bin"
    file.write_bytes(file.read_bytes()[12296:])
    assert has_note(Animal10N(small), "ids of data_batch_1.bin aren't 0 to 38")
    (small.root / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"has no test_batch.bin"):
        Animal10N(small).load(0)
    shutil.rmtree(small.root)
    web.write_animal10n_images(small.root)
    web.write_image(small.root / "training/cat.jpg", 3)
    with pytest.raises(DataError, match=r"1 of 41 images in .* have no label from 0 to 9 .*\n  cat.jpg"):
        Animal10N(small).load(0)
    (small.root / "training/cat.jpg").rename(small.root / "training/3_1_b.jpg")  # an id that comes twice
    assert Animal10N(small).paths(0) == sorted(Animal10N(small).paths(0) or ())


# Food-101N


@pytest.mark.parametrize("header", [True, False])
def test_food101n(header: bool, small: Options) -> None:
    assert small.root is not None
    web.write_food101n(small.root, header=header)
    data_set = Food101N(small)
    data = data_set.load(0)
    assert data.train.labels.tolist() == [*range(101), *range(101)] and data.test.labels.tolist() == list(range(10))
    assert data.verified is not None and data.verified.meaning == "found wrong by a person"
    expected = [int(number % 4 != 0) for number in range(60)] + [-1] * 142
    assert data.verified.findings.tolist() == expected
    assert has_note(
        data_set, "looked at 60 of 202 training labels and found 15 wrong (25.0%; most in apple_pie, 100.0% of 1)"
    )
    assert not has_note(data_set, "lines of")


def test_food101n_findings_are_in_the_hash(small: Options, tmp_path: Path) -> None:
    hashes = []
    for number, verified in enumerate(({f"{FOOD[0]}/0{FOOD[0][:3]}": 1}, {f"{FOOD[0]}/0{FOOD[0][:3]}": 0})):
        root = web.write_food101n(tmp_path / str(number), verified)
        hashes.append(Food101N(replace(small, root=root)).content_hash())
    assert hashes[0] != hashes[1]


def test_food101n_classes_follow_their_file(small: Options) -> None:
    assert small.root is not None
    file = web.write_food101n(small.root) / "Food-101N_release/meta/classes.txt"
    file.write_text("\n".join(["class_name", *reversed(FOOD)]))
    data = Food101N(small).load(0)
    assert data.train.labels[0] == 100
    file.write_text("\n".join(["class_name", *FOOD[:-1], "gruel"]))
    with pytest.raises(DataError, match=r"too many or missing:\n  gruel\n  waffles"):
        Food101N(small).load(0)


def test_food101n_needs_food101(small: Options) -> None:
    assert small.root is not None
    web.write_food101n(small.root)
    shutil.rmtree(small.root / "food-101")
    with pytest.raises(DataError, match="are those of Food-101, which isn't here"):
        Food101N(small).load(0)


def test_food101n_unknown_classes_and_findings(small: Options) -> None:
    assert small.root is not None
    meta = web.write_food101n(small.root, {"gruel/1": 1, "pho/none": 0}) / "Food-101N_release/meta"
    assert has_note(Food101N(small), "2 verified labels are of no image of meta/imagelist.tsv (first: gruel/1)")
    file = meta / "imagelist.tsv"
    file.write_text(file.read_text() + "gruel/1.jpg\n")
    with pytest.raises(DataError, match=r"name a class that there isn't:\n  line 204: gruel/1.jpg"):
        Food101N(small).load(0)
    for name in ("verified_train.tsv", "verified_val.tsv"):
        (meta / name).unlink()
    file.write_text(file.read_text().replace("gruel/1.jpg\n", ""))
    assert Food101N(small).load(0).verified is None and has_note(Food101N(small), "no verified_*.tsv")
