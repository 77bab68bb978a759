"""Copies in miniature of sets with real noise, on the layouts of their makers. A test changes what it asks about.

Images of a class are alike, so that many files cost little: each is one PNG, whatever ending its name has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.food101n import CLASSES as FOOD

CLOTHES, WEB, ANIMALS = 14, 50, 10


def write_image(path: Path, seed: int, side: int = 12) -> None:
    """An image of noise; the same seed makes the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.Generator(np.random.PCG64([seed, side])).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


def write_lines(path: Path, lines: Sequence[str], ended: bool = False) -> None:
    """A list; those of Clothing1M lack the end of their last line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n" * ended)


def clothing_paths(first: int, count: int) -> list[str]:
    """Paths as Clothing1M has them: names hold commas."""
    return [
        f"images/{number % 10}/{number % 100:02}/{number},{number * 7}.jpg" for number in range(first, first + count)
    ]


def write_clothing1m(home: Path, lists: str = "", images: str = "images", noisy: int = 56) -> Path:
    """Clothing1M: `lists` is the folder of the lists, `images` the top of the images ("": the digits' folders)."""
    train, clean = clothing_paths(0, noisy), clothing_paths(1000, 70)
    parts = {"train": [*clean[:28], train[0], train[1]], "val": clean[28:42], "test": clean[42:]}
    for number, path in enumerate([*train, *clean]):
        write_image(home / images / path.removeprefix("images/"), number)
    folder = home / lists
    write_lines(folder / "noisy_train_key_list.txt", train)
    # class 3 is the rarest: its second half is labelled 4
    labels = [4 if number % CLOTHES == 3 and number >= noisy // 2 else number % CLOTHES for number in range(noisy)]
    outside = [f"{path} 0" for path in clean[:3]]
    write_lines(
        folder / "noisy_label_kv.txt",
        [*(f"{path} {label}" for path, label in zip(train, labels, strict=True)), *outside],
    )
    for part, paths in parts.items():
        write_lines(folder / f"clean_{part}_key_list.txt", paths)
    every = [path for paths in parts.values() for path in paths]
    write_lines(folder / "clean_label_kv.txt", [f"{path} {number % CLOTHES}" for number, path in enumerate(every)])
    return home


def link_image(source: Path, target: Path) -> None:
    """The same image once more, without its bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


def write_webvision(home: Path, flickr: bool = True, resized: bool = False, classes: int = WEB) -> Path:
    """WebVision: an image or two of each of the first classes, and two of later ones."""
    for part in ("google", *(["flickr"] if flickr else [])):
        top = home / (f"{part}_resized_256" if resized else part)
        labels = [*range(classes), *range(WEB), *range(500, 502)]
        names = [f"q{label + 1:04}/{part}_{number}.jpg" for number, label in enumerate(labels)]
        for number, name in enumerate(names):
            write_image(top / name, number + 1000 * (part == "flickr"))
        lines = [f"{part}/{name} {label}" for name, label in zip(names, labels, strict=True)]
        write_lines(home / f"info/train_filelist_{part}.txt", lines, ended=True)
    names = [f"val{number + 1:06}.jpg" for number in range(WEB + 1)]
    for number, name in enumerate(names):
        write_image(home / "val_images_256" / name, 5000 + number)
    write_lines(home / "info/val_filelist.txt", [f"{name} {number}" for number, name in enumerate(names)], ended=True)
    synsets = ["n01440764 tench, Tinca tinca", *(f"n{1500000 + number:08} thing {number}" for number in range(999))]
    write_lines(home / "info/synsets.txt", synsets, ended=True)
    return home


def write_imagenet(top: Path, names: Sequence[str]) -> None:
    """Validation images of ILSVRC12 in class folders called `names`, one each."""
    for number, name in enumerate(names):
        write_image(top / "val" / name / f"ILSVRC2012_val_{number:08}.JPEG", 7000 + number)


def animals(train: int = 40, test: int = 20) -> dict[str, list[tuple[int, int]]]:
    """(id, label) of the images of ANIMAL-10N in miniature."""
    return {
        part: [(n, (n * 3) % ANIMALS) for n in range(count)] for part, count in (("training", train), ("testing", test))
    }


def write_animal10n_images(home: Path) -> Path:
    """The version of image files."""
    for part, images in animals().items():
        for number, label in images:
            write_image(home / part / f"{label}_{number}.jpg", number + 100 * (part == "testing"), side=64)
    return home


def write_animal10n_binary(home: Path, files: int = 1) -> Path:
    """The binary version of the same images, the training records in another order, in so many files."""
    home.mkdir(parents=True, exist_ok=True)
    found = {
        part: [_record(number, label, part == "testing") for number, label in images]
        for part, images in animals().items()
    }
    shuffled = [
        found["training"][place]
        for place in np.random.Generator(np.random.PCG64(5)).permutation(len(found["training"]))
    ]
    for number in range(files):
        (home / f"data_batch_{number + 1}.bin").write_bytes(b"".join(shuffled[number::files]))
    (home / "test_batch.bin").write_bytes(b"".join(found["testing"]))
    return home


def _record(number: int, label: int, test: bool) -> bytes:
    pixels = np.random.Generator(np.random.PCG64([number + 100 * test, 64])).integers(
        0, 256, (64, 64, 3), dtype=np.uint8
    )
    return number.to_bytes(4, "big") + label.to_bytes(4, "big") + pixels.transpose(2, 0, 1).tobytes()


def write_food101n(root: Path, verified: Mapping[str, int] | None = None, header: bool = True) -> Path:
    """Food-101N beside Food-101: two images of each dish to train on, one of the first ten to test on."""
    home, test = root / "Food-101N_release", root / "food-101"
    keys = [f"{dish}/{number}{dish[:3]}" for number in range(2) for dish in FOOD]
    one = home / "images" / f"{keys[0]}.jpg"
    write_image(one, 1)
    for number, key in enumerate(keys[1:]):
        path = home / "images" / f"{key}.jpg"
        if number < 20:
            write_image(path, number)
        else:
            link_image(one, path)
    first = ["class_name/key"] if header else []
    write_lines(home / "meta/imagelist.tsv", [*first, *(f"{key}.jpg" for key in keys)], ended=True)
    write_lines(home / "meta/classes.txt", [*(["class_name"] if header else []), *FOOD], ended=True)
    found = {key: number % 4 != 0 for number, key in enumerate(keys[:60])} if verified is None else verified
    rows = [f"{key}\t{int(right)}" for key, right in found.items()]
    first = ["class_name/key\tverification_label"] if header else []
    write_lines(home / "meta/verified_train.tsv", [*first, *rows[:50]], ended=True)
    write_lines(home / "meta/verified_val.tsv", [*first, *rows[50:]], ended=True)
    tested = [f"{dish}/{number}" for number, dish in enumerate(FOOD[:10])]
    for number, key in enumerate(tested):
        write_image(test / "images" / f"{key}.jpg", 500 + number)
    write_lines(test / "meta/test.txt", tested, ended=True)
    return root
