"""Every mistake, typed: one or two lines, exit code 2, no traceback, no torch, and nothing written.

One process carries out all command lines (importing cyclopts and pydantic fifty times over would be most of the time);
it is asked after each what it has imported. What a process of its own gives is tested on a few.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.system.cache import cache_folder

HOME = Path(__file__).resolve().parents[2]

DRIVER = """
import contextlib, io, json, os, sys
sys.path.insert(0, sys.argv[1])
from bench.execution import study
from bench.registry import lookup
from bench.cli.main import main
class Accepted(Exception): pass
def accept(*arguments, **options): raise Accepted
study.run_study = accept
files = lambda: sorted(os.path.join(top, name) for top, folders, names in os.walk(".") for name in folders + names)
answers = []
for line in json.load(sys.stdin):
    lookup._plugins = ()
    out, err, before = io.StringIO(), io.StringIO(), files()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(line)
        except Accepted:
            code = "accepted, and would have run"
    written = sorted(set(files()) - set(before))
    heavy = sorted({"torch", "torchvision", "timm"} & set(sys.modules))
    answers.append({"code": code, "out": out.getvalue(), "err": err.getvalue(), "written": written, "heavy": heavy})
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True)
class Answer:
    """What a command line came to."""

    code: int | str
    out: str
    err: str
    written: list[str]
    heavy: list[str]


Typed = Mapping[str, Answer]

WITHOUT_DATA = [
    ("run --methods=", "--methods is empty"),
    ("run --methods ,", "--methods is empty"),
    ("run --methods gec", "Did you mean gce"),
    ("run --methods 'xyz*'", "no method matches"),
    ("run --methods gce[p=1]", "no parameter 'p'"),
    ("run --methods nce+rce[bta=1]", "Did you mean beta"),
    ("run --methods gce[q=2]", "must be in (0, 1]"),
    ("run --methods gce[q=0]", "must be in (0, 1]"),
    ("run --methods gce[q=nan]", "must be a number"),
    ("run --methods gce[q=half]", "must be a number"),
    ("run --methods taylor-ce[order=1.5]", "must be a whole number"),
    ("run --methods gce[q", "can't be read"),
    ("run --methods gce[q=0.5,q=0.6]", "gives q twice"),
    ("run --dataset=", "--dataset is empty"),
    ("run --dataset digit", "Did you mean digits"),
    ("run --dataset digits:x", "takes nothing after a colon"),
    ("run --dataset table", "table:FILE.csv"),
    ("run --dataset synthetic[clases=3]", "Did you mean classes"),
    ("run --dataset synthetic[classes=many]", "classes must be a whole number"),
    ("run --dataset synthetic[classes=1]", "classes"),
    ("run --noise=", "--noise is empty"),
    ("run --noise asm", "Did you mean asym"),
    ("run --noise sym:0.4", "takes nothing after a colon"),
    ("run --noise matrix", "matrix:FILE"),
    ("run --noise column:", "column:NAME"),
    ("run --model resnet19", "Did you mean resnet9 or resnet18"),
    ("run --model timm:resnet_18", "Did you mean timm:resnet18"),
    ("run --model timm:resnet18.a1_in1k", "type timm:resnet18"),
    ("run --model timm:NAME", "unknown model"),
    ("run --model timm:", "timm has no model"),
    ("run --rate=", "--rate is empty"),
    ("run --rate 1.5", "--rate 1.5"),
    ("run --rate -0.1", "--rate -0.1"),
    ("run --rate 0.2,1.01", "--rate 1.01"),
    ("run --rate nan", "finite number"),
    ("run --rate some", "finite number"),
    ("run --epochs 0", "--epochs 0"),
    ("run --epochs 1.5", "whole number"),
    ("run --epochs nan", "whole number"),
    ("run --epochs many", "whole number"),
    ("run --batch-size -3", "--batch-size -3"),
    ("run --batch-size 0", "--batch-size 0"),
    ("run --lr inf", "--lr inf"),
    ("run --lr 0", "--lr 0"),
    ("run --lr nan", "finite number"),
    ("run --weight-decay -1", "--weight-decay -1"),
    ("run --weight-decay inf", "--weight-decay inf"),
    ("run --seeds 0", "--seeds 0"),
    ("run --seeds 5:5", "--seeds 5:5"),
    ("run --seeds five", "--seeds five"),
    ("run --noise-seed -1", "--noise-seed -1"),
    ("run --jobs 0", "--jobs 0"),
    ("run --jobs 1.5", "whole number"),
    ("run --imbalance 0", "--imbalance 0"),
    ("run --imbalance 2", "--imbalance 2"),
    ("run --train-size 0", "--train-size 0"),
    ("run --image-size 0", "--image-size 0"),
    ("run --hold-out 1", "--hold-out 1"),
    ("run --hold-out nan", "--hold-out nan"),
    ("run --device gpu", "must be auto, cpu, cuda"),
    ("run --precision fp8", "--precision fp8"),
    ("run --precision fp16 --device cpu", "CUDA"),
    ("run --draw twice", "--draw twice"),
    ("run --when sometimes", "--when sometimes"),
    ("run --methods ce --when never", "nothing to report"),
    ("run --methods ce --when failed", "nothing to report"),
    ("run --schedule cosin", "did you mean cosine"),
    ("run --schedule step:0", "whole numbers from 1"),
    ("run --schedule step:3@nan", "factors above 0"),
    ("run --schedule exponential:2", "at most 1"),
    ("run --schedule linear:0", "whole numbers from 1"),
    ("run --schedule linear:3@momentum=1", "write it like one of"),
    ("run --optimizer sdg", "Did you mean sgd"),
    ("run --augment crop4+flop", "did you mean flip"),
    ("run --augment crop", "crop4"),
    ("run --labels nowhere.json", "no such file"),
    ("run --labels x.json --noise sym", "leave --noise and --rate out"),
    ("run --plugin nowhere.py", "no such file"),
    ("run --protocol mine", "--protocol mine"),
    ("run --recipes secret", "--recipes secret"),
    ("run --format xml", "--format xml"),
    ("run --method ce", "Did you mean --methods"),
    ("run ce", "Unused"),
    ("runn", 'Did you mean "run"'),
    ("list method", 'Did you mean "methods"'),
    ("list", "requires an argument"),
    ("list models --plugin nowhere.py", "no such file"),
    ("report --out nowhere", "no records in nowhere"),
    ("report --select first", "select"),
    ("show method gec", "Did you mean gce"),
    ("show method gce --save-labels x", "show noise"),
    ("show dataset digit", "Did you mean digits"),
    ("show noise asm", "Did you mean asym"),
    ("show noise sym --rate 2", "--rate 2"),
    ("show noise sym --seed -1", "--seed -1"),
    ("show run 0123", "no run"),
]
"""What shows without data: (what is typed, what the answer says)."""

WITH_DATA = [
    ("run --train-size 100000", "1400"),
    ("run --image-size 4 --model cnn8 --methods ce", "--image-size 8 enlarges"),
    ("run --noise asym --dataset synthetic", "pairflip"),
    ("run --noise column:worse", "no column 'worse'"),
    ("run --noise sym,column:worse --dataset table:small.csv --rate 0.2", "no column 'worse'"),
    ("run --methods forward --noise column:other --dataset table:columns.csv", "transition_matrix"),
    ("run --dataset mnist --data-root nowhere", "--download"),
    ("run --dataset cifar10 --data-root nowhere", "--download"),
    ("show noise none --rate 0.2", "has no rate"),
    ("show noise sym --rate 0.2,0.4", "one --rate"),
    ("show noise sym --save-labels nowhere/labels.json", "nowhere"),
    # a table
    ("run --dataset table:nowhere.csv", "isn't there"),
    ("run --dataset table:images", "is a folder"),
    ("run --dataset table:gone.csv", "12 of 24 image files don't exist"),
    ("run --dataset table:gone.csv", "... and 2 more"),
    ("run --dataset table:gone.csv", "line 2: gone0.png"),
    ("run --dataset table:split.csv", "line 3: 'trian'"),
    ("run --dataset table:one.csv", "at least two classes"),
    ("run --dataset table:empty.csv", "no rows"),
    ("run --dataset table:nolabel.csv", "lacks the column label"),
    ("run --dataset table:ragged.csv", "line 4: 3 cells"),
    ("run --dataset table:notest.csv", "No image belongs to the test part"),
    ("run --dataset table:mixed.csv", "Type --image-size 6"),
    ("run --dataset table:broken.csv", "3 of 12 images can't be read"),
    ("run --dataset table:broken.csv", "line 13: images/broken2.png"),
    # a folder
    ("run --dataset folder:nowhere", "isn't there"),
    ("run --dataset folder:hollow", "no class folders"),
    ("run --dataset folder:halved", "has train/ but no test/"),
    ("run --dataset folder:single", "at least two classes"),
    # a matrix
    ("run --noise matrix:nowhere.csv", "There is no file nowhere.csv"),
    ("run --noise matrix:sums.csv", "don't sum to 1"),
    ("run --noise matrix:negative.csv", "negative"),
    ("run --noise matrix:nan.csv", "not a finite number"),
    ("run --noise matrix:words.csv", "no number"),
    ("run --noise matrix:three.csv", "of 3 classes, but the data set has 10"),
    ("run --noise matrix:uneven.csv", "equal rows"),
    ("run --noise matrix:hollow.csv", "is empty"),
    ("run --noise matrix:cut.npy", "no complete npy file"),
    ("run --noise matrix:pickled.npy", "pickled"),
    # labels
    ("run --labels digits.json --dataset table:small.csv", "of other data (digits"),
    ("run --labels digits.json --noise-seed 1", "another training split (seed 0; this is seed 1)"),
    ("run --labels few.csv", "has 3 labels"),
    ("run --labels cut.json", "is no label file"),
    ("run --labels spoken.csv", "whole numbers"),
    ("run --labels high.csv", "10"),
    # where results would go
    ("run --out small.csv", "small.csv is a file"),
    ("run --out small.csv/deep/runs", "small.csv is a file"),
    ("run --boards small.csv", "small.csv is a file"),
]
"""What shows once files are read; no torch either."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every broken file that is typed above."""
    here = tmp_path_factory.mktemp("bad")
    write_images(here)
    write_tables(here)
    write_matrices(here)
    write_labels(here)
    return here


def write_images(here: Path) -> None:
    """images/: a0 to a8 of 6 pixels, b0 to b5 of 8, and three that are none; and folders that are no data set."""
    for number in range(9):
        picture(here / "images" / f"a{number}.png", 6)
        picture(here / "single" / "x" / f"{number}.png", 6)
        picture(here / "halved" / "train" / "xy"[number % 2] / f"{number}.png", 6)
    for number in range(6):
        picture(here / "images" / f"b{number}.png", 8)
    for number in range(3):
        (here / "images" / f"broken{number}.png").write_bytes(b"no image")
    (here / "hollow").mkdir()


def picture(path: Path, side: int) -> None:
    """A grey image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), 100, dtype=np.uint8)).save(path)


def write_tables(here: Path) -> None:
    """small.csv is sound, each other table has the fault that it is named for."""
    good = [f"images/a{number}.png,{'xy'[number % 2]}" for number in range(9)]
    larger = [f"images/b{number}.png,y" for number in range(6)]
    tables = {
        "small": ["path,label", *good],
        "one": ["path,label", *(row.replace(",y", ",x") for row in good)],
        "empty": ["path,label"],
        "nolabel": ["path,class", *good],
        "gone": ["path,label", *(f"gone{number}.png,x" for number in range(12)), *good[:6], *larger],
        "ragged": ["path,label", *good[:2], good[2] + ",z", *good[3:]],
        "mixed": ["path,label", *good, *larger],
        "broken": ["path,label", *good, *(f"images/broken{number}.png,x" for number in range(3))],
        "split": ["path,label,split", good[0] + ",train", good[1] + ",trian", good[2] + ",test"],
        "notest": ["path,label,split", *(row + ",train" for row in good)],
        "columns": ["path,label,other", *(row + ",x" for row in good)],
    }
    for name, rows in tables.items():
        (here / f"{name}.csv").write_text("\n".join(rows) + "\n")


def write_matrices(here: Path) -> None:
    """Matrices for the ten digits, each with the fault that it is named for."""
    even = ["0.1"] * 10
    matrices = {
        "sums": [["0.2"] * 10],
        "negative": [["-0.1", "0.3", *even[2:]]],
        "nan": [["nan", *even[1:]]],
        "words": [even, ["half", *even[1:]]],
    }
    for name, rows in matrices.items():
        whole = [*rows, *[even] * (10 - len(rows))]
        (here / f"{name}.csv").write_text("\n".join(map(",".join, whole)))
    (here / "three.csv").write_text("1,0,0\n0,1,0\n0,0,1\n")
    (here / "uneven.csv").write_text("0.5,0.5\n1\n")
    (here / "hollow.csv").write_text("")
    np.save(here / "cut.npy", np.eye(10))
    (here / "cut.npy").write_bytes((here / "cut.npy").read_bytes()[:300])
    np.save(here / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def write_labels(here: Path) -> None:
    """Label files for digits that hold no labels for digits."""
    (here / "few.csv").write_text("0\n1\n2\n")
    (here / "cut.json").write_text('{"format": "label-noise benchmark: noisy labels", "version": 1}')
    (here / "spoken.csv").write_text("label\nzero\none\n")
    (here / "high.csv").write_text("\n".join(["10"] * 1400))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables for a process with a cache folder of its own, which starts with the catalogue only."""
    registry.methods()
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(cache_folder() / "catalogue", cache / "catalogue")
    return os.environ | {"LNL_BENCH_CACHE": str(cache), "PYTHONPATH": str(HOME)}


Ask = Callable[[Path, list[str]], dict[str, Answer]]


@pytest.fixture(scope="module")
def ask(environment: dict[str, str]) -> Ask:
    """Types lines one after the other in a folder, in one process; returns the answers by line."""

    def type_them(folder: Path, lines: list[str]) -> dict[str, Answer]:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(HOME)],
            input=json.dumps([shlex.split(line) for line in lines]),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return {line: Answer(**answer) for line, answer in zip(lines, json.loads(done.stdout), strict=True)}

    return type_them


@pytest.fixture(scope="module")
def without_data(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Typed:
    """The answers to WITHOUT_DATA, typed in an empty folder."""
    return ask(tmp_path_factory.mktemp("empty"), [line for line, _ in WITHOUT_DATA])


@pytest.fixture(scope="module")
def with_data(ask: Ask, place: Path) -> Typed:
    """The answers to WITH_DATA, typed beside the broken files."""
    saved = "show noise sym --save-labels digits.json"
    answers = ask(place, [saved, *(line for line, _ in WITH_DATA)])
    assert answers[saved].code == 0
    return answers


def check(answer: Answer, said: str) -> None:
    """The rule for every mistake: one or two lines, then at most ten offenders and how many more.

    Notes on a person's own data may stand before them.
    """
    assert said in answer.err
    assert answer.code == 2
    assert answer.out == ""
    assert answer.written == []
    assert answer.heavy == []
    lines = answer.err.splitlines()
    first, *others = itertools.dropwhile(lambda line: line.startswith("note: "), lines)
    assert first.startswith("error: ")
    offenders = [line for line in others if line.startswith("  ")]
    assert len(others) - len(offenders) <= 1
    assert len(offenders) <= 11


@pytest.mark.parametrize(("line", "said"), WITHOUT_DATA)
def test_a_mistake_that_shows_without_data(without_data: Typed, line: str, said: str) -> None:
    check(without_data[line], said)


@pytest.mark.parametrize(("line", "said"), WITH_DATA)
def test_a_mistake_that_shows_in_the_data(with_data: Typed, line: str, said: str) -> None:
    check(with_data[line], said)


@pytest.mark.parametrize("line", ["run --epochs 0", "runn", "run --dataset table:broken.csv", "run --out small.csv"])
def test_a_mistake_ends_a_process_with_2_and_no_traceback(place: Path, environment: dict[str, str], line: str) -> None:
    before = sorted(place.rglob("*"))
    done = typed(place, environment, *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("option", ["--out", "--boards"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, environment: dict[str, str], option: str) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # the superuser, to whom permissions say nothing
        folder = Path("/proc")
    done = typed(tmp_path, environment, "run", option, str(folder / "results"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {option} {folder / 'results'} can't be written")
    assert [path.name for path in tmp_path.iterdir()] == ["sealed"]


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="there is a CUDA device here")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_without_torch(tmp_path: Path, ask: Ask, name: str) -> None:
    check(ask(tmp_path, [f"run --device {name}"])[f"run --device {name}"], f"--device {name}: this machine has no")


def typed(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
