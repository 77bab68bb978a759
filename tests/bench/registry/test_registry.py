"""Names as typed, and the registry that finds what they stand for without importing torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import registry
from bench.registry import catalogue, lookup
from bench.registry.names import parse_call, select_methods, split_list, split_values
from bench.system.errors import UsageError

PLUGIN = '''
from methods.interface import Method, Parameter

class Mine(Method):
    """Mine."""
    name = "{name}"
    summary = "a method of my own"
    source = "me"
    parameters = (Parameter("alpha", 1.0, "weight", "me", low=0, high=2),)
'''


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lookup, "_plugins", ())
    yield
    lookup._catalogue.cache_clear()


KNOWN: dict[str, dict[str, Any]] = {
    "ce": {"aliases": []},
    "anl-ce": {"aliases": ["anl"]},
    "anl-fl": {"aliases": []},
    "gce": {"aliases": []},
}


def test_a_call_has_a_name_and_parameters() -> None:
    assert parse_call("gce[q=0.5, a = b]") == ("gce", {"q": "0.5", "a": "b"})
    assert parse_call(" nce+rce ") == ("nce+rce", {})


@pytest.mark.parametrize(
    "text", ["", "[q=1]", "gce[", "gce[q]", "gce[q=]", "gce]", "gce[q=1]x", "gce[q=1,q=2]", "gce[]"]
)
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_call(text)


def test_lists_split_at_commas_outside_brackets() -> None:
    assert split_list("ce,gce[q=0.5,a=1], anl* ,") == ["ce", "gce[q=0.5,a=1]", "anl*"]
    assert split_values(["matrix:a,b.csv", "sym,asym"]) == ["matrix:a,b.csv", "sym", "asym"]
    assert split_values(["matrix:a.csv,sym"]) == ["matrix:a.csv", "sym"]


words = st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=5)


@given(words, st.dictionaries(words, words, max_size=3))
def test_calls_are_read_back_as_written(name: str, values: dict[str, str]) -> None:
    inner = ",".join(f"{key}={value}" for key, value in values.items())
    text = f"{name}[{inner}]" if values else name
    assert parse_call(text) == (name, values)
    assert split_list(f"x,{text},y") == ["x", text, "y"]


def test_globs_and_all_select_and_names_are_outright() -> None:
    assert [each.name for each in select_methods(["all"], KNOWN)] == list(KNOWN)
    chosen = select_methods(["anl*", "anl", "gce[q=1]"], KNOWN)
    assert [(each.name, each.outright, dict(each.values)) for each in chosen] == [
        ("anl-ce", True, {}),
        ("anl-fl", False, {}),
        ("gce", True, {"q": "1"}),
    ]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean gce"):
        select_methods(["gec"], KNOWN)


def test_everything_is_found_with_its_declarations() -> None:
    methods = registry.methods()
    assert {"ce", "gce"} <= set(methods)
    assert list(methods) == sorted(methods)
    gce = registry.find_declaration("method", "gce")
    assert [parameter["name"] for parameter in gce["parameters"]] == ["q"]
    assert registry.data_sets()["digits"]["description"]["train_size"] == 1400
    assert registry.noises()["matrix"]["argument"] == "FILE"
    assert "cnn-small" in registry.models()
    assert json.loads(json.dumps(methods)) == methods


def test_every_file_is_loaded_by_its_own_name() -> None:
    for name, entry in registry.methods().items():
        assert registry.load_method(name).name == name
        assert registry.find_declaration("method", name) is entry
        assert all(registry.find_declaration("method", alias) is entry for alias in entry["aliases"])


def test_the_catalogue_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LNL_BENCH_CACHE", str(tmp_path))
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(lookup, "_build", lambda files: made.append(files) or {"methods": {}, "noises": {"n": {}}})
    for _ in range(2):
        assert registry.noises() == {"n": {}}
        lookup._catalogue.cache_clear()
    assert made == [()]
    (kept,) = (tmp_path / "catalogue").iterdir()
    kept.write_text("{cut")
    assert registry.noises() == {"n": {}}
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LNL_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(lookup, "_build", lambda files: {"noises": {"n": {}}})
    assert registry.noises() == {"n": {}}


def test_the_key_changes_with_a_plugin(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("a = 1")
    first = catalogue.catalogue_key([str(plugin)])
    assert first == catalogue.catalogue_key([str(plugin)])
    assert first != catalogue.catalogue_key([])
    plugin.write_text("a = 2")
    assert first != catalogue.catalogue_key([str(plugin)])


def test_a_plugin_is_found_and_loaded(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN.format(name="mine"))
    entry = catalogue.build_catalogue([str(plugin)])["methods"]["mine"]
    assert entry["file"] == str(plugin)
    loaded = catalogue.load_module(entry["module"], entry["file"], entry["label"])
    assert getattr(loaded, entry["class"]).name == "mine"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PLUGIN.format(name="gce"), "name 'gce' is declared by methods/gce.py and by .*rename one"),
        ("import no_such_module", "can't be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "can't be loaded: SyntaxError"),
        ("a = 1", "declares no method"),
        (PLUGIN.format(name="mine").replace('    source = "me"\n', ""), "Mine is not declared in full"),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason(tmp_path: Path, content: str, said: str) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(content)
    with pytest.raises(UsageError, match=said):
        catalogue.build_catalogue([str(plugin)])


def test_a_missing_plugin_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        registry.load_plugins(["nowhere/mine.py"])


@pytest.mark.parametrize(
    "text", ["digits:x", "digits[size=3]", "synthetic[classes=many]", "dgits", "synthetic[classes=1.5]"]
)
def test_wrong_data_sets_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        registry.parse_data_set(text)


@pytest.mark.parametrize("text", ["sym:x", "matrix", "matrix:", "snm", "sym[scale=raw]", "sym[]x", "sym[scale]"])
def test_wrong_noises_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        registry.parse_noise(text)


def test_nothing_that_lists_imports_torch() -> None:
    program = (
        "import sys; from bench import registry; registry.methods(); registry.data_sets(); registry.models();"
        "registry.parse_data_set('synthetic[classes=20]'); import bench.planning.plan, bench.planning.gather_facts;"
        "import bench.cli.main;"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'pandas', 'scipy', 'numpy'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    registry.methods()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_timms_names_are_read_as_timm_has_them() -> None:
    import timm

    from bench.registry.timm_names import timm_names

    assert timm_names() == set(timm.list_models())


def test_timm_is_asked_where_its_files_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    from bench.registry import timm_names as reader

    expected = reader.timm_names()
    reader.timm_names.cache_clear()
    monkeypatch.setattr(reader, "_REGISTERED", re.compile(rb"^never (\w+)", re.MULTILINE))
    assert reader.timm_names() == expected
    reader.timm_names.cache_clear()


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("cosine", "cosine"),
        ("step: 80,40", "step:40,80@0.1"),
        ("step:40@0.10", "step:40@0.1"),
        ("exponential:0.970", "exponential:0.97"),
        ("cosine-restarts:10", "cosine-restarts:10"),
        ("linear: 080", "linear:80"),
        ("linear:80@ momentum = 0.10", "linear:80@momentum=0.1"),
    ],
)
def test_a_schedule_has_one_name(name: str, canonical: str) -> None:
    from bench.spec import schedules

    assert schedules.canonical_schedule(name) == canonical


def test_every_declared_schedule_and_augmentation_is_canonical() -> None:
    """Else naming them canonically in the plan would rename runs that are published."""
    from bench.spec import augmentations, schedules

    trainings = [each["training"] for entry in registry.methods().values() for each in entry["recipes"]]
    trainings += [entry["description"]["protocol"] for entry in registry.data_sets().values() if entry["description"]]
    named = [each["schedule"] for each in trainings if "schedule" in each]
    assert named == [schedules.canonical_schedule(name) for name in named]
    steps = [each[key] for each in trainings for key in ("augmentation", "strong_augmentation") if key in each]
    assert steps == [augmentations.canonical_augmentation(name) for name in steps]
