"""People's own data, tiny: what makes the inputs, and commands typed at them in this process.

The fixture `own` is all that a test needs: an empty working folder, makers of pictures, class folders and tables, and
`own.typed("show dataset folder:pets")`, which answers with exit code, standard output and standard error.
"""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.cli.main import main

CLASSES = ("cat", "cow", "dog", "hen")


@dataclass(frozen=True)
class Typed:
    """What came of a command: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def notes(self) -> list[str]:
        """The notes on standard error, without the word "note"."""
        return [line.removeprefix("note: ") for line in self.err.splitlines() if line.startswith("note: ")]

    @property
    def json(self) -> Any:
        """The one document of standard output."""
        return json.loads(self.out)


@dataclass(frozen=True)
class OwnData:
    """A working folder with a person's own data in it."""

    folder: Path
    captured: pytest.CaptureFixture[str]

    def typed(self, line: str) -> Typed:
        """Carry out a command line, as typed behind `python -m bench`."""
        self.captured.readouterr()
        code = main(shlex.split(line))
        return Typed(code, *self.captured.readouterr())

    def picture(self, path: str, kind: int, number: int, side: int = 16, **how: Any) -> str:
        """An image that can be learnt: dark noise, and a bright column whose place says the kind. Returns the path."""
        pixels = np.random.Generator(np.random.PCG64([kind, number])).integers(0, 50, (side, side, 3))
        pixels[:, (3 * kind) % side : (3 * kind) % side + 3] += 170
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(target, **how)
        return path

    def class_folders(self, root: str, count: int, classes: Sequence[str] = CLASSES, first: int = 0) -> None:
        """`count` images root/CLASS/NUMBER.png of each class, no two alike unless their numbers are."""
        for kind, name in enumerate(classes):
            for number in range(first, first + count):
                self.picture(f"{root}/{name}/{number:02}.png", kind, number)

    def pictures(self, count: int, classes: int = len(CLASSES), root: str = "im") -> list[tuple[str, int, int]]:
        """`count` images of each class in one folder: (path, class, number in the class) of each."""
        return [
            (self.picture(f"{root}/{kind}-{number:02}.png", kind, number), kind, number)
            for kind in range(classes)
            for number in range(count)
        ]

    def table(self, path: str, header: Sequence[str], rows: Sequence[Sequence[object]], separator: str = ",") -> None:
        """A table of text."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=separator).writerows([header, *rows])

    def records(self) -> list[dict[str, Any]]:
        """Every record below runs/."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob("runs/*/record.json")]


@pytest.fixture
def own(here: Path, capsys: pytest.CaptureFixture[str]) -> OwnData:
    """An empty working folder with a cache of its own."""
    return OwnData(here, capsys)
