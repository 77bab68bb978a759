"""The sets of images that a person lays out: Mini-ImageNet with noise, Tiny-ImageNet, solar cells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.cli.main import main
from datasets import mini_imagenet, tiny_imagenet
from datasets.data_report import MISSING
from datasets.elpv import Elpv
from datasets.interface import RIGHT, UNSEEN, WRONG, DataError, DataSet, Options
from datasets.mini_imagenet import BlueMiniImagenet, RedMiniImagenet
from datasets.tiny_imagenet import TinyImagenet
from tests.datasets import image_layouts

Captured = pytest.CaptureFixture[str]


def at(options: Options, root: Path) -> Options:
    """Options to find data in `root`."""
    return replace(options, root=root)


def findings(data_set: DataSet, seed: int = 0) -> list[int]:
    """What is known of the training labels."""
    verified = data_set.load(seed).verified
    assert verified is not None
    return verified.findings.tolist()


class TestMiniImagenet:
    def test_web_names_are_the_wrong_ones(self, options: Options, tmp_path: Path) -> None:
        image_layouts.write_mini_imagenet(tmp_path)
        data_set = RedMiniImagenet(at(options, tmp_path))
        data = data_set.load(0)
        assert data.train.labels[:100].tolist() == list(range(100))
        assert findings(data_set) == [RIGHT] * 100 + [WRONG] * 50
        assert data.train.images.shape == (150, 32, 32, 3) and len(data.test) == 20
        assert data.description.usual_noise == "as-given" and data.description.clean_test_labels
        assert data.report is not None and data.report.left_out == {}
        assert any("0.3333 of the training labels are known to be wrong: 50 of 150" in n for n in data.report.notes)
        assert data.report.images["test"]["triceratops"] == 1

    def test_blue_labels_are_wrong_where_they_are_not_the_names(self, options: Options, tmp_path: Path) -> None:
        image_layouts.write_mini_imagenet(tmp_path)
        data_set = BlueMiniImagenet(at(options, tmp_path))
        data = data_set.load(0)
        assert data.train.labels.tolist() == list(range(100)) and data.verified is None
        assert data.columns["blue"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, *range(10, 100)]
        assert data.description.usual_noise == "column:blue" and data.description.clean_labels
        assert data.report is not None and "0.1000 of the training labels are known" in data.report.notes[1]
        file = tmp_path / "mini-imagenet/split/blue_noise_nl_0.4"
        lines = file.read_text().splitlines()
        file.write_text("\n".join([f"{lines[0].split()[0]} 2", *lines[1:]]))
        assert BlueMiniImagenet(at(options, tmp_path)).content_hash() != data_set.content_hash()
        image_layouts.write_image(tmp_path / "mini-imagenet/all_images/000000000000ffff.jpg", 1)
        file.write_text("\n".join([*lines, "000000000000ffff.jpg 3"]))
        with pytest.raises(DataError, match="1 names of"):
            BlueMiniImagenet(at(options, tmp_path)).load(0)
        file.write_text("\n".join(lines))
        assert data_set.content_hash() != RedMiniImagenet(at(options, tmp_path)).content_hash()

    def test_levels(self, options: Options, tmp_path: Path) -> None:
        image_layouts.write_mini_imagenet(tmp_path)
        clean = RedMiniImagenet(at(options, tmp_path), None, {"noise": 0.0})
        assert findings(clean) == [RIGHT] * 100 and clean.label == "red-mini-imagenet[noise=0]"
        assert RedMiniImagenet(options, None, {"noise": 0.4}).label == "red-mini-imagenet"
        with pytest.raises(DataError, match=r"lacks red_noise_nl_0\.05"):
            RedMiniImagenet(at(options, tmp_path), None, {"noise": 0.05}).load(0)
        with pytest.raises(DataError, match="there is no such level"):
            RedMiniImagenet(options, None, {"noise": 0.7})
        sizes = {level: RedMiniImagenet(options, None, {"noise": level}).describe().train_size for level in (0.2, 0.4)}
        assert sizes == {0.2: 50_000, 0.4: 50_010}

    def test_where_images_lie_does_not_matter(self, options: Options, tmp_path: Path) -> None:
        image_layouts.write_mini_imagenet(tmp_path / "papers")
        image_layouts.write_mini_imagenet(tmp_path / "published", published=True)
        one = RedMiniImagenet(at(options, tmp_path / "papers"))
        for root in ("published", "published/dataset_no_images", "published/dataset_no_images/mini-imagenet"):
            other = RedMiniImagenet(at(options, tmp_path / root))
            assert one.content_hash() == other.content_hash()
            assert np.array_equal(one.load(0).test.images, other.load(0).test.images)
        flat = tmp_path / "papers/mini-imagenet/validation"
        for folder in list(flat.iterdir()):
            for file in folder.iterdir():
                file.rename(flat / file.name)
            folder.rmdir()
        assert RedMiniImagenet(at(options, tmp_path / "papers")).content_hash() == one.content_hash()

    def test_a_partial_copy_loads_and_counts_what_is_missing(self, options: Options, tmp_path: Path) -> None:
        home = image_layouts.write_mini_imagenet(tmp_path)
        whole = RedMiniImagenet(at(options, tmp_path)).content_hash()
        images = home / "all_images"
        for name in ("0000000000000004.jpg", "0000000000000008.jpg"):
            (images / name).unlink()
        (home / "validation/10/ILSVRC2012_val_00000011.jpg").unlink()
        data_set = RedMiniImagenet(at(options, tmp_path))
        data = data_set.load(0)
        assert (len(data.train), len(data.test)) == (148, 19) and data_set.content_hash() != whole
        assert findings(data_set).count(WRONG) == 48
        report = data_set.report()
        assert report is not None and report.left_out == {MISSING: 3}
        said = [note for note in report.notes if "in this copy" in note]
        assert "2 of 150 training images aren't in this copy, 2 of them of the web" in said[0]
        assert "(first: 0000000000000004.jpg)" in said[0]
        assert said[1].startswith("1 of 20 test images isn't in this copy, and is left out")
        found = data_set.check()
        assert "148 training images where there should be 50,010" in found.problems
        other = images / "0000000000000010.jpg"
        moved = other.rename(images / "0000000000000004.jpg")
        assert RedMiniImagenet(at(options, tmp_path)).content_hash() not in (whole, data_set.content_hash())
        assert moved.exists()

    def test_no_image_at_all(self, options: Options, tmp_path: Path) -> None:
        home = image_layouts.write_mini_imagenet(tmp_path)
        shutil.rmtree(home / "all_images")
        with pytest.raises(DataError, match=r"None of the 150 training images of red_noise_nl_0\.4 is in"):
            RedMiniImagenet(at(options, tmp_path)).load(0)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda lines: [*lines, "strange.jpg 3"], r"1 names of .* are neither Mini-ImageNet's nor 16 hex"),
            (lambda lines: [*lines, "0000000000000000.jpg 100"], r"line 151: '0000000000000000.jpg 100'"),
            (lambda lines: [line.split()[0] for line in lines[:2]] + lines[2:], "2 of 150 lines of"),
            (lambda lines: [f"{line.split()[0]} {99 - int(line.split()[1])}" for line in lines], "another list of cl"),
        ],
    )
    def test_lists_that_cannot_be_right(
        self, change: Callable[[list[str]], list[str]], said: str, options: Options, tmp_path: Path
    ) -> None:
        home = image_layouts.write_mini_imagenet(tmp_path)
        image_layouts.write_image(home / "all_images/strange.jpg", 1)
        file = home / "split/red_noise_nl_0.4"
        file.write_text("\n".join(change(file.read_text().splitlines())))
        with pytest.raises(DataError, match=said):
            RedMiniImagenet(at(options, tmp_path)).load(0)

    def test_classes_are_the_published_ones(self) -> None:
        assert len(set(mini_imagenet.NAMES)) == len(set(mini_imagenet.SYNSETS)) == 100
        named = dict(zip(mini_imagenet.SYNSETS, mini_imagenet.NAMES, strict=True))
        assert named["n02129165"] == "lion" and mini_imagenet.NAMES[0] == "triceratops"
        shared = set(mini_imagenet.SYNSETS) & set(tiny_imagenet.SYNSETS)
        both = dict(zip(tiny_imagenet.SYNSETS, tiny_imagenet.NAMES, strict=True))
        assert len(shared) > 20 and all(named[synset] == both[synset] for synset in shared)


class TestTinyImagenet:
    def test_classes_follow_the_list_and_grey_images_become_rgb(self, options: Options, tmp_path: Path) -> None:
        image_layouts.write_tiny_imagenet(tmp_path)
        data = TinyImagenet(at(options, tmp_path)).load(0)
        assert data.train.labels.tolist() == list(range(200)) and data.test.labels.tolist() == list(range(0, 200, 10))
        assert data.train.images.shape == (200, 64, 64, 3)
        pixels = np.asarray(data.train.images)
        assert (np.ptp(pixels[3], axis=-1) == 0).all() and (np.ptp(pixels[4], axis=-1) > 0).any()
        assert data.description.classes[:2] == ("Egyptian cat", "reel")
        assert data.description.clean_labels and data.verified is None

    @pytest.mark.parametrize("moved", ["", "/images"])
    def test_validation_images_that_a_script_has_moved(self, moved: str, options: Options, tmp_path: Path) -> None:
        image_layouts.write_tiny_imagenet(tmp_path / "official")
        image_layouts.write_tiny_imagenet(tmp_path / "moved", moved=moved)
        one, other = (TinyImagenet(at(options, tmp_path / name)) for name in ("official", "moved"))
        assert one.content_hash() == other.content_hash()
        assert np.array_equal(one.load(0).test.images, other.load(0).test.images)

    def test_lists_that_are_not_the_sets(self, options: Options, tmp_path: Path) -> None:
        home = image_layouts.write_tiny_imagenet(tmp_path)
        annotations = home / "val/val_annotations.txt"
        before = annotations.read_text()
        annotations.write_text(before + "val_999.JPEG\tn99999999\t0\t0\t0\t0\nno class\n")
        with pytest.raises(DataError, match=r"2 lines of .*\n  line 21: .*\n  line 22"):
            TinyImagenet(at(options, tmp_path)).load(0)
        annotations.write_text(before)
        (home / "wnids.txt").write_text("\n".join(reversed(tiny_imagenet.SYNSETS)))
        with pytest.raises(DataError, match="in another order"):
            TinyImagenet(at(options, tmp_path)).load(0)
        (home / "wnids.txt").write_text("\n".join([*tiny_imagenet.SYNSETS[1:], "n00000001"]))
        with pytest.raises(DataError, match=r"holds other classes .*\n  n00000001\n  n02124075"):
            TinyImagenet(at(options, tmp_path)).load(0)

    def test_classes_without_images_are_named(self, options: Options, tmp_path: Path) -> None:
        home = image_layouts.write_tiny_imagenet(tmp_path)
        shutil.rmtree(home / "train/n02124075")
        with pytest.raises(DataError, match="Egyptian cat"):
            TinyImagenet(at(options, tmp_path)).load(0)

    def test_a_check_knows_counts_and_sides(self, options: Options, tmp_path: Path) -> None:
        home = image_layouts.write_tiny_imagenet(tmp_path)
        image_layouts.write_image(home / "train/n02124075/images/n02124075_0.JPEG", 5, (60, 64))
        problems = TinyImagenet(at(options, tmp_path)).check().problems
        assert "200 training images where there should be 100,000" in problems
        assert "20 test images where there should be 10,000" in problems
        assert [problem for problem in problems if "60 x 64" in problem] == [
            "n02124075/images/n02124075_0.JPEG: it is 60 x 64"
        ]


class TestElpv:
    def test_doubted_cells_are_never_tested_on(self, options: Options, tmp_path: Path) -> None:
        image_layouts.write_elpv(tmp_path)
        data_set = Elpv(at(options, tmp_path))
        data = data_set.load(0)
        # of 40 cells, 16 are doubted, and a fifth of the 24 others are tested on
        assert (len(data.train), len(data.test)) == (35, 5) and data.train.images.shape[1:] == (64, 64, 1)
        assert findings(data_set).count(WRONG) == 16 and UNSEEN not in findings(data_set)
        assert findings(data_set, 1).count(WRONG) == 16
        assert data.verified is not None and "doubted" in data.verified.meaning
        assert np.bincount(data.test.labels).tolist() == [3, 2]
        assert data.description.seeded_split and data.description.usual_noise == "as-given"

    def test_kinds_of_modules(self, options: Options, tmp_path: Path) -> None:
        image_layouts.write_elpv(tmp_path)
        mono, poly = (Elpv(at(options, tmp_path), None, {"module": name}) for name in ("mono", "poly"))
        assert mono.label == "elpv[module=mono]" and len(mono.load(0).train) + len(mono.load(0).test) == 20
        assert mono.content_hash() != poly.content_hash()
        assert set(mono.paths(0)).isdisjoint(poly.paths(0))
        with pytest.raises(DataError, match="type one of all, mono, poly"):
            Elpv(options, None, {"module": "thin"})

    def test_the_published_counts(self, options: Options) -> None:
        described = {name: Elpv(options, None, {"module": name}).describe() for name in ("all", "mono", "poly")}
        sizes = {name: (each.train_size, each.test_size) for name, each in described.items()}
        assert sizes == {"all": (2179, 445), "mono": (894, 180), "poly": (1286, 264)}

    def test_the_installed_package_is_found(
        self, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image_layouts.write_elpv(tmp_path / "site")
        monkeypatch.syspath_prepend(tmp_path / "site")
        data_set = Elpv(at(options, tmp_path / "elsewhere"))
        assert data_set.home == tmp_path / "site/elpv_dataset/data"
        assert any("doesn't lie below" in problem for problem in data_set.check().problems)

    def test_labels_of_something_else_in_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image_layouts.write_elpv(tmp_path / "site")
        monkeypatch.syspath_prepend(tmp_path / "site")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "data/images").mkdir(parents=True)
        (tmp_path / "data/labels.csv").write_text("of something else")
        assert Elpv(Options()).home == tmp_path / "site/elpv_dataset/data"

    def test_without_the_package(self, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(DataError, match=r"Type: pip install elpv-dataset$"):
            Elpv(options).load(0)
        assert Elpv(options).report() is None and Elpv(options).describe().train_size == 2179

    def test_rows_that_cannot_be_right(self, options: Options, tmp_path: Path) -> None:
        data = image_layouts.write_elpv(tmp_path)
        lines = (data / "labels.csv").read_text().splitlines()
        wrong = ["images/a.png 1.5 mono", "images/a.png 1.0 thin", "../../a.png 1.0 mono", "images/a.png 1.0"]
        (data / "labels.csv").write_text("\n".join([*lines, *wrong]))
        with pytest.raises(DataError, match=r"4 lines of .*\n  line 41: .*(\n.*){3}$"):
            Elpv(at(options, tmp_path)).load(0)

    def test_another_table_than_the_published_one_is_told(self, options: Options, tmp_path: Path) -> None:
        data = image_layouts.write_elpv(tmp_path)
        problems = Elpv(at(options, tmp_path)).check().problems
        assert any(str(data / "labels.csv") in problem and "checksum" in problem for problem in problems)


@pytest.mark.slow
def test_training_on_doubted_labels_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """The doubt reaches the record as a truth for selectors, and the noise that is in the labels is taken as it is."""
    image_layouts.write_elpv(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    line = "run --dataset elpv --methods ce --seeds 1 --epochs 1 --model cnn-small --batch-size 8 --image-size 16"
    assert main([*line.split(), "--jobs", "1", "--precision", "fp32"]) == 0
    record = json.loads(next((tmp_path / "runs").glob("*/record.json")).read_text())
    assert record["spec"]["noise"] == "as-given" and record["spec"]["data_set"] == "elpv"
    selector = record["measures"]["selector"]
    assert selector["verified_meaning"].startswith("doubted") and 0 < selector["verified_wrong"] <= 16
    assert "doubted by the expert" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("red-mini-imagenet[noise=0.7]", "there is no such level"),
        ("red-mini-imagenet", "What was found"),
        ("tiny-imagenet", "DATA_ROOT/tiny-imagenet-200/"),
        ("elpv[module=x]", "type one of"),
    ],
)
def test_one_message_and_exit_code_2(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--dataset", name, "--methods", "ce", "--seeds", "1"]) == 2
    caught = capsys.readouterr()
    assert said in caught.err and caught.out == "" and not list(tmp_path.iterdir())
