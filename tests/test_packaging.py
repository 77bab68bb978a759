"""The distribution: what it needs, what it brings, and that it works from a wheel in an empty environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def direct_requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for by name, extras included."""
    texts = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
    return [Requirement(text) for text in texts]


def test_every_direct_dependency_has_a_lower_bound() -> None:
    unbounded = [r.name for r in direct_requirements() if not any(s.operator in (">=", "==") for s in r.specifier)]
    assert unbounded == []


def test_nothing_brings_in_the_other_datasets() -> None:
    """Hugging Face's `datasets` has our import name, and is no dependency; walk everything that is one."""
    seen: set[str] = set()
    waiting = [requirement.name for requirement in direct_requirements()]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for text in needed:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    assert "torch" in seen and "numpy" in seen
    assert "datasets" not in seen


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=False)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with a package `datasets` that isn't ours."""
    package = tmp_path / "theirs" / "datasets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    return package.parent


def test_another_datasets_first_on_the_path_is_passed_over(theirs: Path) -> None:
    script = f"import sys; sys.path[:0] = [{str(theirs)!r}, {str(ROOT)!r}]; import bench, datasets, datasets.interface"
    done = run_script(script, theirs)
    assert done.returncode == 0, done.stderr


def test_another_datasets_that_is_imported_already_is_explained(theirs: Path) -> None:
    script = f"import sys; sys.path[:0] = [{str(theirs)!r}, {str(ROOT)!r}]; import datasets, bench"
    done = run_script(script, theirs)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert str(theirs) in last and "type lnl-bench" in last


def test_a_project_with_a_datasets_of_its_own_is_no_hindrance(theirs: Path) -> None:
    """Typed in the project's folder, which Python puts first on the path."""
    for module in ("bench", "lnl_bench"):
        done = subprocess.run(
            [sys.executable, "-m", module, "list", "noises"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            cwd=theirs,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "asym" in done.stdout


def test_the_installed_package_changes_the_path_only_where_it_is_asked(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path[:] = [path for path in sys.path if path != {str(ROOT)!r}] + [{str(ROOT)!r}]
before = list(sys.path)
import lnl_bench
assert sys.path == before
lnl_bench.add_to_path()
lnl_bench.add_to_path()
assert sys.path == [{str(ROOT)!r}, *before]
"""
    done = run_script(script, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_owns_one_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lnl_bench"}
    carried = {name.removeprefix("lnl_bench/_packages/") for name in names if name.startswith("lnl_bench/_packages/")}
    assert {name.split("/")[0] for name in carried} == {"bench", "methods", "datasets"}
    assert {"bench/py.typed", "methods/py.typed", "datasets/py.typed"} <= carried
    here = {path for package in ("bench", "methods", "datasets") for path in (ROOT / package).rglob("*")}
    files = {path.relative_to(ROOT).as_posix() for path in here if path.is_file() and path.suffix != ".pyc"}
    assert files == carried
    assert any(name.endswith("licenses/LICENSE") for name in names)


class Environment:
    """A fresh virtual environment. Its commands find this one's packages behind its own; pip doesn't."""

    def __init__(self, home: Path) -> None:
        self.home = home
        venv.create(home, symlinks=os.name != "nt", with_pip=True)
        self.purelib = next((home / "lib").glob("python*/site-packages"))
        self._variables = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
        self._variables["LNL_BENCH_CACHE"] = str(home / "cache")

    def pip(self, *words: str) -> None:
        command = [str(self.home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=self._variables, check=False)
        assert done.returncode == 0, done.stderr

    def install(self, wheel: Path) -> None:
        self.pip("install", "--no-index", "--no-deps", "--ignore-installed", str(wheel))

    def typed(self, folder: Path, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Carry out a program of the environment in a folder."""
        dependencies = next(
            path for path in sys.path if path.endswith("site-packages") and (Path(path) / "torch").is_dir()
        )
        # a plain path entry: the .pth files in there, this checkout's editable install among them, are not read
        entry = self.purelib / "dependencies.pth"
        entry.write_text(str(dependencies))
        try:
            command = [str(self.home / "bin" / program), *words]
            return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=self._variables, check=False)
        finally:
            entry.unlink()

    def answers(self, folder: Path, program: str, *words: str) -> str:
        done = self.typed(folder, program, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


OTHER = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "datasets"
version = "99"

[tool.hatch.build.targets.wheel]
packages = ["datasets"]
"""


@pytest.fixture(scope="module")
def other_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of another package called `datasets`, with the function that people know of Hugging Face's."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "datasets").mkdir()
    (folder / "datasets" / "__init__.py").write_text("def load_dataset():\n    return 'theirs'\n")
    (folder / "pyproject.toml").write_text(OTHER)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return next((folder / "dist").glob("*.whl"))


THEIRS = ("python", "-c", "import datasets; print(datasets.load_dataset())")
PLUGIN = """from methods.interface import Method
from methods.losses import cross_entropy


class Mine(Method):
    name = "mine"
    summary = "cross-entropy"
    source = "an example"

    def losses(self, logits, labels):
        return cross_entropy(logits, labels)
"""
needs_pip = pytest.mark.skipif(find_spec("ensurepip") is None, reason="this Python can't put pip into an environment")


@needs_pip
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_another_datasets_is_installed_after_ours_and_before_it(wheel: Path, other_wheel: Path, tmp_path: Path) -> None:
    """Both work, runs with their workers and plugins too, and each stays whole when the other goes."""
    environment = Environment(tmp_path / "venv")
    environment.install(wheel)
    environment.install(other_wheel)
    assert environment.answers(tmp_path, *THEIRS).strip() == "theirs"
    where = environment.answers(tmp_path, "python", "-c", "import lnl_bench; print(lnl_bench.__file__)")
    assert str(tmp_path) in where
    (tmp_path / "mine.py").write_text(PLUGIN)
    words = "--methods mine --plugin mine.py --dataset digits --train-size 60 --epochs 1 --seeds 1 --batch-size 16"
    board = environment.answers(tmp_path, "lnl-bench", "run", *words.split())
    assert "| mine" in board and "python -m lnl_bench run --methods mine" in board
    wrong = environment.typed(tmp_path, "python", "-m", "lnl_bench", "run", "--nonsense")
    assert wrong.returncode == 2 and "python -m lnl_bench run --help" in wrong.stderr
    environment.pip("uninstall", "-y", "lnl-bench")
    assert environment.answers(tmp_path, *THEIRS).strip() == "theirs"
    assert not list(environment.purelib.glob("lnl_bench*"))

    environment.install(wheel)  # the other is there already
    assert environment.answers(tmp_path, *THEIRS).strip() == "theirs"
    listed = environment.answers(tmp_path, "lnl-bench", "list", "methods")
    for name in ("ce", "gce", "nce+rce", "anl-ce", "elr"):
        assert re.search(rf"(^|\s){re.escape(name)}\s", listed), name
    environment.pip("uninstall", "-y", "datasets")
    assert environment.typed(tmp_path, *THEIRS).returncode == 1
    assert environment.answers(tmp_path, "python", "-m", "lnl_bench", "list", "methods") == listed
