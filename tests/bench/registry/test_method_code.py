"""The hashes of a method's code: equal where nothing computes otherwise, and what is said of records by other code."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import registry
from bench.registry import lookup, method_code
from bench.registry.method_code import note_changed_methods, parse_code, present_code

SOURCE = '''"""A method."""

import torch
from helpers.cut import cap as clamp
from . import sibling


class Mine:
    """It does something."""

    name = "mine"
    """Its name."""

    def losses(self, values: list[float]) -> float:
        """The sum."""
        return sum(value * 2.0 for value in values)
'''


def code_hash(text: str) -> str:
    return str(parse_code(text.encode())["hash"])


@given(st.integers(0, SOURCE.count("\n") - 1), st.text(st.characters(codec="utf-8", exclude_characters="\r\f\v\0")))
def test_comments_and_blank_lines_do_not_count(line: int, comment: str) -> None:
    lines = SOURCE.split("\n")
    in_docstring = lines[line].count('"""') == 1
    if not in_docstring:
        lines.insert(line, "# " + " ".join(comment.split()))
        lines.insert(line, "")
    assert code_hash("\n".join(lines)) == code_hash(SOURCE)


@pytest.mark.parametrize(
    ("old", "new", "equal"),
    [
        ('"""It does something."""', '"""It does something else."""', True),
        ('    """Its name."""\n', "", True),
        ("value * 2.0 for value", "(value * 2.0) for value", True),
        ("2.0", "2.5", False),
        ("2.0", "2", False),
        ('"mine"', '"other"', False),
        ("import torch", "import numpy", False),
        ("sum(", "max(", False),
        ("value * 2.0", "value / 2.0", False),
    ],
)
def test_what_computes_counts_and_what_is_only_read_does_not(old: str, new: str, equal: bool) -> None:
    assert old in SOURCE
    assert (code_hash(SOURCE.replace(old, new)) == code_hash(SOURCE)) is equal


def test_the_hash_is_the_same_on_every_version_of_python() -> None:
    """Frozen: records of one version of Python are compared under another."""
    assert code_hash(SOURCE) == "5346fad95455cc99"
    assert code_hash("class Broken(") == code_hash("class Broken(")


def test_imports_are_listed_with_their_level() -> None:
    assert parse_code(SOURCE.encode())["imports"] == [[0, ["torch"]], [0, ["helpers", "cut", "cap"]], [1, ["sibling"]]]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin that imports a file beside it, which imports another."""
    (tmp_path / "helpers").mkdir()
    (tmp_path / "mine.py").write_text(SOURCE.replace("from . import sibling\n", "from methods.losses import gce\n"))
    (tmp_path / "helpers" / "cut.py").write_text("from helpers import deep\n\ncap = 1\n")
    (tmp_path / "helpers" / "deep.py").write_text("import helpers.cut\n")
    monkeypatch.setenv("LNL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    entry = {"name": "mine", "file": str(tmp_path / "mine.py"), "module": "anything"}
    monkeypatch.setattr(method_code, "find_declaration", lambda kind, name: entry)
    method_code.method_code.cache_clear()
    return tmp_path


def current_code(name: str = "mine") -> dict[str, str]:
    method_code.method_code.cache_clear()
    return dict(method_code.method_code(name))


def record(code: dict[str, str], **provenance: Any) -> dict[str, Any]:
    return {"spec": {"method": "mine"}, "provenance": {"method_code": code, "git_dirty": True, **provenance}}


def edit(file: Path, text: str) -> None:
    """Write a file whose time differs from before, as that of any edit by hand does."""
    time = file.stat().st_mtime_ns if file.exists() else 0
    file.write_text(text)
    os.utime(file, ns=(time + 10**9, time + 10**9))


def test_files_beside_a_plugin_and_ours_are_part_of_it_and_packages_are_not(plugin: Path) -> None:
    files = list(current_code())
    assert files[0] == str(plugin / "mine.py")
    assert {str(plugin / "helpers" / name) for name in ("cut.py", "deep.py")} <= set(files)
    assert "methods/losses.py" in files and "methods/interface.py" not in files
    assert not any("torch" in file for file in files)


def test_installed_packages_on_the_path_are_no_part_of_a_plugin(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are they where the path has another environment's, as a .pth file can put them there."""
    installed = plugin / "lib" / "site-packages"
    (installed / "torch").mkdir(parents=True)
    (installed / "torch" / "__init__.py").write_text("import torch.nn\n")
    monkeypatch.setattr(sys, "path", [str(installed), *sys.path])
    assert not any("site-packages" in file for file in current_code())


def test_code_of_very_many_files_is_followed_so_far(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_code, "MOST_FILES", 2)
    assert len(current_code()) == 2


def test_a_change_is_noted_with_its_file_and_what_to_type(plugin: Path) -> None:
    code = current_code()
    assert note_changed_methods([record(code)] * 2) is None
    edit(plugin / "helpers" / "deep.py", "import helpers.cut  # as before\n")
    current_code()
    assert note_changed_methods([record(code)] * 2) is None
    edit(plugin / "helpers" / "deep.py", "import helpers.cut\n\nx = 1\n")
    current_code()
    note = note_changed_methods([record(code)] * 2) or ""
    assert f"{plugin / 'helpers' / 'deep.py'} has changed since 2 of these runs were made (mine)" in note
    assert "--methods mine --when always" in note and "version" in note
    assert (note_changed_methods([record(code)], train_anew="give another --out") or "").count("--when") == 0
    # from the record alone, as `report` does
    assert note_changed_methods([record(code)], lambda name, files: present_code(files)) is not None


def test_a_plugin_that_only_moved_is_the_same_and_another_file_is_not(plugin: Path) -> None:
    code = current_code()
    moved = {file.replace(str(plugin), "/elsewhere"): digest for file, digest in code.items()}
    assert note_changed_methods([record(moved)]) is None
    other = {**moved, "/elsewhere/mine.py": "0" * 16}
    note = note_changed_methods([record(other)]) or ""
    assert str(plugin / "mine.py") in note
    # the files aren't on this machine: nothing can be said
    assert note_changed_methods([record(other)], lambda name, files: present_code(["/elsewhere/mine.py"])) is None


def test_records_without_hashes_and_of_other_releases_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published records have none; what two releases differ by, their versions say."""
    method_code.method_code.cache_clear()
    code = dict(method_code.method_code("gce"))
    assert next(iter(code)) == "methods/gce.py" and "methods/losses.py" in code and "methods/ce.py" not in code
    old = {"spec": {"method": "gce"}, "provenance": {"method_code": {**code, "methods/gce.py": "0" * 16}}}
    plain = {"spec": {"method": "gce"}, "provenance": {"git_revision": "a"}}
    versions = {"versions": {"lnl-bench": "0.0.1"}, "git_revision": "a", "git_dirty": False}
    release = old | {"provenance": old["provenance"] | versions}
    monkeypatch.setattr(method_code, "git_revision", lambda: ("b", False))
    assert note_changed_methods([plain, release]) is None
    monkeypatch.setattr(method_code, "git_revision", lambda: ("b", True))
    assert "methods/gce.py has changed since 1 of these runs was made (gce)" in (note_changed_methods([release]) or "")
    monkeypatch.setattr(method_code, "git_revision", lambda: ("b", False))
    dirty = old | {"provenance": old["provenance"] | versions | {"git_dirty": True}}
    assert note_changed_methods([plain, release, dirty]) is not None


def test_every_method_has_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_plugins", ())
    method_code.method_code.cache_clear()
    for name in registry.methods():
        code = method_code.method_code(name)
        assert next(iter(code)).startswith("methods/") and len(code) > 1, name
        assert all(not file.startswith(("bench/", "datasets/")) for file in code)
    assert method_code.method_code("no such method") == {}
