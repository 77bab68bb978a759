"""The documents: every file that they name is there, and every package has its row in the page on the architecture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = ("bench/", "methods/", "datasets/", "tests/", "benchmarks/", "docs/", "leaderboards/published/")


def named_files(page: Path) -> list[str]:
    """Paths of the checkout that a page names in backticks, in commands or in links."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`([\w./=-]+)`", text) + re.findall(r"python ((?:benchmarks|tests)/[\w./-]+)", text)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    linked = [str((page.parent / link).resolve().relative_to(ROOT)) for link in links]
    return sorted({name for name in named if name.startswith(OURS)} | set(linked))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in named_files(page) if not (ROOT / name).exists()] == []


def test_the_architecture_page_names_files() -> None:
    assert len(named_files(ROOT / "docs" / "architecture.md")) > 40


def test_every_package_of_the_harness_has_a_row() -> None:
    packages = {f"`bench/{path.parent.name}`" for path in (ROOT / "bench").glob("*/__init__.py")}
    rows = [
        line for line in (ROOT / "docs" / "architecture.md").read_text().splitlines() if line.startswith("| `bench/")
    ]
    assert packages == {name for row in rows for name in re.findall(r"`bench/\w+`", row.split("|")[1])}


def test_no_module_is_longer_than_300_lines() -> None:
    paths = [*ROOT.glob("bench/**/*.py"), *ROOT.glob("datasets/**/*.py")]
    lengths = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in paths}
    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}


def test_the_page_of_the_data_sets_is_what_they_declare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.registry.lookup._plugins", ())  # those of other tests
    assert main(["list", "datasets", "--format", "md"]) == 0
    written = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == written, "run: python -m bench list datasets --format md > docs/datasets.md"


@pytest.mark.parametrize("kind", ["methods", "noises", "models"])
def test_only_data_sets_have_such_a_page(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind, "--format", "md"]) == 2
    assert "list datasets --format md" in capsys.readouterr().err
