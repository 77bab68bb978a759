"""Small copies of published sets of images, laid out as their makers give them out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import mini_imagenet, tiny_imagenet

NAMED = tuple(zip(tiny_imagenet.SYNSETS, tiny_imagenet.NAMES, strict=True))


def write_image(path: Path, seed: int, size: tuple[int, int] = (8, 8), grey: bool = False) -> Path:
    """A PNG or JPEG of noise, whatever its name ends in; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if grey else (size[1], size[0], 3)
    pixels = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG" if path.suffix == ".png" else "JPEG", quality=90)
    return path


def write_elpv(root: Path, rows: Iterable[tuple[str, str]] | None = None) -> Path:
    """The package's folder, with 40 cells; `rows` are their probabilities as written, and kinds of module."""
    words = ("0.0", "1.0", "0.3333333333333333", "0.0", "0.6666666666666666")
    rows = [(words[number % 5], ("mono", "poly")[number % 2]) for number in range(40)] if rows is None else rows
    data = root / "elpv_dataset/data"
    lines = []
    for number, (probability, module) in enumerate(rows, start=1):
        write_image(data / f"images/cell{number:04}.png", number, (300, 300), grey=True)
        lines.append(f"images/cell{number:04}.png  {probability:<18}  {module}")
    (data / "labels.csv").write_text("\n".join(lines) + "\n")
    (data.parent / "__init__.py").touch()
    return data


def write_tiny_imagenet(root: Path, moved: str | None = None, grey: Iterable[int] = (3,)) -> Path:
    """An image of each class to train on, and one to test on for every tenth; `moved` is where scripts move those."""
    home, grey = root / "tiny-imagenet-200", set(grey)
    lines = []
    for number, synset in enumerate(tiny_imagenet.SYNSETS):
        write_image(home / f"train/{synset}/images/{synset}_0.JPEG", number, (64, 64), number in grey)
        (home / f"train/{synset}/{synset}_boxes.txt").touch()
        if number % 10 == 0:
            name = f"val_{len(lines)}.JPEG"
            folder = "images" if moved is None else f"{synset}{moved}"
            write_image(home / f"val/{folder}/{name}", 1000 + number, (64, 64))
            lines.append(f"{name}\t{synset}\t0\t32\t44\t62")
    (home / "wnids.txt").write_text("\n".join(tiny_imagenet.SYNSETS))
    (home / "words.txt").write_text("".join(f"{synset}\t{name}, or so\n" for synset, name in NAMED))
    (home / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")
    return home


def mini_imagenet_lists() -> dict[str, list[str]]:
    """Lists of one image of each class by ImageNet and one of the web for every other, and a test image of each fifth.

    Of the blue list, the first ten labels are changed.
    """
    own = [f"{synset}{7 + number:08}.jpg" for number, synset in enumerate(mini_imagenet.SYNSETS)]
    web = [f"{number:016x}.jpg {number}" for number in range(0, 100, 2)]
    red = [f"{name} {number}" for number, name in enumerate(own)] + web
    blue = [f"{name} {(number + 1) % 10 if number < 10 else number}" for number, name in enumerate(own)]
    tests = [f"ILSVRC2012_val_{number + 1:08}.jpg {number}" for number in range(0, 100, 5)]
    return {
        "red_noise_nl_0.4": red,
        "blue_noise_nl_0.4": blue,
        "red_noise_nl_0.0": red[:100],
        "clean_validation": tests,
    }


def write_mini_imagenet(root: Path, published: bool = False) -> Path:
    """The lists, and images where copies of papers on noisy labels have them, or as published."""
    home = root / ("dataset_no_images/mini-imagenet" if published else "mini-imagenet")
    (home / "split").mkdir(parents=True)
    for name, lines in mini_imagenet_lists().items():
        (home / "split" / name).write_text("\n".join(lines))
    for number, line in enumerate(mini_imagenet_lists()["red_noise_nl_0.4"]):
        name = line.split()[0]
        folder = "all_images" if not published else "images" if name.startswith("n") else "../noisy_images"
        write_image(home / folder / name, number, (12, 9))
    for number, line in enumerate(mini_imagenet_lists()["clean_validation"]):
        name, label = line.split()
        place = f"ILSVRC2012_img_val/{name.replace('.jpg', '.JPEG')}" if published else f"validation/{label}/{name}"
        write_image(home / place, 1000 + number, (10, 10))
    return home
