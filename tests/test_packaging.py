"""The distribution: what it needs, what it brings, and that it works from a wheel in an empty environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
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
    """Hugging Face's `datasets` has our import name; walk everything installed that we depend on."""
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


def test_another_datasets_first_on_the_path_is_explained(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "datasets"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").write_text("")
    script = f"import sys; sys.path[:0] = [{str(theirs.parent)!r}, {str(ROOT)!r}]; import bench"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert str(theirs) in last and "environment of its own" in last


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
def test_the_wheel_holds_three_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench", "methods", "datasets"}
    assert {"bench/py.typed", "methods/py.typed", "datasets/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_wheel_lists_methods_in_a_bare_environment(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel alone; its dependencies are this environment's, put behind it on the path."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    purelib = next((home / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(purelib)
    dependencies = next(path for path in sys.path if path.endswith("site-packages") and (Path(path) / "torch").is_dir())
    # a plain path entry: the .pth files in there, this checkout's editable install among them, are not read
    (purelib / "dependencies.pth").write_text(dependencies)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["LNL_BENCH_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run(
        [str(home / "bin" / "python"), "-m", "bench", "list", "methods"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("ce", "gce", "nce+rce", "anl-ce", "elr"):
        assert re.search(rf"(^|\s){re.escape(name)}\s", done.stdout), name
    where = subprocess.run(
        [str(home / "bin" / "python"), "-c", "import bench; print(bench.__file__)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    assert str(home) in where.stdout
