"""Whether a copy is whole: what `check` finds, and `show dataset NAME --check PATH` as it is typed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from bench.registry import data_sets
from datasets.cifar10 import Cifar10
from datasets.copy_check import checksum
from datasets.digits import Digits
from datasets.fashion_mnist import FashionMnist
from datasets.folder import Folder
from datasets.interface import Data, DataSet, Options, Part
from datasets.mnist import Mnist
from datasets.table import Table

Captured = pytest.CaptureFixture[str]
Answer = Mapping[str, object]


def check(capsys: Captured, *words: object, code: int = 0) -> tuple[str, str]:
    """Output and notes of one check."""
    assert main(["show", "dataset", *map(str, words)]) == code
    caught = capsys.readouterr()
    assert "Traceback" not in caught.err
    return caught.out, caught.err


def test_all_that_is_wrong_with_files_is_found_in_one_go(class_folders: Path, options: Options) -> None:
    (class_folders / "cat/00.png").write_bytes(b"")
    whole = (class_folders / "dog/03.png").read_bytes()
    (class_folders / "dog/03.png").write_bytes(whole[: len(whole) // 2])
    found = Folder(options, str(class_folders)).check()
    assert [problem.split(":")[0] for problem in found.problems] == ["cat/00.png", "dog/03.png"]
    assert found.facts["images that decode"] == "18 of 20" and found.facts["sizes"] == "12 x 12 (18)"
    assert found.facts["images of a class"] == "10 to 10"


def test_rows_of_a_table_are_named_by_their_lines(photos: Path, options: Options) -> None:
    (photos / "images/04.png").unlink()
    (photos / "images/05.png").write_text("no image")
    found = Table(options, str(photos / "index.csv")).check()
    assert [problem.split(":")[0] for problem in found.problems] == ["line 6", "line 7"]


def test_a_list_that_cannot_be_read_is_a_problem(tmp_path: Path, options: Options) -> None:
    (tmp_path / "index.csv").write_text("path,label\na.png,\n")
    assert len(Table(options, str(tmp_path / "index.csv")).check().problems) == 1


def test_a_damaged_batch_is_told_by_its_checksum(cifar10_files: Path, options: Options) -> None:
    batch = cifar10_files / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-1] + b"?")
    found = Cifar10(options).check()
    assert str(batch) in found.problems[0] and found.facts["files with their makers' checksum"] == "6 of 7"
    (cifar10_files / "test_batch").unlink()
    problems = Cifar10(options).check().problems
    assert any("test_batch" in problem and "isn't there" in problem for problem in problems)


def test_a_gzipped_file_has_a_checksum_and_a_plain_one_none(tmp_path: Path, idx: object) -> None:
    assert callable(idx)
    idx(tmp_path / "MNIST/raw")
    assert Mnist(Options(root=tmp_path)).check().facts["files whose checksum nobody states"] == "4"
    idx(tmp_path / "FashionMNIST/raw", pack=True)
    found = FashionMnist(Options(root=tmp_path)).check()
    assert found.facts["files with their makers' checksum"] == "0 of 4"
    assert sum("checksum" in problem for problem in found.problems) == 4


def test_a_copy_elsewhere_does_not_count(tmp_path: Path, idx: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(idx)
    idx(tmp_path / "package", pack=True)
    monkeypatch.setattr(FashionMnist, "packaged", (tmp_path / "package",))
    (tmp_path / "mine").mkdir()
    problems = FashionMnist(Options(root=tmp_path / "mine")).check().problems
    assert sum("doesn't lie below" in problem for problem in problems) == 4
    assert not any("checksum" in problem for problem in problems)  # a distribution packs files anew


def test_labels_outside_of_the_classes_and_classes_without_images_are_found(options: Options) -> None:
    class Odd(Digits):
        def load(self, split_seed: int) -> Data:
            data = super().load(split_seed)
            labels = np.where(data.train.labels == 3, 11, data.train.labels)
            return replace(data, train=Part(data.train.images, labels))

    problems = Odd(options).check().problems
    assert len(problems) == 2 and "are no class of 10" in problems[0] and "(first: 3)" in problems[1]


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert checksum(tmp_path / "a", "md5") == "md5:900150983cd24fb0d6963f7d28e17f72"
    assert checksum(tmp_path / "a", "sha256").startswith("sha256:ba7816bf8f01cfea")


def test_a_whole_copy_and_a_broken_one_as_typed(class_folders: Path, photos: Path, capsys: Captured) -> None:
    output, _ = check(capsys, "folder", "--check", class_folders)
    assert output.rstrip().endswith("folder: nothing is wrong with this copy")
    output, _ = check(capsys, "table[missing=drop]", "--check", photos / "index.csv", "--format", "json")
    answer = json.loads(output)
    assert answer["whole"] and answer["problems"] == [] and answer["facts"]["test images"] == "10"
    (photos / "images/07.png").write_bytes(b"x")
    output, _ = check(capsys, "table", "--check", photos / "index.csv", code=1)
    assert "line 9: images/07.png" in output and "1 problem in this copy" in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nope", "--check", "."), "unknown data set"),
        (("digits", "--check", "nowhere"), "no such folder"),
        (("folder:.", "--check", "."), "both name a place"),
        (("digits:a", "--check", "."), "takes nothing after a colon"),
        (("cifar10", "--check", "a.txt"), "lies in a folder"),
        (("cifar10", "--check", ".", "--image-size", "8"), "leave --data-root and the options of images out"),
    ],
)
def test_wrong_requests(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").touch()
    assert said in check(capsys, *words, code=2)[1]


def test_only_data_sets_have_copies(capsys: Captured) -> None:
    assert main(["show", "noise", "sym", "--check", "."]) == 2
    assert "show dataset NAME --check ." in capsys.readouterr().err


def test_every_data_set_says_what_an_empty_folder_lacks(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    for name, entry in data_sets().items():
        output, notes = check(capsys, name, "--check", tmp_path / "empty", code=1 if entry["layout"] else 0)
        if entry["layout"]:
            assert "in this copy. " in output.splitlines()[-1]
        else:
            assert "isn't read from" in notes


def test_data_sets_of_plugins_are_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("bench.registry.lookup._plugins", ())  # and none are left for other tests
    plugin = tmp_path / "few.py"
    plugin.write_text(
        'from datasets.digits import Digits\nclass FewDigits(Digits):\n    """Digits."""\n    name = \'few-digits\'\n'
    )
    output, _ = check(capsys, "few-digits", "--check", tmp_path, "--plugin", plugin)
    assert "nothing is wrong" in output
    assert issubclass(Digits, DataSet)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(0, 29), st.sampled_from(["gone", "empty", "cut", "text"])))
def test_a_check_names_exactly_the_files_that_are_broken(photos: Path, options: Options, how: dict[int, str]) -> None:
    kept = {number: (photos / f"images/{number:02}.png").read_bytes() for number in how}
    try:
        for number, damage in how.items():
            file, whole = photos / f"images/{number:02}.png", kept[number]
            contents = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no image"}
            file.unlink() if damage == "gone" else file.write_bytes(contents[damage])
        problems = Table(options, str(photos / "index.csv")).check().problems
    finally:
        for number, whole in kept.items():
            (photos / f"images/{number:02}.png").write_bytes(whole)
    assert sorted(int(problem.split("images/")[1][:2]) for problem in problems) == sorted(how)
